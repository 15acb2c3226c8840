/// @file lock/file.hpp  One lock file, tried once: what flock_guard and the locks of lock.hpp are made of. Internal.
///
/// Why a plain flock(2) is not enough. A lock file is found by its name, but flock(2) locks an inode. When somebody
/// deletes, renames or replaces the file, the next process locks another inode under the same name: two holders. So:
///  1. After locking, the locked inode is compared with the one the name leads to; if they differ, all begins anew.
///     This closes the gap between open(2) and flock(2).
///  2. The holder also claims the *name*, with an open-file-description read lock on the directory, on the one octet
///     that the name hashes to, and looks whether anybody else claims it. This holds as long as the directory is the
///     same, also when the file is deleted while it is held. (Such a lock needs no right to write; two names may
///     share an octet, once in 2^31 pairs, and then exclude each other.) Where the directory cannot be read, or the
///     file system has no such locks, point 1 stands alone.
///
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error with the path.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <fussy/error.hpp>
#include <fussy/io.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace fussy {

/// What a lock insists on. Anything less than this is for tests that show why it is needed.
struct lock_rules {
  static constexpr bool compare_inode = true;
  static constexpr bool claim_name = true;
};

}  // namespace fussy

namespace fussy::detail {

enum class lock_attempt { taken, held_elsewhere, held_here, held_by_this_thread };

/// Which inode, whatever its name.
struct inode_id {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const inode_id&) const = default;
};

inline std::optional<inode_id> inode_of(int fd) noexcept {
  struct stat s;
  if (::fstat(fd, &s) != 0) return std::nullopt;
  return inode_id{s.st_dev, s.st_ino};
}

inline std::optional<inode_id> inode_named(int directory, const std::string& name) noexcept {
  struct stat s;
  if (::fstatat(directory, name.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return inode_id{s.st_dev, s.st_ino};
}

// ---- Held by this process -----------------------------------------------------------------------------------------

/// One lock that this process holds, so that "I hold it already" can be told from "somebody else does".
struct held_lock {
  inode_id file, directory;
  std::string name;
  std::thread::id thread;
  pid_t process;  // after fork(2) the child has a copy of the list, but holds nothing
};

struct held_locks {
  std::mutex mutex;
  std::vector<held_lock> list;
};

/// Never destroyed: a lock with static storage may be released after everything else.
FUSSY_API inline held_locks& locks_of_this_process() {
  static held_locks& locks = *new held_locks;
  return locks;
}

// ---- The record in the file ---------------------------------------------------------------------------------------

/// Who holds a lock, as written in its file: the PID, when it was taken, and the PID namespace the PID belongs to.
struct lock_record {
  pid_t pid = 0;
  std::string since, pid_namespace;
};

inline std::string pid_namespace_of_this_process() {
  std::array<char, 64> text;
  const ssize_t n = ::readlink("/proc/self/ns/pid", text.data(), text.size());
  std::string_view link(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);  // "pid:[4026531836]"
  const auto from = link.find('['), to = link.find(']');
  return from < to && to != link.npos ? std::string(link.substr(from + 1, to - from - 1)) : std::string();
}

inline std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text;
  return std::string(text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts));
}

/// The PID alone on the first line, as tools that read PID files expect it.
inline std::string record_of_this_process() {
  return std::to_string(::getpid()) + "\nsince " + utc_now() + "\npidns " + pid_namespace_of_this_process() + "\n";
}

inline std::string first_bytes(int fd) {
  std::array<char, 256> text;
  const ssize_t n = retry_eintr([&] { return ::pread(fd, text.data(), text.size(), 0); });
  return std::string(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
}

inline std::string_view next_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

/// Printable or nothing: what stands in a lock file may have been written by anybody.
inline std::string plain_word(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
  return plain && text.size() <= 32 ? std::string(text) : std::string();
}

/// Empty when the text is no record.
inline std::optional<lock_record> parse_lock_record(std::string_view text) {
  lock_record record;
  const std::string_view pid = next_line(text);
  const auto [end, problem] = std::from_chars(pid.data(), pid.data() + pid.size(), record.pid);
  if (problem != std::errc() || end != pid.data() + pid.size() || record.pid <= 0) return std::nullopt;
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.starts_with("since ")) record.since = plain_word(line.substr(6));
    if (line.starts_with("pidns ")) record.pid_namespace = plain_word(line.substr(6));
  }
  return record;
}

