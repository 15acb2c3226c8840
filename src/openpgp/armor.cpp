#include "armor.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "wire.hpp"

namespace fussy::openpgp {
namespace {

constexpr std::string_view begin_mark = "-----BEGIN ";
constexpr std::string_view end_mark = "-----END ";
constexpr std::string_view dashes = "-----";
constexpr std::size_t max_header_line = 16 * 1024;  // comments can be long
constexpr std::size_t octets_per_line = 48;         // 64 characters

constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_sextet = 0xff;

constexpr auto sextets = [] {
  std::array<std::uint8_t, 256> table{};
  table.fill(no_sextet);
  for (std::uint8_t i = 0; i < 64; ++i) table[static_cast<unsigned char>(alphabet[i])] = i;
  return table;
}();

constexpr bool is_blank(unsigned c) noexcept { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string_view trim_right(std::string_view line) noexcept {
  while (!line.empty() && is_blank(static_cast<unsigned char>(line.back()))) line.remove_suffix(1);
  return line;
}

// LABEL of `-----BEGIN LABEL-----`, empty where the line is something else.
std::string_view label_of(std::string_view line, std::string_view mark) noexcept {
  line = trim_right(line);
  if (!line.starts_with(mark) || !line.ends_with(dashes) || line.size() <= mark.size() + dashes.size()) return {};
  return line.substr(mark.size(), line.size() - mark.size() - dashes.size());
}

// CRC-24 of RFC 4880 §6.1, a table of one octet: armor is written once per package.
constexpr std::uint32_t crc_start = 0xb704ce;
constexpr auto crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i << 16;
    for (int bit = 0; bit < 8; ++bit) value = (value & 0x800000) != 0 ? (value << 1 ^ 0x864cfb) & 0xffffff : value << 1;
    table[i] = value;
  }
  return table;
}();

std::uint32_t crc24(std::uint32_t crc, byte_view octets) noexcept {
  for (std::byte b : octets) crc = (crc << 8 & 0xffffff) ^ crc_table[(crc >> 16) ^ std::to_integer<std::uint32_t>(b)];
  return crc;
}

void append_group(std::string& out, byte_view octets) {
  const std::uint32_t bits = static_cast<std::uint32_t>(load_be(octets)) << (8 * (3 - octets.size()));
  for (std::size_t i = 0; i < 4; ++i) out += i <= octets.size() ? alphabet[bits >> (18 - 6 * i) & 63] : '=';
}

void append_line(std::string& out, byte_view octets) {
  for (std::size_t at = 0; at < octets.size(); at += 3)
    append_group(out, octets.subspan(at, std::min<std::size_t>(3, octets.size() - at)));
  out += '\n';
}

std::string end_lines(std::string_view label, std::uint32_t crc) {
  std::array<std::byte, 3> sum{};
  store_be(sum, crc);
  std::string text = "=";
  append_group(text, sum);
  return text.append("\n").append(end_mark).append(label).append(dashes).append("\n");
}

[[noreturn]] void damaged(std::string why) {
  throw error(errc::bad_message, {.what = "the ASCII armor is damaged",
                                  .why = std::move(why),
                                  .remedy = "get the file again from its source, without an editor or mailer between"});
}

[[noreturn]] void endless(const char* what) {
  throw error(errc::message_too_large, {.what = "the ASCII armor is too large",
                                        .why = std::string(what) + " do not come to an end",
                                        .remedy = "get the file again from its source"});
}

[[noreturn]] void cut() {
  throw error(errc::truncated, {.what = "the ASCII armor is incomplete",
                                .why = "the text ends before the END line",
                                .remedy = "the file is incomplete; get it again from its source"});
}

}  // namespace

// ---- In memory ------------------------------------------------------------------------------------------------------

bool has_armor(std::string_view text) noexcept {
  constexpr std::string_view mark = "-----BEGIN PGP ";
  return text.starts_with(mark) || text.find(std::string("\n").append(mark)) != std::string_view::npos;
}

std::vector<armor_block> decode_armor(std::string_view text) {
  std::vector<armor_block> blocks;
  while (!text.empty()) {
    const std::size_t line_size = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view label = label_of(text.substr(0, line_size), begin_mark);
    if (!label.starts_with("PGP ") || label == armor_label::signed_text) {
      text.remove_prefix(line_size);
      continue;
    }
    armor_block block{.label = std::string(label), .octets = {}, .damage = {}};
    // The block ends at its END line, or where the next one begins: so damage stays inside it.
    std::size_t size = std::min(text.find(std::string("\n").append(begin_mark), line_size - 1), text.size());
    const std::size_t end = text.substr(0, size).find(std::string("\n").append(end_mark), line_size - 1);
    if (end != std::string_view::npos) {
      const std::size_t end_of_line = text.find('\n', end + 1);
      size = end_of_line == std::string_view::npos ? text.size() : end_of_line + 1;
    }
    try {
      armor_reader reader(buffered_reader(memory_reader(text.substr(0, size)), 4096), label);
      byte_vector step(std::max<std::size_t>(size, 4));
      while (const std::size_t n = reader.read(step))
        block.octets.insert(block.octets.end(), step.begin(), step.begin() + static_cast<std::ptrdiff_t>(n));
    } catch (const error& e) {
      block.damage = e.parts().why;
    }
    blocks.push_back(std::move(block));
    text.remove_prefix(size);
  }
  return blocks;
}

