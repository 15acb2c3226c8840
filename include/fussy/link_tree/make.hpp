/// @file link_tree/make.hpp  One entry of a tree of links, made or replaced so that it is the old or the new one at
/// every instant. Internal.
///
/// Threads: distinct directories are independent.
/// Errors:  fussy::error with the path; the entry is then as it was.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <fussy/error.hpp>
#include <fussy/io.hpp>
#include <fussy/link_tree/plan.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace fussy::detail {

/// The same for every run. Under this name stands only what is complete; so when two runs meet, one may rename what the
/// other has made, and either is right. What a killed run leaves behind, the next one removes.
inline std::string temporary_name(const std::string& name) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  std::array<char, 40> text;
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return std::string(temporary_prefix) + text.data();
}

/// Calls `make`, which gives something a name that must not exist yet; removes a leftover first when there is one.
template <class Make>
void make_temporary(int directory, const std::string& temporary, Make&& make, const char* what,
                    const std::string& path) {
  for (int round = 0; round < 100; ++round) {
    if (make()) return;
    if (errno != EEXIST) break;
    ::unlinkat(directory, temporary.c_str(), 0);
  }
  throw system_error(what, errno, path);
}

/// Extended attributes (capabilities, labels) as far as the file system of the copy takes them.
inline void copy_attributes(int from, int to) {
  std::vector<char> names(64 * 1024), value(64 * 1024);
  const ssize_t size = ::flistxattr(from, names.data(), names.size());
  for (ssize_t at = 0; at < size;) {
    const char* name = names.data() + at;
    const ssize_t n = ::fgetxattr(from, name, value.data(), value.size());
    if (n >= 0) (void)!::fsetxattr(to, name, value.data(), static_cast<std::size_t>(n), 0);
    at += static_cast<ssize_t>(std::string_view(name).size()) + 1;
  }
}

/// Content, mode, time, and the owner where we may; durable before it gets its name.
inline void copy_file(const std::string& source, int to, const std::string& target) {
  file_reader from{std::filesystem::path(source)};
  struct stat s;
  if (::fstat(from.fd(), &s) != 0) throw system_error("cannot look at", errno, source);
  if (!S_ISREG(s.st_mode))
    throw error(errc::unsupported, {.what = "cannot copy " + source,
                                    .why = "it is neither a file, nor a directory, nor a link",
                                    .remedy = "link it, or leave it out of the distribution",
                                    .path = source});
  file_writer writer(to, target);
  copy(from, writer);
  (void)!::fchown(to, s.st_uid, s.st_gid);  // only root may
  copy_attributes(from.fd(), to);
  const std::array<timespec, 2> times{s.st_atim, s.st_mtim};
  if (::fchmod(to, s.st_mode & 07777) != 0 || ::futimens(to, times.data()) != 0 || ::fdatasync(to) != 0)
    throw system_error("cannot write", errno, target);
}

class entry_maker {
public:
  entry_maker(int directory, const planned_directory& place, const planned_entry& entry)
      : directory_(directory), place_(place), entry_(entry), path_(below(place.target, entry.name)) {}

  /// @return what it has become: a hard link may have become a copy.
  template <class BackedUp>
  link_kind make(BackedUp&& backed_up) const {
    if (!entry_.is_update)
      if (const auto kind = make_at_once()) return *kind;
    if (entry_.back_up) backed_up(back_up());
    const std::string temporary = temporary_name(entry_.name);
    for (int round = 0;; ++round) {
      const link_kind kind = make_as(temporary);
      const bool renamed = ::renameat(directory_, temporary.c_str(), directory_, entry_.name.c_str()) == 0;
      const int number = errno;
      // After success only a hard link can be left: rename(2) does nothing when both names are one inode already.
      if (!renamed || kind == link_kind::hard) ::unlinkat(directory_, temporary.c_str(), 0);
      if (renamed) return kind;
      // ENOENT: another run has renamed or removed it.
      if (number != ENOENT || round == 100) throw system_error("cannot replace", number, path_);
    }
  }

private:
  std::string source() const { return below(place_.source, entry_.name); }