/// Writes who we are, unless the file has content that no lock wrote: who locks a file of another purpose (a script, a
/// data base) does not want it overwritten. A record is information; being unable to write one (disk full, read-only)
/// does not make the lock less exclusive. @return whether there is a record of ours in the file now.
inline bool write_lock_record(int fd) {
  const std::string before = first_bytes(fd);
  if (!before.empty() && !parse_lock_record(before)) return false;
  const std::string record = record_of_this_process();
  // Over the old one first, then cut: who reads meanwhile does not find the file empty.
  if (retry_eintr([&] { return ::pwrite(fd, record.data(), record.size(), 0); }) < 0) return false;
  return ::ftruncate(fd, static_cast<off_t>(record.size())) == 0;
}

// ---- Who is it? ---------------------------------------------------------------------------------------------------

inline bool process_exists(pid_t pid) noexcept { return ::kill(pid, 0) == 0 || errno != ESRCH; }

/// What a file of /proc says, up to its end or 16 MiB; empty where it cannot be read.
inline std::string text_of_proc(const char* path) {
  unique_fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> block;
  while (fd && text.size() < (16U << 20)) {
    const ssize_t n = retry_eintr([&] { return ::read(fd.get(), block.data(), block.size()); });
    if (n <= 0) break;
    text.append(block.data(), static_cast<std::size_t>(n));
  }
  return text;
}

/// The device that the kernel knows a file's inode by, in /proc/locks as well: that of the mount it was opened through
/// (proc_pid_mountinfo(5)). fstat(2) tells another one where each subvolume has its own (btrfs) and on overlayfs.
inline std::optional<dev_t> device_of_mount(int fd) {
  const std::string info = text_of_proc(("/proc/self/fdinfo/" + std::to_string(fd)).c_str());
  const auto at = info.find("mnt_id:");
  int wanted = 0;
  if (at == info.npos || std::sscanf(info.c_str() + at, "mnt_id: %d", &wanted) != 1) return std::nullopt;
  const std::string mounts = text_of_proc("/proc/self/mountinfo");
  for (std::string_view rest = mounts; !rest.empty();) {
    const std::string line(next_line(rest));
    int id = 0;
    unsigned major_number = 0, minor_number = 0;
    if (std::sscanf(line.c_str(), "%d %*d %u:%u", &id, &major_number, &minor_number) == 3 && id == wanted)
      return ::makedev(major_number, minor_number);
  }
  return std::nullopt;
}

/// The PID /proc/locks names for a flock(2) on the file that `fd` (O_PATH will do) is open on; 0 or less for a process
/// of another PID namespace. Nothing when it says nothing: there is no lock, or the file system does not tell.
inline std::optional<pid_t> flock_holder_in_proc(int fd) {
  const auto file = inode_of(fd);
  if (!file) return std::nullopt;
  const dev_t device = device_of_mount(fd).value_or(file->device);
  const std::string text = text_of_proc("/proc/locks");
  // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; waiters have "->" behind the number and are skipped by the
  // pattern.
  for (std::string_view rest = text; !rest.empty();) {
    const std::string line(next_line(rest));
    int pid = 0;
    unsigned major_number = 0, minor_number = 0;
    unsigned long long inode = 0;
    if (std::sscanf(line.c_str(), "%*d: FLOCK %*s %*s %d %x:%x:%llu", &pid, &major_number, &minor_number, &inode) ==
            4 &&
        inode == file->inode && ::makedev(major_number, minor_number) == device)
      return pid;
  }
  return std::nullopt;
}

/// "PID 4711 holds it since 2026-11-23T17:30:00Z", as exactly as can be known.
inline std::string describe_lock_holder(int fd) {
  const auto record = parse_lock_record(first_bytes(fd));
  const std::string here = pid_namespace_of_this_process();
  if (record && !record->pid_namespace.empty() && record->pid_namespace != here)
    return "PID " + std::to_string(record->pid) + " of another PID namespace (" + record->pid_namespace +
           ") holds it since " + record->since;
  if (record && process_exists(record->pid))
    return "PID " + std::to_string(record->pid) + " holds it" +
           (record->since.empty() ? std::string() : " since " + record->since);
  // No record, or one that a process left behind that has died since: the kernel may know.
  const pid_t pid = flock_holder_in_proc(fd).value_or(0);
  if (pid <= 0) return "another process holds it";
  if (process_exists(pid)) return "PID " + std::to_string(pid) + " holds it";
  return "a process that PID " + std::to_string(pid) + " left behind holds it";
}

