/// @file terminal.hpp  What a person sees: safe text, colours where they are wanted, sizes and times in short.
#pragma once

#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace fussy::cli {

/// A thread whose characters are UTF-8 while this lives, whatever the environment says.
class utf8_text {
public:
  utf8_text() : before_(characters() ? ::uselocale(characters()) : nullptr) {}
  ~utf8_text() {
    if (before_) ::uselocale(before_);
  }
  utf8_text(const utf8_text&) = delete;
  utf8_text& operator=(const utf8_text&) = delete;

private:
  /// Made once, as making it opens a file; nothing if there is no such locale.
  static locale_t characters() {
    static const locale_t made = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return made;
  }

  locale_t before_;
};

/// Calls `use(piece, wide)` for each character; `wide` is 0 for an octet that is none, or that a terminal would obey.
template <class Use>
void each_character(std::string_view text, Use&& use) {
  const utf8_text utf8;
  while (!text.empty()) {
    std::mbstate_t state{};
    wchar_t wide = 0;
    std::size_t length = ::mbrtowc(&wide, text.data(), text.size(), &state);
    if (length == 0 || length > text.size() || ::iswprint(static_cast<wint_t>(wide)) == 0) wide = 0;
    if (length == 0 || length > text.size()) length = 1;
    use(text.substr(0, length), wide);
    text.remove_prefix(length);
  }
}

/// One line, even when a file name in it has control characters: a terminal must not be told what to do by a package.
inline std::string printable(std::string_view text) {
  std::string safe;
  each_character(text, [&](std::string_view piece, wchar_t wide) {
    if (wide != 0) {
      safe += piece;
      return;
    }
    for (const char c : piece) {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
      safe += escaped;
    }
  });
  return safe;
}

/// Columns that printable text takes.
inline std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  each_character(text, [&](std::string_view, wchar_t wide) {
    const int columns = ::wcwidth(wide);
    width += columns > 0 ? static_cast<std::size_t>(columns) : 0;
  });
  return width;
}

/// Printable text filled up with spaces.
inline std::string left(std::string text, std::size_t width) {
  const std::size_t has = width_of(text);
  return has < width ? text.append(width - has, ' ') : text;
}
inline std::string right(const std::string& text, std::size_t width) {
  const std::size_t has = width_of(text);
  return has < width ? std::string(width - has, ' ') + text : text;
}

/// "93.1 MiB"
inline std::string human_size(std::uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) value /= 1024, ++unit;
  char text[32];
  if (unit == 0)
    std::snprintf(text, sizeof text, "%llu B", static_cast<unsigned long long>(bytes));
  else
    std::snprintf(text, sizeof text, "%.1f %s", value, units[unit]);
  return text;
}

/// "0:07", "12:30", "1:02:03"
inline std::string human_time(double seconds) {
  const auto all = static_cast<unsigned long long>(seconds < 0 ? 0 : seconds + 0.5);
  char text[48];
  if (all >= 3600)
    std::snprintf(text, sizeof text, "%llu:%02llu:%02llu", all / 3600, all / 60 % 60, all % 60);
  else
    std::snprintf(text, sizeof text, "%llu:%02llu", all / 60, all % 60);
  return text;
}

/// A terminal that understands how to go back to the start of a line.
inline bool is_terminal(int fd) {
  const char* const term = std::getenv("TERM");
  return ::isatty(fd) == 1 && term != nullptr && std::string_view(term) != "" && std::string_view(term) != "dumb";
}

/// Colours: on a terminal, unless the user says NO_COLOR (no-color.org: set and not empty).
inline bool wants_colour(int fd) {
  const char* const no = std::getenv("NO_COLOR");
  return is_terminal(fd) && (no == nullptr || *no == '\0');
}

inline std::size_t columns_of(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// Paints text for one descriptor, or leaves it as it is.
class paint {
public:
  explicit paint(int fd) : on_(wants_colour(fd)) {}
  std::string red(const std::string& text) const { return with("1;31", text); }
  std::string yellow(const std::string& text) const { return with("33", text); }
  std::string green(const std::string& text) const { return with("32", text); }
  std::string bold(const std::string& text) const { return with("1", text); }
  std::string dim(const std::string& text) const { return with("2", text); }

private:
  std::string with(const char* code, const std::string& text) const {
    return on_ && !text.empty() ? "\033[" + std::string(code) + "m" + text + "\033[0m" : text;
  }
  bool on_;
};

}  // namespace fussy::cli
