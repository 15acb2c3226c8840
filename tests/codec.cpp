// codec: what comes out of the decompressors for whole, damaged, cut, concatenated and padded input, and what the
// compressors make.
#include <doctest/doctest.h>
#include <fussy/codec.hpp>

#include <random>
#include <string>

using namespace fussy;
using codec::format;
using codec::trailing;

namespace {

std::string hex_bytes(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

std::string compressed(std::string_view text, format f, int level = 0) {
  byte_vector out;
  codec::compressor c(vector_writer{out}, f, level);
  c.write(as_bytes(text));
  c.finish();
  return std::string(as_text(out));
}

std::string decompressed(any_reader r, format f, trailing t = trailing::refuse) {
  const byte_vector all = read_all(codec::decompress(f, t)(std::move(r)));
  return std::string(as_text(all));
}
std::string decompressed(std::string_view data, format f, trailing t = trailing::refuse) {
  return decompressed(memory_reader{data}, f, t);
}

errc refusal(std::string_view data, format f, trailing t = trailing::refuse) {
  try {
    decompressed(data, f, t);
  } catch (const error& e) {
    CHECK_FALSE(e.parts().why.empty());
    CHECK_FALSE(e.parts().remedy.empty());
    return e.code();
  }
  return errc::success;
}

// Some of everything: text, runs, noise.
std::string sample(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text;
  text.reserve(size + 4096);
  while (text.size() < size) {
    switch (random() % 3) {
      case 0:
        text.append(random() % 4000, static_cast<char>(random()));
        break;
      case 1:
        for (auto i = random() % 1000; i > 0; --i) text += static_cast<char>(random());
        break;
      default:
        for (auto i = random() % 200; i > 0; --i) text += "version " + std::to_string(random() % 50) + "\n";
    }
  }
  text.resize(size);
  return text;
}

struct one_byte_reader {
  memory_reader inner;
  std::size_t read(byte_span room) { return inner.read(room.first(1)); }
};

const format all_formats[] = {format::deflate, format::zlib, format::gzip, format::bzip2, format::zstd};
const format framed_formats[] = {format::gzip, format::bzip2, format::zstd};  // that know their end and their follower

}  // namespace

TEST_SUITE_BEGIN("codec");

TEST_CASE("the magic number tells the format; raw deflate and tar have none") {
  CHECK(codec::sniff(as_bytes(compressed("x", format::gzip))) == format::gzip);
  CHECK(codec::sniff(as_bytes(compressed("x", format::bzip2))) == format::bzip2);
  CHECK(codec::sniff(as_bytes(compressed("x", format::zstd))) == format::zstd);
  CHECK(codec::sniff(as_bytes("firmware/")) == std::nullopt);
  CHECK(codec::sniff(as_bytes("\x1f")) == std::nullopt);
  CHECK(codec::sniff({}) == std::nullopt);
}

TEST_CASE("what was compressed comes out again, in every format and of every size") {
  for (format f : all_formats)
    for (std::size_t size : {0u, 1u, 100u, 65536u, 300000u, 3000000u}) {
      const std::string text = sample(size);
      CHECK(decompressed(compressed(text, f), f) == text);
    }
}

TEST_CASE("input that comes octet by octet gives the same as input that comes whole") {
  const std::string text = sample(100000);
  for (format f : all_formats) {
    const std::string data = compressed(text, f);
    CHECK(decompressed(one_byte_reader{memory_reader{data}}, f) == text);
  }
}

TEST_CASE("a room of one octet is enough to read everything") {
  const std::string text = sample(20000);
  for (format f : all_formats) {
    const std::string data = compressed(text, f);
    any_reader r = codec::decompress(f)(memory_reader{data});
    std::string out;
    std::byte b;
    while (r.read({&b, 1})) out += static_cast<char>(b);
    CHECK(out == text);
    CHECK(r.read({&b, 1}) == 0);  // the end stays the end
  }
}

TEST_CASE("input that is cut anywhere is malformed, never a shorter text") {
  const std::string text = sample(5000);
  for (format f : all_formats) {
    const std::string data = compressed(text, f);
    for (std::size_t size = 0; size < data.size(); ++size)
      REQUIRE(refusal(std::string_view(data).substr(0, size), f) == errc::malformed);
  }
}

TEST_CASE("any flipped bit of a gzip, zlib, bzip2 or zstd file is refused or harmless, never another text") {
  const std::string text = sample(3000);
  for (format f : {format::zlib, format::gzip, format::bzip2, format::zstd}) {
    const std::string data = compressed(text, f);
    unsigned refused = 0;
    for (std::size_t at = 0; at < data.size(); ++at) {
      std::string bad = data;
      bad[at] = static_cast<char>(bad[at] ^ 1 << at % 8);
      try {
        const std::string out = decompressed(bad, f);
        REQUIRE(out == text);  // time and system in a gzip header mean nothing
      } catch (const error& e) {
        REQUIRE(e.code() == errc::malformed);
        ++refused;
      }
    }
    CHECK(refused >= data.size() - 12);
  }
}

TEST_CASE("members one after the other are one text") {
  for (format f : framed_formats)
    for (std::size_t size : {0u, 1u, 1000u, 200000u}) {
      const std::string first = sample(size, 1), second = sample(777, 2), third = sample(size, 3);
      const std::string data = compressed(first, f) + compressed(second, f) + compressed(third, f);
      CHECK(decompressed(data, f) == first + second + third);
      CHECK(decompressed(one_byte_reader{memory_reader{data}}, f) == first + second + third);
      CHECK(refusal(data.substr(0, data.size() - 1), f) == errc::malformed);
    }
}

TEST_CASE("zeros may follow the end, as tapes leave them; anything else is refused") {
  const std::string text = sample(1000);
  for (format f : all_formats) {
    const std::string data = compressed(text, f);
    CHECK(decompressed(data + std::string(1, '\0'), f) == text);
    CHECK(decompressed(data + std::string(500000, '\0'), f) == text);
    CHECK(refusal(data + "x", f) == errc::malformed);
    CHECK(refusal(data + std::string(300000, '\0') + "x", f) == errc::malformed);
  }
}

TEST_CASE("trailing::ignore stops at the end of the first stream whatever follows (padding of an OpenPGP packet)") {
  const std::string text = sample(70000);
  for (format f : all_formats) {
    const std::string data = compressed(text, f);
    for (const std::string& after : {std::string("x"), std::string(9, '\xff'), data, std::string(400000, 'p')}) {
      CHECK(decompressed(data + after, f, trailing::ignore) == text);
      CHECK(decompressed(one_byte_reader{memory_reader{data + after}}, f, trailing::ignore) == text);
    }
  }
}

TEST_CASE("a gzip header may carry extra data, a name, a comment and its own checksum") {
  const std::string plain = compressed("hello", format::gzip);
  const std::string body = plain.substr(10);
  const auto with = [&](char flags, const std::string& fields) {
    return std::string("\x1f\x8b\x08", 3) + flags + std::string(6, '\0') + fields + body;
  };
  CHECK(decompressed(with(4, std::string("\x03\x00"
                                         "abc",
                                         5)),
                     format::gzip) == "hello");
  CHECK(decompressed(with(8, std::string("name\0", 5)), format::gzip) == "hello");
  CHECK(decompressed(with(8 | 16, std::string("name\0comment\0", 13)), format::gzip) == "hello");
  CHECK(decompressed(with(1, ""), format::gzip) == "hello");  // says it is text
  CHECK(refusal(with(2, std::string("\x00\x00", 2)), format::gzip) == errc::malformed);
  CHECK(refusal(with(32, ""), format::gzip) == errc::malformed);
  CHECK(refusal(with(8, std::string(100000, 'n')), format::gzip) == errc::malformed);
}

TEST_CASE("a wrong checksum or size at the end of a gzip member is refused") {
  std::string data = compressed("some text", format::gzip);
  SUBCASE("checksum") { data[data.size() - 8] ^= 1; }
  SUBCASE("size") { data[data.size() - 1] ^= 1; }
  CHECK(refusal(data, format::gzip) == errc::malformed);
}

TEST_CASE("gotcha: input right behind raw deflate was buffered by the engine and is given back exactly") {
  // Streams of all lengths end at every bit position of the engine's buffer.
  for (std::size_t size = 0; size < 300; ++size) {
    const std::string first = sample(size, 5), second = sample(300 - size, 6);
    const std::string data = compressed(first, format::gzip) + compressed(second, format::gzip);
    REQUIRE(decompressed(data, format::gzip) == first + second);
  }
}

TEST_CASE("attack: damaged deflate data ends in an error, not in a hang or a crash") {
  // reserved block type; lengths that do not complement; distances before the beginning; a code without end
  for (const char* hex : {"07", "0100000000", "4b0402", "ffffffffffffffff", "050000000000000000", "edfd01010000ff"}) {
    CHECK(refusal(hex_bytes(hex), format::deflate) == errc::malformed);
  }
  std::mt19937 random(42);
  for (int i = 0; i < 3000; ++i) {
    std::string noise(random() % 200 + 1, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    for (format f : all_formats) {
      any_reader r = codec::decompress(f)(memory_reader{noise});
      try {
        read_all(r, 1 << 20);
      } catch (const error& e) {
        const bool known = e.code() == errc::malformed || e.code() == errc::too_large;
        REQUIRE(known);
      }
    }
  }
}

TEST_CASE("attack: a zstd frame that asks for a window of 2 GiB is refused before memory is spent") {
  // magic, descriptor without single segment, window 2 GiB, then a raw block
  CHECK(refusal(hex_bytes("28b52ffd"
                          "00"
                          "a8"
                          "010000"),
                format::zstd) == errc::malformed);
}

TEST_CASE("zstd: skippable frames are passed over, formats of before the standard are refused") {
  const std::string text = sample(1000);
  const std::string skippable = hex_bytes(
                                    "502a4d18"
                                    "03000000") +
                                "abc";
  const std::string data = compressed(text, format::zstd);
  CHECK(decompressed(skippable + data + skippable, format::zstd) == text);
  CHECK(refusal(hex_bytes("27b52ffd") + data.substr(4), format::zstd) == errc::malformed);
}

TEST_CASE("zlib: a preset dictionary and a wrong header are refused") {
  CHECK(refusal(hex_bytes("78bb00000000"), format::zlib) == errc::malformed);
  CHECK(refusal(hex_bytes("7800"), format::zlib) == errc::malformed);
}

TEST_CASE("decompress_any picks the format, and refuses what has none") {
  const std::string text = sample(50000);
  for (format f : framed_formats) {
    const std::string data = compressed(text, f);
    CHECK(as_text(read_all(codec::decompress_any()(one_byte_reader{memory_reader{data}}))) == text);
  }
  CHECK_THROWS_AS(read_all(codec::decompress_any()(memory_reader{"plain text"})), error);
  CHECK_THROWS_AS(read_all(codec::decompress_any()(memory_reader{""})), error);
}

TEST_CASE("an error of the upstream arrives as it is") {
  struct broken {
    std::size_t read(byte_span) { throw error(errc::cancelled, "enough"); }
  };
  for (format f : all_formats) {
    try {
      read_all(codec::decompress(f)(broken{}));
      FAIL("no error");
    } catch (const error& e) {
      CHECK(e.code() == errc::cancelled);
    }
  }
}

TEST_CASE("the same input gives the same output on every run, however it was cut into writes") {
  const std::string text = sample(700000);
  for (format f : all_formats) {
    byte_vector parts;
    codec::compressor c(vector_writer{parts}, f);
    for (std::size_t at = 0; at < text.size(); at += 9999)
      c.write(as_bytes(text).subspan(at, std::min<std::size_t>(9999, text.size() - at)));
    c.finish();
    CHECK(as_text(parts) == compressed(text, f));
  }
  CHECK(compressed("", format::gzip).substr(0, 8) == std::string("\x1f\x8b\x08\0\0\0\0\0", 8));  // no name, no time
}

TEST_CASE("every level of every format can be read by the decompressor, zstd's --ultra included") {
  const std::string text = sample(300000);
  for (format f : all_formats)
    for (int level : {0, 1, 5, 9, 19, 22})
      if (level <= 9 || f == format::zstd) CHECK(decompressed(compressed(text, f, level), f) == text);
}

TEST_CASE("a level that a format does not have is refused") {
  for (format f : all_formats)
    for (int level : {-1, 10, 23}) {
      if (level == 10 && f == format::zstd) continue;
      errc code = errc::success;
      try {
        (void)compressed("text", f, level);
      } catch (const fussy::error& e) {
        code = e.code();
      }
      CHECK_MESSAGE(code == errc::usage, static_cast<int>(f) << " at " << level);
    }
}