// ---- The file -----------------------------------------------------------------------------------------------------

/// Opens or creates, never follows a link: in a directory that everybody may write to, a planted link would make us
/// create or write a file of the planter's choice.
inline unique_fd open_lock_file(int directory, const std::filesystem::path& path, mode_t mode) {
  const std::string name = path.filename().string();
  constexpr int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  const auto open = [&](int how) {
    return retry_eintr([&] { return ::openat(directory, name.c_str(), how | flags, mode); });
  };
  for (;;) {
    // O_CREAT only when there is none: in a sticky directory the kernel may refuse it for a file of another user.
    unique_fd fd(open(O_RDWR));
    if (!fd && (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY)) fd.reset(open(O_RDONLY));
    if (!fd && errno == ENOENT) {
      fd.reset(open(O_RDWR | O_CREAT | O_EXCL));
      if (!fd && errno == EEXIST) continue;  // somebody was faster; each round means that somebody made progress
    }
    if (!fd && errno == ELOOP)
      throw error(errc::usage, {.what = "cannot lock " + path.string(),
                                .why = "it is a symbolic link",
                                .remedy = "name the file that it points to",
                                .path = path.string(),
                                .system = ELOOP});
    if (!fd)
      throw system_error("cannot open lock file", errno, path.string(), "check the directory and its permissions");
    struct stat s;
    if (::fstat(fd.get(), &s) != 0) throw system_error("cannot look at lock file", errno, path.string());
    if (!S_ISREG(s.st_mode))
      throw error(errc::usage, {.what = "cannot lock " + path.string(),
                                .why = "it is not a regular file",
                                .remedy = "name another file",
                                .path = path.string()});
    return fd;
  }
}