std::string encode_armor(std::string_view label, byte_view octets) {
  std::string text;
  text.append(begin_mark).append(label).append(dashes).append("\n\n");
  for (std::size_t at = 0; at < octets.size(); at += octets_per_line)
    append_line(text, octets.subspan(at, std::min(octets_per_line, octets.size() - at)));
  return text.append(end_lines(label, crc24(crc_start, octets)));
}

// ---- Over a stream --------------------------------------------------------------------------------------------------

std::size_t armor_reader::read(byte_span room) {
  if (!begun_) {
    find_begin();
    skip_headers();
    begun_ = true;
  }
  for (;;) {
    if (!rest_.empty()) {
      const std::size_t n = std::min(room.size(), rest_.size());
      std::copy_n(rest_.begin(), n, room.begin());
      rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(n));
      return n;
    }
    if (ended_) return 0;
    if (const std::size_t n = decode(room)) return n;
  }
}

// Reads a line without its end. False at the end of the text.
bool armor_reader::read_line(std::string& line, std::size_t max) {
  line.clear();
  bool any = false;
  for (;;) {
    const byte_view some = text_.peek_some();
    if (some.empty()) return any;
    any = true;
    const auto at = std::find(some.begin(), some.end(), std::byte{'\n'});
    const auto n = static_cast<std::size_t>(at - some.begin());
    if (line.size() + n > max) damaged("a line has more than " + std::to_string(max) + " characters");
    line.append(as_text(some.first(n)));
    const bool whole = at != some.end();
    text_.skip(n + (whole ? 1 : 0));
    if (whole) return true;
  }
}

void armor_reader::find_begin() {
  const auto none = [](std::string why) {
    throw error(errc::not_openpgp, {.what = "this is no OpenPGP message",
                                    .why = std::move(why),
                                    .remedy = "use a file made by fussy-pack, or by gpg --sign"});
  };
  std::string line;
  while (text_.position() < max_preamble) {
    if (!read_line(line, max_preamble)) break;
    const std::string_view label = label_of(line, begin_mark);
    if (label == label_) return;
    if (label.starts_with("PGP "))
      throw error(errc::bad_message, {.what = "this is no OpenPGP message with its content inside",
                                      .why = "it is a " + std::string(label) + " where a " + label_ + " was expected",
                                      .remedy = "use a file made by fussy-pack, or by gpg --sign"});
  }
  none("it begins neither with a packet nor with a line `" + std::string(begin_mark) + label_ + "-----`");
}

// `Key: value` lines up to an empty one. Some programs leave the empty line out when there are no headers.
void armor_reader::skip_headers() {
  std::string line;
  for (std::size_t size = 0;;) {
    const byte_view head = text_.peek(128);
    const std::string_view text = as_text(head);
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view start = text.substr(0, end);
    const bool blank = trim_right(start).empty();
    if (!blank && start.find(": ") == std::string_view::npos && !trim_right(start).ends_with(':') && end < text.size())
      return;  // data already
    if (!read_line(line, max_header_line)) cut();
    if (trim_right(line).empty()) return;
    size += line.size() + 1;
    if (size > max_headers) endless("its headers");
  }
}

