#include "openpgp/packet.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace fussy;
using namespace fussy::openpgp;

namespace {

byte_vector octets(std::initializer_list<unsigned> values) {
  byte_vector out;
  for (unsigned v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

byte_vector pattern(std::size_t size) {
  byte_vector out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 131 + i / 251);
  return out;
}

byte_vector operator+(byte_vector left, const byte_vector& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// Gives at most `step` octets at a time, as a pipe may.
struct dripping_reader {
  byte_view rest;
  std::size_t step;
  std::size_t read(byte_span room) {
    const std::size_t n = std::min({room.size(), rest.size(), step});
    std::copy_n(rest.begin(), n, room.begin());
    rest = rest.subspan(n);
    return n;
  }
};

struct whole_packet {
  packet_type type;
  byte_vector body;
  bool operator==(const whole_packet&) const = default;
};

std::vector<whole_packet> read_stream(const byte_vector& stream, std::size_t step, std::size_t room) {
  packet_reader reader{any_reader(dripping_reader{stream, step})};
  std::vector<whole_packet> out;
  while (const auto type = reader.next()) {
    byte_vector body, part(room);
    while (const std::size_t n = reader.read(part))
      body.insert(body.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
    out.push_back({*type, body});
  }
  return out;
}

errc code_of(const byte_vector& stream) {
  try {
    read_stream(stream, 1000, 4096);
  } catch (const error& e) {
    return e.code();
  }
  return errc::success;
}

errc code_in_memory(const byte_vector& block) {
  try {
    packet_sequence packets(block);
    while (packets.next()) {
    }
  } catch (const error& e) {
    return e.code();
  }
  return errc::success;
}

}  // namespace

TEST_SUITE_BEGIN("packet");

TEST_CASE("every form of length gives the same body") {
  for (const std::size_t size : {0U, 1U, 191U, 192U, 8383U, 8384U, 65535U, 65536U, 200000U}) {
    CAPTURE(size);
    const byte_vector body = pattern(size);
    std::vector<byte_vector> forms;

    byte_vector shortest;
    append_packet(shortest, packet_type::literal_data, body);
    forms.push_back(shortest);

    byte_vector five = octets({0xcb, 255, 0, 0, 0, 0});
    store_be(byte_span(five).subspan(2), size);
    forms.push_back(five + body);

    byte_vector old4 = octets({0xae, 0, 0, 0, 0});
    store_be(byte_span(old4).subspan(1), size);
    forms.push_back(old4 + body);
    if (size < 65536) {
      byte_vector old2 = octets({0xad, 0, 0});
      store_be(byte_span(old2).subspan(1), size);
      forms.push_back(old2 + body);
    }
    if (size < 256) forms.push_back(octets({0xac, static_cast<unsigned>(size)}) + body);
    forms.push_back(octets({0xaf}) + body);  // indeterminate

    for (const unsigned bits : {9U, 12U, 16U}) {
      byte_vector partial;
      partial_body_writer writer(any_writer(vector_writer(partial)), packet_type::literal_data, bits);
      writer.write(byte_view(body).first(size / 3));
      writer.write(byte_view(body).subspan(size / 3));
      writer.finish();
      forms.push_back(partial);
    }

    for (const byte_vector& form : forms)
      for (const std::size_t step : {1U, 7U, 100000U})
        for (const std::size_t room : {1U, 4096U, 300000U}) {
          if (size > 10000 && (step == 1 || room == 1)) continue;
          CHECK(read_stream(form, step, room) == std::vector<whole_packet>{{packet_type::literal_data, body}});
        }
  }
}

TEST_CASE("packets of fixed length are the same in memory and over a stream") {
  byte_vector block;
  append_packet(block, packet_type::public_key, pattern(100));
  append_packet(block, packet_type::user_id, pattern(300));
  block = block + octets({0x88, 3, 1, 2, 3});  // old format
  append_packet(block, packet_type::signature, pattern(9000));

  const auto streamed = read_stream(block, 11, 64);
  packet_sequence packets(block);
  std::size_t i = 0;
  while (const auto p = packets.next()) {
    REQUIRE(i < streamed.size());
    CHECK(p->type == streamed[i].type);
    CHECK(byte_vector(p->body.begin(), p->body.end()) == streamed[i].body);
    ++i;
  }
  CHECK(i == 4);
  CHECK(packets.offset() == block.size());
}

TEST_CASE("a part of one octet and a last part of none are read") {
  const byte_vector stream = octets({0xcb, 224, 'a', 225, 'b', 'c', 224, 'd', 0, 0xca, 3, 'P', 'G', 'P'});
  const auto packets = read_stream(stream, 1, 10);
  REQUIRE(packets.size() == 2);
  CHECK(as_text(packets[0].body) == "abcd");
  CHECK(packets[1].type == packet_type::marker);
}

TEST_CASE("a stream that is cut anywhere is truncated, never something else") {
  byte_vector stream;
  append_packet(stream, packet_type::marker, pattern(3));
  append_packet(stream, packet_type::signature, pattern(200));
  {
    partial_body_writer writer(any_writer(vector_writer(stream)), packet_type::literal_data, 9);
    writer.write(pattern(1300));
    writer.finish();
  }
  CHECK(code_of(stream) == errc::success);
  const std::vector<std::size_t> boundaries{5, 5 + 203};
  for (std::size_t size = 1; size < stream.size(); ++size) {
    CAPTURE(size);
    const byte_vector cut(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size));
    const bool boundary = std::find(boundaries.begin(), boundaries.end(), size) != boundaries.end();
    CHECK(code_of(cut) == (boundary ? errc::success : errc::truncated));
  }
}

TEST_CASE("partial and indeterminate lengths are refused where no packet may have them") {
  CHECK(code_of(octets({0xc2, 224, 'a', 0})) == errc::bad_message);
  CHECK(code_of(octets({0x8b, 'a'})) == errc::bad_message);
  CHECK(code_in_memory(octets({0xcb, 224, 'a', 0})) == errc::bad_message);
  CHECK(code_in_memory(octets({0xaf, 'a'})) == errc::bad_message);
}

TEST_CASE("an octet below 128 begins no packet") {
  CHECK(code_of(octets({0x0a})) == errc::bad_message);
  CHECK(code_in_memory(octets({0xca, 0, 0x1f})) == errc::bad_message);
}

TEST_CASE("attack: a declared length of 4 GiB takes no memory") {
  byte_vector stream = octets({0xc2, 255, 255, 255, 255, 255}) + pattern(10);
  packet_reader reader{any_reader(memory_reader(stream))};
  REQUIRE(reader.next());
  CHECK_THROWS_AS(reader.read_body(1 << 20), error);
  CHECK(code_in_memory(stream) == errc::truncated);
}

TEST_CASE("attack: a body larger than its reader allows stops there") {
  byte_vector stream;
  append_packet(stream, packet_type::signature, pattern(100000));
  for (const bool skip : {false, true}) {
    packet_reader reader{any_reader(memory_reader(stream))};
    reader.next();
    try {
      if (skip)
        reader.skip_body(1000);
      else
        reader.read_body(1000);
      FAIL("no error");
    } catch (const error& e) {
      CHECK(e.code() == errc::message_too_large);
    }
  }
}

TEST_CASE("after damage the walk is over") {
  const byte_vector block = octets({0xca, 0, 0x1f, 0xca, 0});
  packet_sequence packets(block);
  CHECK(packets.next());
  CHECK_THROWS_AS(packets.next(), error);
  CHECK(!packets.next());
}
