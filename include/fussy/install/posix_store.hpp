/// @file posix_store.hpp  The store on a real directory: plain system calls on directory descriptors, under the lock.
/// Threads: one object, one thread.
/// Errors:  fussy::error with path and errno; from the constructor target_unusable, busy, already_held, cancelled.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fussy/install/store.hpp>
#include <fussy/io.hpp>
#include <fussy/lock/guard.hpp>
#include <fussy/openpgp.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stop_token>

namespace fussy::install {

/// How a target is opened.
struct open_options {
  std::chrono::milliseconds lock_wait{0};  ///< longest wait for another command; zero tries once
  std::stop_token stop{};                  ///< ends the wait
};

/// The absolute path a target is known by, without a slash at its end; links in it are kept as they are.
/// @throws usage  it is empty
inline std::string target_path(const std::filesystem::path& target) {
  if (target.empty())
    throw error(
        errc::usage,
        {.what = "cannot use the target", .why = "its name is empty", .remedy = "name the directory of versions"});
  std::string path = std::filesystem::absolute(target).lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

inline error target_error(const std::string& path, int number) {
  const char* remedy = number == ENOENT                      ? "create it, or name another target"
                       : number == EROFS                     ? "mount the file system for writing"
                       : number == ENOTDIR                   ? "name a directory"
                       : number == EACCES || number == EPERM ? "run as a user who may write there"
                                                             : "";
  const errc code = errc_of_errno(number);
  const bool resource = code == errc::no_space || code == errc::resource_limit || code == errc::no_memory;
  return system_error("cannot use target", number, path, remedy, resource ? code : errc::target_unusable);
}

/// A call on something in a target that the system refused.
inline error refused_by_system(const char* what, int number, const std::string& path) {
  const errc code = errc_of_errno(number);
  const char* remedy = number == EBUSY                       ? "unmount what is mounted there, then retry"
                       : number == EROFS                     ? "mount the file system for writing, then retry"
                       : number == EACCES || number == EPERM ? "run as a user who may write there"
                       : code == errc::no_space       ? "remove old versions (fussy-clean) or other files, then retry"
                       : code == errc::resource_limit ? "raise the limit (ulimit), then retry"
                                                      : "look at the file system and the kernel's log, then retry";
  return system_error(what, number, path, remedy);
}

/// While it lives, a write beyond the limit on the size of files (RLIMIT_FSIZE) is an error, EFBIG, and no signal that
/// ends the process. Neither the action nor, afterwards, the mask of the host is changed. Lives on one thread.
class no_sigxfsz {
public:
  no_sigxfsz() noexcept {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGXFSZ);
    sigset_t before;
    ::pthread_sigmask(SIG_BLOCK, &set_, &before);
    was_blocked_ = ::sigismember(&before, SIGXFSZ) == 1;
  }
  ~no_sigxfsz() {
    if (was_blocked_) return;
    const timespec none{};
    retry_eintr([&] { return ::sigtimedwait(&set_, nullptr, &none); });
    ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }
  no_sigxfsz(const no_sigxfsz&) = delete;
  no_sigxfsz& operator=(const no_sigxfsz&) = delete;

private:
  sigset_t set_;
  bool was_blocked_ = false;
};

/// What exists at a name below a directory, links not followed.
inline entry_type entry_type_at(int directory, const std::string& name) {
  struct stat st {};
  if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return entry_type::none;
    throw refused_by_system("cannot look at", errno, name);
  }
  if (S_ISDIR(st.st_mode)) return entry_type::directory;
  if (S_ISLNK(st.st_mode)) return entry_type::link;
  return S_ISREG(st.st_mode) ? entry_type::file : entry_type::other;
}