  /// A link where there was nothing needs no rename(2). Empty when there is something by now, or there can be no link.
  std::optional<link_kind> make_at_once() const {
    if (!entry_.copied && ::symlinkat(entry_.text.c_str(), directory_, entry_.name.c_str()) == 0)
      return link_kind::symbolic;
    if (entry_.copied == link_kind::hard &&
        ::linkat(AT_FDCWD, source().c_str(), directory_, entry_.name.c_str(), 0) == 0)
      return link_kind::hard;
    return std::nullopt;
  }

  link_kind make_as(const std::string& temporary) const {
    if (!entry_.copied) {
      make_temporary(
          directory_, temporary, [&] { return ::symlinkat(entry_.text.c_str(), directory_, temporary.c_str()) == 0; },
          "cannot make link", path_);
      return link_kind::symbolic;
    }
    if (*entry_.copied == link_kind::hard && make_hard_link(temporary)) return link_kind::hard;
    make_copy(temporary);
    return link_kind::copy;
  }

  /// False when the file systems do not allow it.
  bool make_hard_link(const std::string& temporary) const {
    bool allowed = true;
    make_temporary(
        directory_, temporary,
        [&] {
          if (::linkat(AT_FDCWD, source().c_str(), directory_, temporary.c_str(), 0) == 0) return true;
          allowed = errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP;
          return !allowed;
        },
        "cannot make hard link", path_);
    return allowed;
  }

  /// Complete before it has a name, where the file system can do that: then a killed run leaves nothing behind.
  void make_copy(const std::string& temporary) const {
    const unique_fd nameless(::openat(directory_, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
    if (!nameless) return make_copy_under_name(temporary);
    copy_file(source(), nameless.get(), path_);
    const std::string by_descriptor = "/proc/self/fd/" + std::to_string(nameless.get());
    make_temporary(
        directory_, temporary,
        [&] {
          return ::linkat(AT_FDCWD, by_descriptor.c_str(), directory_, temporary.c_str(), AT_SYMLINK_FOLLOW) == 0;
        },
        "cannot make copy", path_);
  }

  void make_copy_under_name(const std::string& temporary) const {
    for (int n = 0;; ++n) {
      const std::string name = temporary + "-" + std::to_string(::getpid()) + "-" + std::to_string(n);
      const unique_fd to(
          ::openat(directory_, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!to && errno == EEXIST) continue;
      if (!to) throw system_error("cannot make copy", errno, path_);
      try {
        copy_file(source(), to.get(), path_);
        if (::renameat(directory_, name.c_str(), directory_, temporary.c_str()) == 0) return;
        throw system_error("cannot make copy", errno, path_);
      } catch (...) {
        ::unlinkat(directory_, name.c_str(), 0);
        throw;
      }
    }
  }

  /// A second name for what is there, as `cp --backup=numbered` names it: nothing is moved, so nothing is missing in
  /// between. @return the name
  std::string back_up() const {
    struct stat now, before;
    if (::fstatat(directory_, entry_.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0)
      throw system_error("cannot look at", errno, path_);
    for (int n = 1;; ++n) {
      const std::string name = entry_.name + ".~" + std::to_string(n) + "~";
      if (::linkat(directory_, entry_.name.c_str(), directory_, name.c_str(), 0) == 0)
        return below(place_.target, name);
      if (errno != EEXIST) throw system_error("cannot back up", errno, path_);
      // A run that was ended between backup and replacement has done it already.
      if (::fstatat(directory_, name.c_str(), &before, AT_SYMLINK_NOFOLLOW) == 0 && before.st_ino == now.st_ino)
        return below(place_.target, name);
    }
  }

  const int directory_;
  const planned_directory& place_;
  const planned_entry& entry_;
  const std::string path_;
};

}  // namespace fussy::detail
