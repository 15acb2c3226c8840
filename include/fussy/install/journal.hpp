/// @file journal.hpp  The journal of a target: one small text file that says what a transaction is about to do.
/// It is replaced by rename after it was synced, so it is whole or absent; `end` on its last line is checked all the
/// same.
/// Threads: values.
/// Errors:  none; an unreadable journal is an empty optional.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fussy::install {

/// Where a transaction stands. The table in the documentation of the target directory says what recovery does for each.
enum class step {
  migrating,  ///< a real directory `current` is becoming `failsafe`
  staged,     ///< `version` is about to appear, or has; its .pre-install may have run when `hooks` is set
  switching,  ///< `current` is about to name `version`, or does
  switched,   ///< `current` names `version`; its .post-install may have run
  restoring,  ///< `current` is about to name `previous` (or `failsafe`) again, or does
};

constexpr std::string_view name(step s) noexcept {
  switch (s) {
    case step::migrating:
      return "migrating";
    case step::staged:
      return "staged";
    case step::switching:
      return "switching";
    case step::switched:
      return "switched";
    case step::restoring:
      return "restoring";
  }
  return "unknown";
}

struct journal_record {
  step at = step::staged;
  std::string version{};    ///< the version that is being enabled
  std::string previous{};   ///< what was live before it; empty: nothing
  std::string restoring{};  ///< in `restoring`: the version that is being enabled again
  bool published = false;   ///< this transaction made `version`: it is removed when it never became live
  bool hooks = false;       ///< a hook of `version` has begun: undoing it re-enables `previous`
  bool discard = false;     ///< in `restoring`: `version` is to be removed once it is not live
  int attempt = 0;          ///< how often recovery has taken this step already

  bool operator==(const journal_record&) const = default;
};

namespace detail {

/// Octets that would break a line, and the escape itself, as %XX.
inline std::string escape_line(std::string_view text) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet == 0x7f || c == '%') {
      out += '%';
      out += digits[octet >> 4];
      out += digits[octet & 15];
    } else {
      out += c;
    }
  }
  return out;
}

inline std::optional<std::string> unescape_line(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned octet = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, problem] = std::from_chars(text.data() + i + 1, text.data() + i + 3, octet, 16);
    if (problem != std::errc{} || end != text.data() + i + 3) return std::nullopt;
    out += static_cast<char>(octet);
    i += 2;
  }
  return out;
}

/// Takes the line `key value` off the front of `text`.
inline std::optional<std::string> take_line(std::string_view& text, std::string_view key) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view line = text.substr(0, end);
  if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ' ') return std::nullopt;
  text.remove_prefix(end + 1);
  return unescape_line(line.substr(key.size() + 1));
}

}  // namespace detail

constexpr std::size_t max_journal_size = 8192;

inline std::string format_journal(const journal_record& r) {
  std::string text = "fussy-journal 1\n";
  const auto line = [&](std::string_view key, std::string_view value) {
    text.append(key).append(" ").append(detail::escape_line(value)).append("\n");
  };
  line("step", name(r.at));
  line("version", r.version);
  line("previous", r.previous);
  line("restoring", r.restoring);
  line("published", r.published ? "1" : "0");
  line("hooks", r.hooks ? "1" : "0");
  line("discard", r.discard ? "1" : "0");
  line("attempt", std::to_string(r.attempt));
  text += "end\n";
  return text;
}

/// The record, or nothing where the text is no journal of this format (damaged, or of a newer fussy).
inline std::optional<journal_record> parse_journal(std::string_view text) {
  journal_record r;
  const auto flag = [&](std::string_view key, bool& into) {
    const auto value = detail::take_line(text, key);
    if (!value || (*value != "0" && *value != "1")) return false;
    into = *value == "1";
    return true;
  };
  const auto string = [&](std::string_view key, std::string& into) {
    auto value = detail::take_line(text, key);
    if (!value || value->find('/') != std::string::npos) return false;
    into = *std::move(value);
    return true;
  };
  if (detail::take_line(text, "fussy-journal") != "1") return std::nullopt;
  std::string at, attempt;
  if (!string("step", at) || !string("version", r.version) || !string("previous", r.previous) ||
      !string("restoring", r.restoring) || !flag("published", r.published) || !flag("hooks", r.hooks) ||
      !flag("discard", r.discard) || !string("attempt", attempt) || text != "end\n")
    return std::nullopt;
  const auto [end, problem] = std::from_chars(attempt.data(), attempt.data() + attempt.size(), r.attempt);
  if (problem != std::errc{} || end != attempt.data() + attempt.size() || r.attempt < 0) return std::nullopt;
  for (const step s : {step::migrating, step::staged, step::switching, step::switched, step::restoring}) {
    if (at != name(s)) continue;
    r.at = s;
    return r;
  }
  return std::nullopt;
}

}  // namespace fussy::install