/// Names in an open directory, without . and .., in the order of the system. Needs no further descriptor: what cleans
/// up after they have run out lists, too.
inline std::vector<std::string> names_in(int directory, const std::string& path) {
  if (::lseek(directory, 0, SEEK_SET) < 0) throw refused_by_system("cannot list", errno, path);
  std::vector<std::string> names;
  alignas(dirent64) char room[16384];
  for (;;) {
    const ssize_t size = retry_eintr([&] { return ::getdents64(directory, room, sizeof room); });
    if (size < 0) throw refused_by_system("cannot list", errno, path);
    if (size == 0) return names;
    for (ssize_t at = 0; at < size;) {
      const void* next = room + at;  // aligned: the system rounds d_reclen
      const auto* entry = static_cast<const dirent64*>(next);
      at += entry->d_reclen;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
  }
}

/// The name of the directory of `target` that one of its names leads to: the name itself, or by any links the one that
/// a link leads to. Nothing where it leads elsewhere or nowhere.
inline std::optional<std::string> version_behind(int target, const std::string& name) {
  struct stat there {};
  if (fstatat(target, name.c_str(), &there, 0) != 0) {
    if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR || errno == EACCES) return std::nullopt;
    throw refused_by_system("cannot follow", errno, name);
  }
  if (!S_ISDIR(there.st_mode)) return std::nullopt;
  const auto is_it = [&](const std::string& candidate) {
    struct stat st {};
    return fstatat(target, candidate.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
           st.st_ino == there.st_ino && st.st_dev == there.st_dev;
  };
  if (is_it(name)) return name;
  char text[256];
  const ssize_t length = ::readlinkat(target, name.c_str(), text, sizeof text);
  if (length > 0 && static_cast<std::size_t>(length) < sizeof text) {
    std::string direct(text, static_cast<std::size_t>(length));
    if (direct.find('/') == std::string::npos && direct.front() != '.' && is_it(direct)) return direct;
  }
  for (std::string& candidate : names_in(target, name))
    if (candidate.front() != '.' && is_it(candidate)) return std::move(candidate);
  return std::nullopt;
}

/// Why the `.fussy` of an open target is of no use to a command that changes the target: it, or what is in it, is not
/// of the type that we make. Nothing where all is well, or where there is none yet.
inline std::optional<error> private_hindrance(int target, const std::string& path) {
  const auto refusal = [&](const std::string& name, const char* why) {
    return error(errc::target_unusable, {.what = "cannot use " + path + "/" + name,
                                         .why = why,
                                         .remedy = "look who made it, then remove it: fussy makes its own",
                                         .path = path + "/" + name});
  };
  const entry_type ours = entry_type_at(target, ".fussy");
  if (ours == entry_type::none) return std::nullopt;
  if (ours != entry_type::directory) return refusal(".fussy", "it is no directory");
  if (::faccessat(target, ".fussy", W_OK | X_OK, AT_EACCESS) != 0) return target_error(path + "/.fussy", errno);
  const entry_type staging = entry_type_at(target, ".fussy/staging");
  if (staging != entry_type::none && staging != entry_type::directory)
    return refusal(".fussy/staging", "it is no directory");
  if (entry_type_at(target, ".fussy/journal") == entry_type::directory)
    return refusal(".fussy/journal", "it is a directory");
  return std::nullopt;
}

/// The reading half of the store: nothing can be changed through it, so it takes no lock.
class posix_view {
public:
  /// An open directory and what it is called in messages.
  struct directory {
    unique_fd fd;
    std::string path;
    int descriptor() const noexcept { return fd.get(); }
  };

  /// Opens the target. @throws target_unusable
  explicit posix_view(const std::filesystem::path& target) : root_(open_target(target_path(target))) {}

  directory& root() noexcept { return root_; }
  std::string path() const { return root_.path; }

  entry_type type(directory& d, const std::string& name) { return entry_type_at(d.descriptor(), name); }
  std::vector<std::string> list(directory& d) { return names_in(d.descriptor(), d.path); }

  directory open(directory& d, const std::string& name) { return open_below(d, name); }

  std::string read_link(directory& d, const std::string& name) {
    char text[4096];
    const ssize_t length = ::readlinkat(d.descriptor(), name.c_str(), text, sizeof text);
    if (length < 0) throw refused_by_system("cannot read link", errno, d.path + "/" + name);
    return std::string(text, static_cast<std::size_t>(length));
  }

  std::string read_file(directory& d, const std::string& name, std::size_t max) {
    file_reader file = open_entry(d, name, O_RDONLY | O_NONBLOCK);
    std::string text(max, '\0');
    text.resize(read_full(file, {reinterpret_cast<std::byte*>(text.data()), text.size()}));
    return text;
  }

  std::optional<std::string> version_behind(const std::string& name) {
    return install::version_behind(root_.descriptor(), name);
  }

  bool leads_somewhere(const std::string& name) {
    struct stat st {};
    return fstatat(root_.descriptor(), name.c_str(), &st, 0) == 0 && S_ISDIR(st.st_mode);
  }

protected:
  static file_reader open_entry(directory& d, const std::string& name, int flags) {
    unique_fd fd(retry_eintr([&] { return ::openat(d.descriptor(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC); }));
    if (!fd) throw refused_by_system("cannot open", errno, d.path + "/" + name);
    return file_reader(std::move(fd), d.path + "/" + name);
  }

private:
  static directory open_target(const std::string& path) {
    unique_fd fd(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (!fd) throw target_error(path, errno);
    return {std::move(fd), path};
  }

  static directory open_below(const directory& d, const std::string& name) {
    unique_fd fd(retry_eintr(
        [&] { return ::openat(d.descriptor(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
    if (!fd) throw refused_by_system("cannot open", errno, d.path + "/" + name);
    return {std::move(fd), d.path + "/" + name};
  }

  directory root_;
};

class posix_store : public posix_view {
public:
  using proof = openpgp::verification;

  /// Opens the target, makes its `.fussy/` if need be, and takes the lock.
  explicit posix_store(const std::filesystem::path& target, const open_options& how = {})
      : posix_view(target), lock_(take_lock(root(), how)) {}

  void make_directory(directory& d, const std::string& name) {
    check(::mkdirat(d.descriptor(), name.c_str(), 0700), "cannot create", d, name);
  }
  void make_link(std::string_view text, directory& d, const std::string& name) {
    check(::symlinkat(std::string(text).c_str(), d.descriptor(), name.c_str()), "cannot create", d, name);
  }
  void write_file(directory& d, const std::string& name, std::string_view text) {
    unique_fd fd(retry_eintr([&] {
      return ::openat(d.descriptor(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }));
    if (!fd) throw refused_by_system("cannot create", errno, d.path + "/" + name);
    file_writer(fd.get(), d.path + "/" + name).write(as_bytes(text));
  }

  void rename(directory& from, const std::string& old_name, directory& to, const std::string& new_name,
              rename_mode mode) {
    int number = try_rename(from, old_name, to, new_name, mode);
    if (number == EACCES) number = rename_unwritable(from, old_name, to, new_name, mode);
    // Where the file system knows no flags the lock has to do: nobody else of us is here.
    if ((number == EINVAL || number == ENOSYS) && mode == rename_mode::exclusive)
      number = type(to, new_name) == entry_type::none ? try_rename(from, old_name, to, new_name, rename_mode::replace)
                                                      : EEXIST;
    if (number != 0)
      throw refused_by_system("cannot rename", number, from.path + "/" + old_name + " to " + to.path + "/" + new_name);
  }

  void remove_file(directory& d, const std::string& name) {
    check(::unlinkat(d.descriptor(), name.c_str(), 0), "cannot remove", d, name);
  }
  void remove_directory(directory& d, const std::string& name) {
    check(::unlinkat(d.descriptor(), name.c_str(), AT_REMOVEDIR), "cannot remove", d, name);
  }
  void make_accessible(directory& d, const std::string& name) {
    if (::geteuid() != 0) check(::fchmodat(d.descriptor(), name.c_str(), 0700, 0), "cannot open up", d, name);
  }

  void sync_file(directory& d, const std::string& name) {
    file_reader file = open_entry(d, name, O_RDONLY);
    check(retry_eintr([&] { return ::fsync(file.fd()); }), "cannot sync", d, name);
  }
  void sync_directory(directory& d) {
    if (retry_eintr([&] { return ::fsync(d.descriptor()); }) != 0 && errno != EINVAL && errno != EROFS)
      throw refused_by_system("cannot sync", errno, d.path);
  }
  void sync_all() {
    if (retry_eintr([&] { return ::syncfs(root().descriptor()); }) != 0)
      throw refused_by_system("cannot sync the file system of", errno, root().path);
  }

private:
  /// @return errno, 0 when it is done
  static int try_rename(directory& from, const std::string& old_name, directory& to, const std::string& new_name,
                        rename_mode mode) {
    const unsigned flags = mode == rename_mode::exchange    ? RENAME_EXCHANGE
                           : mode == rename_mode::exclusive ? RENAME_NOREPLACE
                                                            : 0;
    return ::renameat2(from.descriptor(), old_name.c_str(), to.descriptor(), new_name.c_str(), flags) == 0 ? 0 : errno;
  }

  /// To give a directory another parent its owner needs the right to write to it (unless he is root): for this moment.
  static int rename_unwritable(directory& from, const std::string& old_name, directory& to, const std::string& new_name,
                               rename_mode mode) {
    struct stat st {};
    if (fstatat(from.descriptor(), old_name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode) ||
        st.st_uid != ::geteuid() || (st.st_mode & S_IWUSR) != 0)
      return EACCES;
    if (::fchmodat(from.descriptor(), old_name.c_str(), st.st_mode | S_IWUSR, 0) != 0) return errno;
    const int number = try_rename(from, old_name, to, new_name, mode);
    // That this works is known, it just has; if it does not, the owner keeps a right that he can give himself.
    (void)!::fchmodat((number == 0 ? to : from).descriptor(), (number == 0 ? new_name : old_name).c_str(), st.st_mode,
                      0);
    return number;
  }

  static flock_guard take_lock(const directory& root, const open_options& how) {
    const std::string ours = root.path + "/.fussy";
    if (::mkdirat(root.descriptor(), ".fussy", 0700) != 0 && errno != EEXIST) throw target_error(root.path, errno);
    if (const auto why = private_hindrance(root.descriptor(), root.path)) throw error(*why);
    try {
      return flock_guard(ours + "/lock", {.wait = how.lock_wait, .stop = how.stop, .mode = 0600});
    } catch (const error& e) {
      if (e.code() == errc::busy || e.code() == errc::already_held) throw held_by_another(root.path, e);
      if (e.parts().system != 0) throw target_error(ours + "/lock", e.parts().system);
      throw;
    }
  }

  static error held_by_another(const std::string& path, const error& e) {
    failure_parts parts = e.parts();
    parts.what = "target " + path + " is busy";
    parts.path = path;
    return error(e.code(), std::move(parts));
  }

  static void check(int result, const char* what, const directory& d, const std::string& name) {
    if (result != 0) throw refused_by_system(what, errno, d.path + "/" + name);
  }

  std::unique_ptr<no_sigxfsz> limits_are_errors_ = std::make_unique<no_sigxfsz>();
  flock_guard lock_;
};

}  // namespace fussy::install
