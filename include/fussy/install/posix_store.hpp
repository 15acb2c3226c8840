/// @file posix_store.hpp  The store on a real directory: plain system calls on directory descriptors, under the lock.
/// Threads: one object, one thread.
/// Errors:  fussy::error with path and errno; from the constructor target_unusable, busy, already_held, cancelled.
#pragma once

#include <dirent.h>
#include <fcntl.h>
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
inline std::string target_path(const std::filesystem::path& target) {
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

/// What exists at a name below a directory, links not followed.
inline entry_type entry_type_at(int directory, const std::string& name) {
  struct stat st {};
  if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return entry_type::none;
    throw system_error("cannot look at", errno, name);
  }
  if (S_ISDIR(st.st_mode)) return entry_type::directory;
  if (S_ISLNK(st.st_mode)) return entry_type::link;
  return S_ISREG(st.st_mode) ? entry_type::file : entry_type::other;
}

/// Names in an open directory, without . and .., in the order of the system.
inline std::vector<std::string> names_in(int directory, const std::string& path) {
  unique_fd again(retry_eintr([&] { return ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!again) throw system_error("cannot open", errno, path);
  std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again.get()), ::closedir);
  if (!stream) throw system_error("cannot list", errno, path);
  static_cast<void>(again.release());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (!entry) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw system_error("cannot list", errno, path);
  return names;
}

/// The name of the directory of `target` that one of its names leads to: the name itself, or by any links the one that
/// a link leads to. Nothing where it leads elsewhere or nowhere.
inline std::optional<std::string> version_behind(int target, const std::string& name) {
  struct stat there {};
  if (fstatat(target, name.c_str(), &there, 0) != 0) {
    if (errno == ENOENT || errno == ELOOP || errno == ENOTDIR || errno == EACCES) return std::nullopt;
    throw system_error("cannot follow", errno, name);
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

class posix_store {
public:
  using proof = openpgp::verification;

  /// An open directory and what it is called in messages.
  struct directory {
    unique_fd fd;
    std::string path;
    int descriptor() const noexcept { return fd.get(); }
  };

  /// Opens the target, makes its `.fussy/` if need be, and takes the lock.
  explicit posix_store(const std::filesystem::path& target, const open_options& how = {})
      : root_(open_target(target_path(target))), lock_(take_lock(root_, how)) {}

  directory& root() noexcept { return root_; }
  std::string path() const { return root_.path; }

  entry_type type(directory& d, const std::string& name) { return entry_type_at(d.descriptor(), name); }
  std::vector<std::string> list(directory& d) { return names_in(d.descriptor(), d.path); }

  directory open(directory& d, const std::string& name) { return open_below(d, name); }

  std::string read_link(directory& d, const std::string& name) {
    char text[4096];
    const ssize_t length = ::readlinkat(d.descriptor(), name.c_str(), text, sizeof text);
    if (length < 0) throw system_error("cannot read link", errno, d.path + "/" + name);
    return std::string(text, static_cast<std::size_t>(length));
  }

  std::string read_file(directory& d, const std::string& name, std::size_t max) {
    file_reader file = open_entry(d, name, O_RDONLY);
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
    if (!fd) throw system_error("cannot create", errno, d.path + "/" + name);
    file_writer(fd.get(), d.path + "/" + name).write(as_bytes(text));
  }

  void rename(directory& from, const std::string& old_name, directory& to, const std::string& new_name,
              rename_mode mode) {
    const unsigned flags = mode == rename_mode::exchange    ? RENAME_EXCHANGE
                           : mode == rename_mode::exclusive ? RENAME_NOREPLACE
                                                            : 0;
    int result = ::renameat2(from.descriptor(), old_name.c_str(), to.descriptor(), new_name.c_str(), flags);
    // Where the file system knows no flags the lock has to do: nobody else of us is here.
    if (result != 0 && (errno == EINVAL || errno == ENOSYS) && mode == rename_mode::exclusive) {
      if (type(to, new_name) != entry_type::none)
        throw system_error("cannot rename", EEXIST, from.path + "/" + old_name + " to " + to.path + "/" + new_name);
      result = ::renameat(from.descriptor(), old_name.c_str(), to.descriptor(), new_name.c_str());
    }
    if (result != 0)
      throw system_error("cannot rename", errno, from.path + "/" + old_name + " to " + to.path + "/" + new_name);
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
      throw system_error("cannot sync", errno, d.path);
  }
  void sync_all() {
    if (retry_eintr([&] { return ::syncfs(root_.descriptor()); }) != 0)
      throw system_error("cannot sync the file system of", errno, root_.path);
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
    if (!fd) throw system_error("cannot open", errno, d.path + "/" + name);
    return {std::move(fd), d.path + "/" + name};
  }

  static flock_guard take_lock(const directory& root, const open_options& how) {
    const std::string ours = root.path + "/.fussy";
    if (::mkdirat(root.descriptor(), ".fussy", 0700) != 0 && errno != EEXIST) throw target_error(root.path, errno);
    struct stat st {};
    if (fstatat(root.descriptor(), ".fussy", &st, AT_SYMLINK_NOFOLLOW) != 0) throw target_error(ours, errno);
    if (!S_ISDIR(st.st_mode)) throw target_error(ours, ENOTDIR);
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

  static file_reader open_entry(directory& d, const std::string& name, int flags) {
    unique_fd fd(retry_eintr([&] { return ::openat(d.descriptor(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC); }));
    if (!fd) throw system_error("cannot open", errno, d.path + "/" + name);
    return file_reader(std::move(fd), d.path + "/" + name);
  }

  static void check(int result, const char* what, const directory& d, const std::string& name) {
    if (result != 0) throw system_error(what, errno, d.path + "/" + name);
  }

  directory root_;
  flock_guard lock_;
};

}  // namespace fussy::install
