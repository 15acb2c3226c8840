/// @file link_tree/plan.hpp  What has to be done so that a tree of links is up to date. Changes nothing. Internal.
///
/// Threads: free functions without state.
/// Errors:  fussy::error with the path.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fussy/error.hpp>
#include <fussy/io.hpp>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace fussy {

/// How a file of the distribution appears in the target. A symbolic link of the distribution is recreated as one
/// always.
enum class link_kind { symbolic, hard, copy };

}  // namespace fussy

namespace fussy::detail {

/// Of the temporary names that entries have for a moment.
inline constexpr std::string_view temporary_prefix = ".fussy-link-";

struct directory_entry {
  std::string name;
  unsigned char type;  // DT_*, never DT_UNKNOWN
};

/// Sorted by name, without `.` and `..`.
inline std::vector<directory_entry> entries_of(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), [](DIR* d) { return ::closedir(d); });
  if (!dir) throw system_error("cannot read directory", errno, path);
  std::vector<directory_entry> entries;
  for (;;) {
    errno = 0;
    const dirent* e = ::readdir(dir.get());
    if (!e && errno != 0) throw system_error("cannot read directory", errno, path);
    if (!e) break;
    const std::string_view name = e->d_name;
    if (name == "." || name == "..") continue;
    unsigned char type = e->d_type;
    struct stat s;
    if (type == DT_UNKNOWN) {
      if (::fstatat(::dirfd(dir.get()), e->d_name, &s, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone meanwhile
      type = static_cast<unsigned char>(IFTODT(s.st_mode));
    }
    entries.push_back({std::string(name), type});
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

/// The text of a symbolic link; empty with errno EINVAL when there is something else, ENOENT when there is nothing.
inline std::optional<std::string> link_text_of(int directory, const std::string& name) {
  std::array<char, PATH_MAX> text;
  const ssize_t n = ::readlinkat(directory, name.c_str(), text.data(), text.size());
  if (n < 0) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(n));
}

/// Within which link(2) works: one file system as it is mounted in one place. A bind mount, as containers have them, is
/// another place although the device is the same.
struct link_domain {
  dev_t device = 0;
  std::uint64_t mount = 0;  // of a kernel older than 5.8, 0
  bool operator==(const link_domain&) const = default;
};

/// Of the file system that a directory is on. Empty when there is none.
inline std::optional<link_domain> link_domain_of(int directory, const std::string& path) {
  struct stat s;
  if (::fstatat(directory, path.c_str(), &s, AT_EMPTY_PATH) != 0) return std::nullopt;
  link_domain domain{.device = s.st_dev};
#ifdef STATX_MNT_ID
  struct statx more;
  if (::statx(directory, path.c_str(), AT_EMPTY_PATH, STATX_MNT_ID, &more) == 0 && (more.stx_mask & STATX_MNT_ID) != 0)
    domain.mount = more.stx_mnt_id;
#endif
  return domain;
}

inline std::vector<std::string> components_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    if (end > 0 && path.substr(0, end) != ".") parts.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

/// Without symbolic links, as far as it exists.
inline std::string real_path(const std::string& path) {
  std::error_code problem;
  const auto real = std::filesystem::weakly_canonical(path, problem);
  if (problem) throw system_error("cannot resolve", problem.value(), path);
  return real.string();
}

/// Absolute, without `.`, `..` and trailing slashes, and with symbolic links as they were given: what is linked below
/// `/opt/firmware/current` has to follow `current`. Only what stands before a `..` is resolved, as the kernel does it.
inline std::string absolute_path(const std::filesystem::path& given) {
  std::error_code problem;
  const std::filesystem::path path = std::filesystem::absolute(given, problem);
  if (problem) throw system_error("cannot resolve", problem.value(), given.string(), "name a directory", errc::usage);
  const auto parts = components_of(path.native());
  const auto last_up = std::find(parts.rbegin(), parts.rend(), "..");
  std::string result;
  for (auto part = parts.begin(); part != last_up.base(); ++part) result += "/" + *part;
  if (!result.empty()) result = real_path(result);
  if (result == "/") result.clear();
  for (auto part = last_up.base(); part != parts.end(); ++part) result += "/" + *part;
  return result.empty() ? "/" : result;
}

inline std::string below(const std::string& directory, const std::string& name) {
  return directory == "/" ? "/" + name : directory + "/" + name;
}

/// From a directory, given without symbolic links, to an absolute path.
inline std::string relative_text(const std::string& real_directory, const std::string& to) {
  const auto from = components_of(real_directory), path = components_of(to);
  const auto [from_rest, path_rest] = std::mismatch(from.begin(), from.end(), path.begin(), path.end());
  std::string text;
  for (auto p = from_rest; p != from.end(); ++p) text += "../";
  for (auto p = path_rest; p != path.end(); ++p) text += *p + "/";
  if (!text.empty()) text.pop_back();
  return text.empty() ? "." : text;
}

/// A relative link text as an absolute one, seen from a directory given without symbolic links. Only the `..` it begins
/// with are taken away: behind a name that is a symbolic link, `..` means something else.
inline std::string absolute_text(const std::string& real_directory, const std::string& text) {
  std::vector<std::string> directory = components_of(real_directory);
  std::string_view rest = text;
  while (rest == ".." || rest == "." || rest.starts_with("../") || rest.starts_with("./")) {
    const bool up = rest.starts_with("..");
    rest.remove_prefix(std::min<std::size_t>(up ? 3 : 2, rest.size()));
    while (rest.starts_with("/")) rest.remove_prefix(1);
    if (up && !directory.empty()) directory.pop_back();
  }
  std::string result;
  for (const std::string& part : directory) result += "/" + part;
  if (!rest.empty()) result.append("/").append(rest);
  return result.empty() ? "/" : result;
}

struct planned_entry {
  std::string name;
  bool is_update;                   // something else is there
  std::optional<link_kind> copied;  // hard or copy; empty for a symbolic link
  std::string text;                 // of the symbolic link
  bool back_up = false;             // what is there, before it is replaced
};

struct planned_directory {
  std::string source, target;
  std::string real_target;  // without symbolic links
  bool is_missing = false;
  mode_t mode = 0755;  // when it has to be made
  std::vector<planned_entry> entries;
  std::vector<std::string> litter;  // of a run that was killed
};

struct planned_prune {
  std::string target, text;
};

struct link_plan {
  std::vector<planned_directory> directories;  // parents first
  std::vector<planned_prune> prunes;
  std::size_t unchanged = 0;
  std::vector<error> conflicts;
};

inline bool same_content(int a, int b) {
  constexpr std::size_t block = 64 * 1024;
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(2 * block);
  file_reader first(a), second(b);
  for (;;) {
    const byte_span x(buffer.get(), block), y(buffer.get() + block, block);
    const std::size_t n = read_full(first, x), m = read_full(second, y);
    if (n != m || std::memcmp(x.data(), y.data(), n) != 0) return false;
    if (n == 0) return true;
  }
}

/// Walks the distribution beside the target.
class link_planner {
public:
  link_planner(std::string distribution, std::string target, link_kind kind, bool relative, bool backup)
      : distribution_(std::move(distribution)),
        target_(std::move(target)),
        kind_(kind),
        relative_(relative),
        backup_(backup) {}

  link_plan plan(bool prune) {
    check_roots();
    plan_directory(root());
    for (std::size_t next = 0; next < waiting_.size(); ++next) plan_directory(std::move(waiting_[next]));
    if (prune && plan_.conflicts.empty()) plan_prunes();
    return std::move(plan_);
  }

private:
  void check_roots() {
    struct stat s;
    if (::stat(distribution_.c_str(), &s) != 0)
      throw system_error("cannot link the tree", errno, distribution_, "name the directory of the distribution");
    if (!S_ISDIR(s.st_mode))
      throw system_error("cannot link the tree", ENOTDIR, distribution_, "name the directory of the distribution",
                         errc::usage);
    distribution_inode_ = {s.st_dev, s.st_ino};
    real_root_ = real_path(target_);
    const std::string real_distribution = real_path(distribution_);
    if (real_root_ == real_distribution || (real_root_ + "/").starts_with(real_distribution + "/"))
      throw error(errc::usage, {.what = "cannot link the tree " + distribution_,
                                .why = "the target " + target_ + " is inside of it",
                                .remedy = "name another target",
                                .path = target_});
  }

  planned_directory root() {
    planned_directory root{
        .source = distribution_, .target = target_, .real_target = real_root_, .entries = {}, .litter = {}};
    struct stat s;
    if (::stat(target_.c_str(), &s) == 0) {
      if (!S_ISDIR(s.st_mode))
        throw system_error("cannot link into", ENOTDIR, target_, "name a directory", errc::usage);
    } else if (errno == ENOENT) {
      root.is_missing = true;
      if (::stat(distribution_.c_str(), &s) == 0) root.mode = s.st_mode & 07777;
    } else {
      throw system_error("cannot link into", errno, target_);
    }
    return root;
  }

  void plan_directory(planned_directory d) {
    unique_fd source = open_file(d.source, O_PATH | O_DIRECTORY), target;
    if (!d.is_missing) target = open_file(d.target, O_PATH | O_DIRECTORY);
    for (const directory_entry& e : entries_of(d.source)) {
      if (e.type == DT_DIR)
        plan_subdirectory(d, source.get(), target.get(), e.name);
      else if (auto entry = plan_entry(d, source.get(), target.get(), e))
        d.entries.push_back(std::move(*entry));
    }
    if (!d.is_missing)
      for (directory_entry& e : entries_of(d.target))
        if (e.name.starts_with(temporary_prefix) && e.type != DT_DIR) d.litter.push_back(std::move(e.name));
    plan_.directories.push_back(std::move(d));
  }

  /// A symbolic link to a directory is as good as a directory: `/lib` may well lead to `usr/lib`.
  void plan_subdirectory(const planned_directory& d, int source, int target, const std::string& name) {
    planned_directory sub{.source = below(d.source, name),
                          .target = below(d.target, name),
                          .real_target = below(d.real_target, name),
                          .entries = {},
                          .litter = {}};
    struct stat from, to;
    if (::fstatat(source, name.c_str(), &from, 0) != 0) throw system_error("cannot look at", errno, sub.source);
    sub.mode = from.st_mode & 07777;
    if (d.is_missing || ::fstatat(target, name.c_str(), &to, AT_SYMLINK_NOFOLLOW) != 0) {
      if (!d.is_missing && errno != ENOENT) throw system_error("cannot look at", errno, sub.target);
      sub.is_missing = true;
    } else {
      const bool is_link = S_ISLNK(to.st_mode);
      if (is_link && ::fstatat(target, name.c_str(), &to, 0) != 0) to.st_mode = 0;  // dangling
      if (!S_ISDIR(to.st_mode)) return conflict(sub.target, ENOTDIR, "the distribution has a directory there");
      if (to.st_dev == from.st_dev && to.st_ino == from.st_ino)
        return conflict(sub.target, ELOOP, "it leads to the directory of the distribution itself");
      if (is_link) {
        sub.real_target = real_path(sub.target);
        linked_directories_.push_back(sub);
      }
    }
    waiting_.push_back(std::move(sub));
  }

  void conflict(const std::string& path, int number, const std::string& why) {
    plan_.conflicts.push_back(error(errc::io, {.what = "will not replace " + path,
                                               .why = why,
                                               .remedy = "move it away, then run again; nothing was changed",
                                               .path = path,
                                               .system = number}));
  }

  /// Empty when the target is up to date.
  std::optional<planned_entry> plan_entry(const planned_directory& d, int source, int target,
                                          const directory_entry& e) {
    planned_entry entry{.name = e.name, .is_update = false, .copied = {}, .text = {}};
    if (e.type == DT_LNK)
      entry.text = text_for_link(d, source, e.name);
    else if (kind_ == link_kind::symbolic)
      entry.text = text_for_file(d.real_target, below(d.source, e.name));
    else
      entry.copied = kind_;
    if (d.is_missing) return entry;

    const auto text = link_text_of(target, e.name);
    if (!text && errno == ENOENT) return entry;
    if (!text && errno != EINVAL) throw system_error("cannot look at", errno, below(d.target, e.name));
    entry.is_update = true;
    if (text && !entry.copied && *text == entry.text) return up_to_date();
    if (!text) {
      struct stat to;
      if (::fstatat(target, e.name.c_str(), &to, AT_SYMLINK_NOFOLLOW) != 0)
        throw system_error("cannot look at", errno, below(d.target, e.name));
      if (S_ISDIR(to.st_mode)) {
        conflict(below(d.target, e.name), EISDIR, "it is a directory, and the distribution has a file there");
        return std::nullopt;
      }
      if (entry.copied && is_same_file(source, target, e.name, to)) return up_to_date();
    }
    entry.back_up = backup_ && !(text && is_ours(d, *text));
    return entry;
  }

  std::optional<planned_entry> up_to_date() {
    ++plan_.unchanged;
    return std::nullopt;
  }

  std::string text_for_file(const std::string& real_directory, const std::string& file) const {
    return relative_ ? relative_text(real_directory, file) : file;
  }

  std::string text_for_link(const planned_directory& d, int source, const std::string& name) const {
    const auto text = link_text_of(source, name);
    if (!text) throw system_error("cannot read link", errno, below(d.source, name));
    if (relative_ || text->starts_with("/")) return *text;
    return absolute_text(d.real_target, *text);
  }

  /// A link into the distribution can be made again any time; it needs no backup.
  bool is_ours(const planned_directory& d, const std::string& text) const {
    const std::string to = text.starts_with("/") ? text : absolute_text(d.real_target, text);
    return to.starts_with(below(distribution_, ""));
  }

  /// For hard links: the same inode; or, where there can be none, which makes it a copy, an equal copy.
  bool is_same_file(int source, int target, const std::string& name, const struct stat& to) const {
    struct stat from;
    if (::fstatat(source, name.c_str(), &from, AT_SYMLINK_NOFOLLOW) != 0) return false;
    const bool same_inode = from.st_dev == to.st_dev && from.st_ino == to.st_ino;
    if (kind_ == link_kind::hard && (same_inode || link_domain_of(source, "") == link_domain_of(target, "")))
      return same_inode;
    if (same_inode || !S_ISREG(from.st_mode) || !S_ISREG(to.st_mode)) return false;
    if (from.st_size != to.st_size || from.st_mode != to.st_mode) return false;
    const unique_fd a(::openat(source, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    const unique_fd b(::openat(target, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    return a && b && same_content(a.get(), b.get());
  }

  // ---- Prune ----

  /// Every directory below the target on the same file system; and those that the distribution reaches through links.
  void plan_prunes() {
    struct stat s;
    if (::stat(target_.c_str(), &s) == 0) prune_below({distribution_, target_, real_root_}, s.st_dev);
    for (const planned_directory& d : linked_directories_)
      if (::stat(d.target.c_str(), &s) == 0) prune_below({d.source, d.target, d.real_target}, s.st_dev);
  }

  struct place {
    std::string source, target, real_target;
  };

  void prune_below(place start, dev_t device) {
    std::vector<place> waiting{std::move(start)};
    while (!waiting.empty()) {
      const place here = std::move(waiting.back());
      waiting.pop_back();
      const unique_fd directory(::open(here.target.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      struct stat s;
      if (!directory || ::fstat(directory.get(), &s) != 0) continue;  // gone meanwhile
      if (s.st_dev != device || (s.st_dev == distribution_inode_.first && s.st_ino == distribution_inode_.second))
        continue;
      for (const directory_entry& e : entries_of(here.target)) {
        place there{below(here.source, e.name), below(here.target, e.name), below(here.real_target, e.name)};
        if (e.type == DT_DIR) waiting.push_back(std::move(there));
        if (e.type == DT_LNK) plan_prune(directory.get(), e.name, here, there);
      }
    }
    std::sort(plan_.prunes.begin(), plan_.prunes.end(),
              [](const auto& a, const auto& b) { return a.target < b.target; });
  }

  /// Only a link with exactly the text that we would write in this very place, and only when its source is gone.
  void plan_prune(int directory, const std::string& name, const place& here, const place& there) {
    const auto text = link_text_of(directory, name);
    if (!text || (*text != there.source && *text != relative_text(here.real_target, there.source))) return;
    struct stat s;
    if (::lstat(there.source.c_str(), &s) == 0 || (errno != ENOENT && errno != ENOTDIR)) return;
    plan_.prunes.push_back({there.target, *text});
  }

  const std::string distribution_, target_;
  const link_kind kind_;
  const bool relative_, backup_;
  std::string real_root_;
  std::pair<dev_t, ino_t> distribution_inode_{};
  std::vector<planned_directory> waiting_, linked_directories_;
  link_plan plan_;
};

}  // namespace fussy::detail
