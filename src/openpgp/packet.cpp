#include "packet.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fussy::openpgp {
namespace {

constexpr unsigned octet(std::byte b) noexcept { return std::to_integer<unsigned>(b); }

[[noreturn]] void bad_header(std::uint64_t offset, std::string why) {
  throw error(errc::bad_message, {.what = "OpenPGP packets are malformed at octet " + std::to_string(offset),
                                  .why = std::move(why),
                                  .remedy = "the file is damaged or no OpenPGP data; get it again from its source"});
}

[[noreturn]] void cut(std::string what) {
  throw error(errc::truncated, {.what = std::move(what),
                                .why = "the data end before the packet does",
                                .remedy = "the file is incomplete; get it again from its source"});
}

std::string offset_text(const std::string& what, std::uint64_t offset) {
  return what + " at octet " + std::to_string(offset) + " is cut off";
}

bool is_new_format(std::byte first) noexcept { return (octet(first) & 0x40) != 0; }

packet_type type_of(std::byte first) noexcept {
  return static_cast<packet_type>(is_new_format(first) ? octet(first) & 0x3f : octet(first) >> 2 & 0x0f);
}

// Octets of the length field of the old format, 0 for the indeterminate one.
constexpr std::size_t old_length_octets(unsigned length_type) noexcept {
  return length_type == 3 ? 0 : std::size_t{1} << length_type;
}

// Octets of the length field of the new format that starts with this octet; partial lengths have one.
constexpr std::size_t new_length_octets(unsigned first) noexcept {
  return first == 255 ? 5 : first >= 192 && first < 224 ? 2 : 1;
}

constexpr bool is_partial_length(unsigned first) noexcept { return first >= 224 && first < 255; }

constexpr std::uint64_t new_length(byte_view field) noexcept {
  const unsigned first = octet(field[0]);
  if (is_partial_length(first)) return std::uint64_t{1} << (first & 0x1f);
  if (field.size() == 5) return load_be(field.subspan(1));
  if (field.size() == 2) return ((first - 192) << 8) + octet(field[1]) + 192;
  return first;
}

}  // namespace

std::string describe(packet_type type) {
  switch (type) {
    case packet_type::public_key_encrypted_session_key:
      return "public-key encrypted session key packet";
    case packet_type::signature:
      return "signature packet";
    case packet_type::symmetric_key_encrypted_session_key:
      return "passphrase session key packet";
    case packet_type::one_pass_signature:
      return "one-pass signature packet";
    case packet_type::secret_key:
      return "secret key packet";
    case packet_type::public_key:
      return "public key packet";
    case packet_type::secret_subkey:
      return "secret subkey packet";
    case packet_type::compressed_data:
      return "compressed data packet";
    case packet_type::symmetrically_encrypted_data:
      return "encrypted data packet without integrity protection";
    case packet_type::marker:
      return "marker packet";
    case packet_type::literal_data:
      return "literal data packet";
    case packet_type::trust:
      return "trust packet";
    case packet_type::user_id:
      return "user ID packet";
    case packet_type::public_subkey:
      return "public subkey packet";
    case packet_type::user_attribute:
      return "user attribute packet";
    case packet_type::encrypted_and_integrity_protected_data:
      return "encrypted data packet";
    case packet_type::modification_detection_code:
      return "modification detection code packet";
    case packet_type::gnupg_aead_encrypted_data:
      return "GnuPG AEAD encrypted data packet";
    case packet_type::padding:
      return "padding packet";
  }
  return "packet of unknown type " + std::to_string(static_cast<unsigned>(type));
}

// ---- In memory ------------------------------------------------------------------------------------------------------

