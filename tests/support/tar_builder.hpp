// Tar archives made octet by octet, so that they may be as wrong as a test needs (POSIX.1-2017 pax, "ustar Interchange
// Format").
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace test {

struct tar_entry {
  std::string name;
  char type = '0';
  std::string content = {};
  std::string link = {};
  unsigned mode = 0644;
  std::uint64_t uid = 0, gid = 0;
  std::int64_t mtime = 1'000'000'000;
  std::optional<std::uint64_t> claimed_size = {};  // another size than the content has
  unsigned major = 0, minor = 0;
};

class tar_builder {
public:
  static constexpr std::size_t record = 512;

  tar_builder& add(const tar_entry& e) {
    bytes_ += header(e);
    bytes_ += e.content;
    return pad();
  }
  tar_builder& directory(const std::string& name, unsigned mode = 0755) {
    return add({.name = name, .type = '5', .mode = mode});
  }
  tar_builder& file(const std::string& name, const std::string& content, unsigned mode = 0644) {
    return add({.name = name, .content = content, .mode = mode});
  }
  tar_builder& symlink(const std::string& name, const std::string& text) {
    return add({.name = name, .type = '2', .link = text, .mode = 0777});
  }
  tar_builder& hard_link(const std::string& name, const std::string& target) {
    return add({.name = name, .type = '1', .link = target});
  }
  /// One extended header record for the next entry.
  tar_builder& pax(const std::string& key, const std::string& value) { return pax_records(pax_record(key, value)); }
  tar_builder& pax_records(const std::string& records) { return add({.name = "pax", .type = 'x', .content = records}); }
  /// A GNU long name ('L') or long link ('K') for the next entry.
  tar_builder& gnu_long(char type, const std::string& text) {
    return add({.name = "././@LongLink", .type = type, .content = text + '\0'});
  }
  tar_builder& raw(std::string_view octets) {
    bytes_ += octets;
    return *this;
  }
  tar_builder& pad() {
    bytes_.resize((bytes_.size() + record - 1) / record * record, '\0');
    return *this;
  }
  tar_builder& end() { return raw(std::string(2 * record, '\0')); }
  /// The archive with its end.
  std::string bytes() const { return bytes_ + std::string(2 * record, '\0'); }
  /// As it is, without an end.
  const std::string& open_bytes() const { return bytes_; }

  static std::string pax_record(const std::string& key, const std::string& value) {
    const std::string rest = " " + key + "=" + value + "\n";
    std::size_t size = rest.size() + 1;
    while (std::to_string(size).size() + rest.size() != size) ++size;
    return std::to_string(size) + rest;
  }

  static std::string header(const tar_entry& e) {
    std::string h(record, '\0');
    h.replace(0, std::min<std::size_t>(e.name.size(), 100), e.name, 0, 100);
    number(h, 100, 8, e.mode);
    number(h, 108, 8, e.uid);
    number(h, 116, 8, e.gid);
    number(h, 124, 12, e.claimed_size.value_or(e.content.size()));
    number(h, 136, 12, static_cast<std::uint64_t>(e.mtime));
    h[156] = e.type;
    h.replace(157, std::min<std::size_t>(e.link.size(), 100), e.link, 0, 100);
    h.replace(257, 8, std::string("ustar\00000", 8));
    number(h, 329, 8, e.major);
    number(h, 337, 8, e.minor);
    return with_checksum(h);
  }
  static std::string with_checksum(std::string h) {
    h.replace(148, 8, 8, ' ');
    unsigned sum = 0;
    for (char c : h) sum += static_cast<unsigned char>(c);
    char text[8];
    std::snprintf(text, sizeof text, "%06o", sum);
    h.replace(148, 7, text, 7);
    return h;
  }

private:
  // Octal, or base 256 where octal is too short.
  static void number(std::string& h, std::size_t at, std::size_t width, std::uint64_t value) {
    if (value >> (3 * (width - 1)) == 0) {
      char text[32];
      std::snprintf(text, sizeof text, "%0*llo", static_cast<int>(width) - 1, static_cast<unsigned long long>(value));
      h.replace(at, width - 1, text, width - 1);
      return;
    }
    for (std::size_t i = width; i-- > 0; value >>= 8) h[at + i] = static_cast<char>(value & 0xff);
    h[at] = static_cast<char>(h[at] | 0x80);
  }

  std::string bytes_;
};

}  // namespace test