/// For the name claim it must be readable; a directory that may only be searched still leads to the file.
inline unique_fd open_lock_directory(const std::filesystem::path& path, bool& may_claim) {
  const auto parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  unique_fd fd(retry_eintr([&] { return ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  may_claim = static_cast<bool>(fd);
  if (!fd && errno == EACCES) fd.reset(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd)
    throw system_error("cannot open directory of lock file", errno, path.string(),
                       "create the directory, or name another");
  return fd;
}

/// The octet of the directory that stands for a name (FNV-1a, below 2^31 so that every off_t has room for it).
inline off_t octet_of_name(std::string_view name) noexcept {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return static_cast<off_t>((hash ^ hash >> 32) & 0x7fffffffU);
}

inline int name_lock(int directory, int command, short type, off_t octet, short* found = nullptr) noexcept {
  struct flock range {};  // l_pid must be zero
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = octet;
  range.l_len = 1;
  const int result = retry_eintr([&] { return ::fcntl(directory, command, &range); });
  if (found) *found = range.l_type;
  return result;
}

enum class name_claim { made, taken, impossible };

/// First claim, then look: of two that do so at once, at least one sees the other. (Both may; then both give way.)
inline name_claim claim_name(int directory, off_t octet) noexcept {
  if (name_lock(directory, F_OFD_SETLK, F_RDLCK, octet) != 0) return name_claim::impossible;
  short found = F_UNLCK;
  if (name_lock(directory, F_OFD_GETLK, F_WRLCK, octet, &found) != 0) return name_claim::impossible;
  if (found == F_UNLCK) return name_claim::made;
  name_lock(directory, F_OFD_SETLK, F_UNLCK, octet);
  return name_claim::taken;
}

template <class Rules>
class lock_file {
public:
  lock_file(std::filesystem::path path, mode_t mode) : path_(std::move(path)), mode_(mode) {
    const std::string name = path_.filename().string();
    if (name.empty() || name == "." || name == "..")
      throw error(errc::usage, {.what = "cannot lock \"" + path_.string() + "\"",
                                .why = "it does not name a file",
                                .remedy = "name a file, it is created when missing",
                                .path = path_.string()});
  }
  lock_file(lock_file&& other) noexcept
      : path_(std::move(other.path_)),
        mode_(other.mode_),
        file_(std::move(other.file_)),
        directory_(std::move(other.directory_)),
        may_claim_(other.may_claim_),
        wrote_record_(other.wrote_record_),
        claimed_elsewhere_(other.claimed_elsewhere_),
        owner_(std::exchange(other.owner_, 0)) {}
  lock_file& operator=(lock_file&&) = delete;
  ~lock_file() { give_back(); }

  /// Never blocks. Whatever is not `taken` leaves the lock as it was.
  lock_attempt try_take() {
    held_locks& held = locks_of_this_process();
    // Held from the flock(2) to the entry in the list: no thread may see one without the other.
    std::lock_guard guard(held.mutex);
    claimed_elsewhere_ = false;
    for (int round = 0; round < 1000; ++round) {
      if (!file_) open();
      if (retry_eintr([&] { return ::flock(file_.get(), LOCK_EX | LOCK_NB); }) != 0) {
        if (errno == EWOULDBLOCK) return held_by(held, inode_of(file_.get()).value_or(inode_id{}));
        throw system_error("cannot lock", errno, path_.string(), "use a file system that has locks");
      }
      const auto file = inode_of(file_.get());
      if (Rules::compare_inode && file != inode_named(directory_.get(), name())) {
        close();  // deleted or replaced before we had it
        continue;
      }
      if (Rules::claim_name && may_claim_ && claim_name(directory_.get(), octet_of_name(name())) == name_claim::taken) {
        ::flock(file_.get(), LOCK_UN);
        claimed_elsewhere_ = true;
        return held_by(held, std::nullopt);
      }
      held.list.push_back({file.value_or(inode_id{}), inode_of(directory_.get()).value_or(inode_id{}), name(),
                           std::this_thread::get_id(), ::getpid()});
      owner_ = ::getpid();
      wrote_record_ = write_lock_record(file_.get());
      return lock_attempt::taken;
    }
    return lock_attempt::held_elsewhere;  // somebody replaces the file faster than we can look
  }

  /// Only the process that took it gives it back: what a forked child does with its copy leaves the lock alone.
  void give_back() noexcept {
    if (owner_ == ::getpid()) {
      held_locks& held = locks_of_this_process();
      std::lock_guard guard(held.mutex);
      forget(held);
      if (wrote_record_) (void)!::ftruncate(file_.get(), 0);
      name_lock(directory_.get(), F_OFD_SETLK, F_UNLCK, octet_of_name(name()));
      ::flock(file_.get(), LOCK_UN);
    }
    owner_ = 0;
    close();
  }

  /// Closes without unlocking: children that inherited the descriptors hold the lock until the last one has ended.
  void leave() noexcept {
    if (owner_ == ::getpid()) {
      held_locks& held = locks_of_this_process();
      std::lock_guard guard(held.mutex);
      forget(held);
    }
    owner_ = 0;
    close();
  }

  void let_children_inherit() const {
    for (const int fd : {file_.get(), directory_.get()})
      if (::fcntl(fd, F_SETFD, 0) != 0) throw system_error("cannot pass on lock", errno, path_.string());
  }

  bool taken() const noexcept { return owner_ != 0; }
  int fd() const noexcept { return file_.get(); }
  const std::filesystem::path& path() const noexcept { return path_; }

  std::string holder() const {
    if (claimed_elsewhere_)
      return "another process holds it, with a file of this name that was deleted or replaced since";
    return file_ ? describe_lock_holder(file_.get()) : "its file is being replaced all the time";
  }

private:
  std::string name() const { return path_.filename().string(); }

  void open() {
    directory_ = open_lock_directory(path_, may_claim_);
    file_ = open_lock_file(directory_.get(), path_, mode_);
  }
  void close() noexcept {
    file_.reset();
    directory_.reset();
  }

  void forget(held_locks& held) const noexcept {
    const auto file = inode_of(file_.get());
    std::erase_if(held.list, [&](const held_lock& h) { return h.process == owner_ && h.file == file; });
  }

  /// Found busy: by whom? Looked up by inode, or by name when it is the name that is claimed.
  lock_attempt held_by(const held_locks& held, std::optional<inode_id> file) const {
    const auto directory = inode_of(directory_.get());
    for (const held_lock& h : held.list) {
      if (h.process != ::getpid()) continue;
      if (file ? h.file != *file : h.directory != directory || h.name != name()) continue;
      return h.thread == std::this_thread::get_id() ? lock_attempt::held_by_this_thread : lock_attempt::held_here;
    }
    return lock_attempt::held_elsewhere;
  }

  std::filesystem::path path_;
  mode_t mode_;
  unique_fd file_, directory_;
  bool may_claim_ = false, wrote_record_ = false, claimed_elsewhere_ = false;
  pid_t owner_ = 0;  // the process that took it; 0 when not taken
};

}  // namespace fussy::detail