std::optional<packet> packet_sequence::next() {
  if (rest_.empty()) return std::nullopt;
  const byte_view from = rest_;
  const std::size_t at = offset();
  rest_ = {};  // an exception ends the walk
  if (octet(from[0]) < 0x80) bad_header(at, "a packet begins with an octet of 128 or more");

  std::size_t header = 0;
  std::uint64_t length = 0;
  if (is_new_format(from[0])) {
    if (from.size() < 2) cut(offset_text("packet header", at));
    const unsigned first = octet(from[1]);
    if (is_partial_length(first))
      bad_header(at, "a " + describe(type_of(from[0])) + " may not have partial lengths here");
    header = 1 + new_length_octets(first);
    if (from.size() < header) cut(offset_text("packet header", at));
    length = new_length(from.subspan(1, header - 1));
  } else {
    const unsigned length_type = octet(from[0]) & 3;
    if (length_type == 3)
      bad_header(at, "a " + describe(type_of(from[0])) + " may not have an indeterminate length here");
    header = 1 + old_length_octets(length_type);
    if (from.size() < header) cut(offset_text("packet header", at));
    length = load_be(from.subspan(1, header - 1));
  }
  if (length > from.size() - header) cut(offset_text(describe(type_of(from[0])), at));

  const auto size = static_cast<std::size_t>(length);
  rest_ = from.subspan(header + size);
  return packet{type_of(from[0]), from.subspan(header, size), from.first(header + size)};
}

// ---- Over a stream --------------------------------------------------------------------------------------------------

buffered_reader::buffered_reader(any_reader source, std::size_t capacity)
    : source_(std::move(source)), capacity_(capacity), buffer_(std::make_unique_for_overwrite<std::byte[]>(capacity)) {}

void buffered_reader::fill() {
  if (first_ == last_) {
    first_ = last_ = 0;
  } else if (first_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + first_, last_ - first_);
    last_ -= first_;
    first_ = 0;
  }
  const std::size_t n = source_.read({buffer_.get() + last_, capacity_ - last_});
  if (n == 0) ended_ = true;
  last_ += n;
}

byte_view buffered_reader::peek(std::size_t count) {
  while (last_ - first_ < count && !ended_) fill();
  return {buffer_.get() + first_, std::min(count, last_ - first_)};
}

byte_view buffered_reader::peek_some() {
  if (first_ == last_ && !ended_) fill();
  return {buffer_.get() + first_, last_ - first_};
}

void buffered_reader::skip(std::size_t count) noexcept {
  first_ += count;
  position_ += count;
}

std::size_t buffered_reader::read(byte_span room) {
  if (first_ == last_ && room.size() >= capacity_ && !ended_) {
    const std::size_t n = source_.read(room);
    if (n == 0) ended_ = true;
    position_ += n;
    return n;
  }
  const byte_view some = peek_some();
  const std::size_t n = std::min(room.size(), some.size());
  std::copy_n(some.begin(), n, room.begin());
  skip(n);
  return n;
}

byte_view packet_reader::expect(std::size_t count) {
  const byte_view octets = source_.peek(count);
  if (octets.size() < count) cut(offset_text("packet header", source_.position()));
  return octets;
}

std::optional<packet_type> packet_reader::next() {
  const byte_view first = source_.peek(1);
  if (first.empty()) return std::nullopt;
  const std::byte head = first[0];
  if (octet(head) < 0x80) bad_header(source_.position(), "a packet begins with an octet of 128 or more");
  source_.skip(1);
  type_ = type_of(head);
  partial_ = indeterminate_ = false;
  if (is_new_format(head)) {
    read_new_length();
    if (partial_ && !may_be_partial(type_))
      bad_header(source_.position(), "a " + describe(type_) + " may not have partial lengths");
  } else {
    read_old_length(octet(head) & 3);
    if (indeterminate_ && !may_be_partial(type_))
      bad_header(source_.position(), "a " + describe(type_) + " may not have an indeterminate length");
  }
  return type_;
}

void packet_reader::read_old_length(unsigned length_type) {
  const std::size_t octets = old_length_octets(length_type);
  indeterminate_ = octets == 0;
  left_ = indeterminate_ ? UINT64_MAX : load_be(expect(octets));
  source_.skip(octets);
}