std::size_t armor_reader::decode(byte_span room) {
  const byte_view some = text_.peek_some();
  if (some.empty()) cut();
  const std::uint8_t* in = as_uint8(some);
  const std::uint8_t* const end = in + some.size();
  std::uint8_t* out = as_uint8(room);
  std::uint8_t* const full = out + room.size();

  while (in != end) {
    // Whole groups, which is nearly all there is.
    if (sextets_ == 0) {
      while (end - in >= 4 && full - out >= 3) {
        const std::uint32_t a = sextets[in[0]], b = sextets[in[1]], c = sextets[in[2]], d = sextets[in[3]];
        if ((a | b | c | d) > 63) break;
        const std::uint32_t group = a << 18 | b << 12 | c << 6 | d;
        out[0] = static_cast<std::uint8_t>(group >> 16);
        out[1] = static_cast<std::uint8_t>(group >> 8);
        out[2] = static_cast<std::uint8_t>(group);
        in += 4;
        out += 3;
        idle_ = 0;
      }
      if (in == end) break;
    }
    const std::uint8_t sextet = sextets[*in];
    if (sextet != no_sextet) {
      bits_ = bits_ << 6 | sextet;
      idle_ = 0;
      ++in;
      if (++sextets_ < 4) continue;
      const std::array<std::byte, 3> group{static_cast<std::byte>(bits_ >> 16), static_cast<std::byte>(bits_ >> 8),
                                           static_cast<std::byte>(bits_)};
      bits_ = sextets_ = 0;
      if (full - out >= 3) {
        for (std::byte b : group) *out++ = std::to_integer<std::uint8_t>(b);
        continue;
      }
      rest_.assign(group.begin(), group.end());  // no room for it: read() hands it out
      break;
    }
    if (is_blank(*in)) {
      if (++idle_ > max_white_space) endless("blanks between its data");
      ++in;
      continue;
    }
    const unsigned character = *in;
    text_.skip(static_cast<std::size_t>(in - as_uint8(some)));
    finish_data(character);
    return static_cast<std::size_t>(out - as_uint8(room));
  }
  text_.skip(static_cast<std::size_t>(in - as_uint8(some)));
  return static_cast<std::size_t>(out - as_uint8(room));
}

// At the first character that is neither base64 nor white space: padding, the checksum, or the END line.
void armor_reader::finish_data(unsigned character) {
  if (character != '=' && character != '-')
    damaged("a character that is not base64 (octet " + std::to_string(character) + ")");
  if (sextets_ == 1) damaged("the last base64 group has one character");
  if (sextets_ >= 2) {
    const unsigned octets = sextets_ - 1;
    const std::uint32_t group = bits_ << (6 * (4 - sextets_));
    for (unsigned i = 0; i < octets; ++i) rest_.push_back(static_cast<std::byte>(group >> (16 - 8 * i)));
    for (unsigned pad = sextets_; pad < 4; ++pad) {
      if (as_text(text_.peek(1)) != "=") damaged("the last base64 group lacks its padding");
      text_.skip(1);
    }
    bits_ = sextets_ = 0;
  }
  read_end_line();
  ended_ = true;
}

void armor_reader::read_end_line() {
  std::string line;
  bool checksum = false;
  for (;;) {
    if (!read_line(line, max_header_line)) cut();
    const std::string_view content = trim_right(line);
    if ((idle_ += line.size() + 1) > max_white_space) endless("blanks in front of its END line");
    if (content.empty()) continue;
    if (content.front() == '=' && !checksum) {
      checksum = true;
      continue;
    }
    if (!content.starts_with('-')) damaged("base64 goes on behind its end");
    if (label_of(content, end_mark) == label_) break;
    // A line that the end of the text has cut is incomplete, not wrong.
    if (text_.at_end() && std::string(end_mark).append(label_).append(dashes).starts_with(content)) cut();
    damaged("the END line does not match the BEGIN line");
  }
  for (;;) {
    const byte_view some = text_.peek_some();
    if (some.empty()) return;
    for (std::byte b : some)
      if (!is_blank(std::to_integer<unsigned>(b))) damaged("something follows the END line");
    if ((idle_ += some.size()) > max_white_space) endless("blanks behind its END line");
    text_.skip(some.size());
  }
}

// ---- Writing --------------------------------------------------------------------------------------------------------

armor_writer::armor_writer(any_writer to, std::string_view label) : to_(std::move(to)), label_(label), crc_(crc_start) {
  to_.write(as_bytes(std::string(begin_mark).append(label_).append(dashes).append("\n\n")));
}

void armor_writer::write(byte_view bytes) {
  crc_ = crc24(crc_, bytes);
  std::string text;
  text.reserve((bytes.size() + pending_.size()) / 3 * 4 + bytes.size() / octets_per_line + 8);
  if (!pending_.empty()) {
    const std::size_t n = std::min(octets_per_line - pending_.size(), bytes.size());
    put(pending_, bytes.first(n));
    bytes = bytes.subspan(n);
    if (pending_.size() < octets_per_line) return;
    append_line(text, pending_);
    pending_.clear();
  }
  for (; bytes.size() >= octets_per_line; bytes = bytes.subspan(octets_per_line))
    append_line(text, bytes.first(octets_per_line));
  pending_.assign(bytes.begin(), bytes.end());
  if (!text.empty()) to_.write(as_bytes(text));
}

void armor_writer::finish() {
  std::string text;
  if (!pending_.empty()) append_line(text, pending_);
  to_.write(as_bytes(text.append(end_lines(label_, crc_))));
  pending_.clear();
}

}  // namespace fussy::openpgp
