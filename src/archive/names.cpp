#include "names.hpp"

#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>

namespace fussy::archive {

namespace {

constexpr std::size_t max_component = 255;  // NAME_MAX of every file system we know

// Calls `use` for each component, empty ones included.
template <class Use>
void each_component(std::string_view path, Use use) {
  for (;;) {
    const std::size_t slash = path.find('/');
    use(path.substr(0, slash));
    if (slash == std::string_view::npos) return;
    path.remove_prefix(slash + 1);
  }
}

// Length of the UTF-8 sequence at the front, 0 when there is none (RFC 3629).
std::size_t utf8_length(std::string_view text) noexcept {
  const auto octet = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (octet(i) & 0xc0) == 0x80; };
  const unsigned lead = octet(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead < 0xf0) {
    const bool overlong = lead == 0xe0 && octet(1) < 0xa0, surrogate = lead == 0xed && octet(1) >= 0xa0;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead < 0xf5) {
    const bool overlong = lead == 0xf0 && octet(1) < 0x90, beyond = lead == 0xf4 && octet(1) >= 0x90;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

// ASCII letters only: what a file system that does not tell cases apart may take for the same, too.
bool same_letters(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_control(char c) noexcept {
  const auto octet = static_cast<unsigned char>(c);
  return octet < 0x20 || octet == 0x7f;
}

}  // namespace

std::string normal_path(std::string_view name, const limits& limit) {
  if (name.size() > limit.max_path)
    throw refused_entry(name, "its name is longer than " + std::to_string(limit.max_path) + " bytes");
  if (name.starts_with('/')) throw refused_entry(name, "its name is absolute");
  std::string path;
  path.reserve(name.size());
  std::uint32_t depth = 0;
  each_component(name, [&](std::string_view part) {
    if (part.empty() || part == ".") return;
    if (part == "..") throw refused_entry(name, "its name has a `..` in it");
    if (part.size() > max_component) throw refused_entry(name, "a part of its name is longer than 255 bytes");
    if (++depth > limit.max_depth)
      throw refused_entry(name, "it is more than " + std::to_string(limit.max_depth) + " directories deep");
    if (!path.empty()) path += '/';
    path += part;
  });
  return path;
}

void check_root_name(std::string_view name) {
  const auto refuse = [&](const char* why) {
    throw error(errc::bad_root, failure_parts{.what = "the top-level directory '" + printable(name) + "' is refused",
                                              .why = why,
                                              .remedy = "build the package from a directory with another name"});
  };
  if (name == ".fussy") refuse("the name is reserved");
  if (name.starts_with('.')) refuse("nothing hidden may stand at the top level");
  if (same_letters(name, "current") || same_letters(name, "failsafe"))
    refuse("the target directory keeps this name for itself");
  if (std::any_of(name.begin(), name.end(), is_control)) refuse("the name has control characters");
}

leads where_link_leads(std::string_view path, std::string_view text) noexcept {
  // The root itself is depth 1; what contains it is depth 0 and outside.
  auto depth = std::count(path.begin(), path.end(), '/');
  bool names_seen = false, outside = false, unclear = false;
  each_component(text, [&](std::string_view part) {
    if (part.empty() || part == ".") return;
    if (part != "..") {
      names_seen = true;
      ++depth;
      return;
    }
    unclear |= names_seen;
    outside |= --depth < 1;
  });
  return outside ? leads::outside : unclear ? leads::unclear : leads::inside;
}

bool link_leads_out_by_hand(int root, const char* path) {
  std::vector<std::string> ahead, here;  // the parts still to go, the last one first; where we are, below the root
  const auto go = [&](std::string_view text) {
    std::vector<std::string> parts;
    each_component(text, [&](std::string_view part) { parts.emplace_back(part); });
    ahead.insert(ahead.end(), parts.rbegin(), parts.rend());
  };
  go(path);
  for (int links = 0; !ahead.empty();) {
    const std::string part = std::move(ahead.back());
    ahead.pop_back();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (here.empty()) return true;
      here.pop_back();
      continue;
    }
    here.push_back(part);
    std::string at;
    for (const std::string& name : here) at += (at.empty() ? "" : "/") + name;
    struct stat st {};
    if (fstatat(root, at.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return errno != ENOENT;  // dangling: leads nowhere
    if (S_ISDIR(st.st_mode)) continue;
    if (!S_ISLNK(st.st_mode) || ++links > 40) return false;  // the end; the kernel gives up, too
    char text[4096];
    const ssize_t length = readlinkat(root, at.c_str(), text, sizeof text);
    if (length < 0) return true;
    here.pop_back();
    const std::string_view target(text, static_cast<std::size_t>(length));
    if (target.starts_with('/')) return true;
    go(target);
  }
  return false;
}

bool link_leads_out(int root, const char* path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  long fd = 0;
  do fd = syscall(SYS_openat2, root, path, &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  const int number = fd < 0 ? errno : 0;
  const unique_fd closed(static_cast<int>(fd));
  if (number == ENOSYS || number == EPERM) return link_leads_out_by_hand(root, path);  // before Linux 5.6, or a sandbox
  return number == EXDEV;
}

bool is_excluded(const std::vector<std::string>& patterns, const std::string& path) {
  const auto matches = [&](const std::string& pattern) {
    for (std::size_t at = 0; at != std::string::npos; at = path.find('/', at)) {
      if (at > 0) ++at;
      if (fnmatch(pattern.c_str(), path.c_str() + at, 0) == 0) return true;
    }
    return false;
  };
  return std::any_of(patterns.begin(), patterns.end(), matches);
}

std::string printable(std::string_view name) {
  constexpr std::size_t most = 200;
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  while (!name.empty() && text.size() < most) {
    const std::size_t length = is_control(name[0]) ? 0 : utf8_length(name);
    if (length > 0) {
      text += name.substr(0, length);
      name.remove_prefix(length);
    } else {
      const auto octet = static_cast<unsigned char>(name[0]);
      text += "\\x";
      text += digits[octet >> 4];
      text += digits[octet & 15];
      name.remove_prefix(1);
    }
  }
  return name.empty() ? text : text + "...";
}

error refused_entry(std::string_view name, std::string why, std::string remedy, errc code) {
  return error(code, failure_parts{.what = "the entry '" + printable(name) + "' of the archive is refused",
                                   .why = std::move(why),
                                   .remedy = std::move(remedy),
                                   .path = std::string(name)});
}

}  // namespace fussy::archive