void packet_reader::read_new_length() {
  const unsigned first = octet(expect(1)[0]);
  const std::size_t octets = new_length_octets(first);
  partial_ = is_partial_length(first);
  left_ = new_length(expect(octets));
  source_.skip(octets);
}

std::size_t packet_reader::read(byte_span room) {
  std::size_t done = 0;
  while (done < room.size()) {
    if (left_ == 0) {
      if (!partial_) break;
      read_new_length();
      continue;
    }
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(room.size() - done, left_));
    const std::size_t n = source_.read(room.subspan(done, want));
    if (n == 0) {
      if (!indeterminate_) cut(offset_text(describe(type_), source_.position()));
      left_ = 0;
      break;
    }
    done += n;
    if (!indeterminate_) left_ -= n;
  }
  return done;
}

byte_vector packet_reader::read_body(std::size_t max) {
  // Grown as octets arrive, never from the length that is declared.
  constexpr std::size_t step = 4096;
  byte_vector body;
  for (;;) {
    const std::size_t size = body.size();
    body.resize(size + step);
    const std::size_t n = read(byte_span(body).subspan(size));
    body.resize(size + n);
    if (body.size() > max)
      throw error(errc::message_too_large,
                  {.what = describe(type_) + " is too large",
                   .why = "it has more than " + std::to_string(max) + " octets, which no honest one has",
                   .remedy = "get the file again from its source"});
    if (n < step) return body;
  }
}

std::uint64_t packet_reader::skip_body(std::uint64_t max) {
  std::byte scratch[4096];
  std::uint64_t total = 0;
  while (const std::size_t n = read(scratch)) {
    total += n;
    if (total > max)
      throw error(errc::message_too_large,
                  {.what = describe(type_) + " is too large",
                   .why = "it is to be skipped and has more than " + std::to_string(max) + " octets",
                   .remedy = "get the file again from its source"});
  }
  return total;
}

// ---- Writing --------------------------------------------------------------------------------------------------------

namespace {

void append_new_length(byte_vector& out, std::uint32_t size) {
  if (size < 192) {
    out.push_back(static_cast<std::byte>(size));
  } else if (size < 8384) {
    out.push_back(static_cast<std::byte>(((size - 192) >> 8) + 192));
    out.push_back(static_cast<std::byte>((size - 192) & 0xff));
  } else {
    const std::size_t at = out.size();
    out.resize(at + 5);
    out[at] = std::byte{255};
    store_be(byte_span(out).subspan(at + 1), size);
  }
}

}  // namespace

void append_packet_header(byte_vector& out, packet_type type, std::uint32_t size) {
  out.push_back(static_cast<std::byte>(0xc0 | static_cast<unsigned>(type)));
  append_new_length(out, size);
}

void append_packet(byte_vector& out, packet_type type, byte_view body) {
  append_packet_header(out, type, static_cast<std::uint32_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
}

partial_body_writer::partial_body_writer(any_writer to, packet_type type, unsigned part_size_bits)
    : to_(std::move(to)), bits_(part_size_bits) {
  const std::byte head[] = {static_cast<std::byte>(0xc0 | static_cast<unsigned>(type))};
  to_.write(head);
  part_.reserve(std::size_t{1} << bits_);
}

void partial_body_writer::write(byte_view bytes) {
  const std::size_t part = std::size_t{1} << bits_;
  const std::byte length[] = {static_cast<std::byte>(224 + bits_)};
  while (!bytes.empty()) {
    // A full part is written only when more follows: the last one must not be partial.
    if (part_.size() == part) {
      to_.write(length);
      to_.write(part_);
      part_.clear();
    }
    const std::size_t n = std::min(bytes.size(), part - part_.size());
    part_.insert(part_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    bytes = bytes.subspan(n);
  }
}

void partial_body_writer::finish() {
  byte_vector length;
  append_new_length(length, static_cast<std::uint32_t>(part_.size()));
  to_.write(length);
  to_.write(part_);
  part_.clear();
}

}  // namespace fussy::openpgp
