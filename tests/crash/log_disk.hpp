// A disk that remembers: a file on a FUSE file system of our own, for a loop device to stand on. Every write and every
// flush that reaches it goes into a log, so that the disk can be rebuilt as it was at any moment, with the writes since
// the last flush lost in any combination, which is what a disk with a cache does when power fails.
//
// The file system speaks the kernel's protocol itself and runs in a child process, so nothing here waits for itself.
#pragma once

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fussy/io.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "loop_mount.hpp"

namespace crash {

namespace fs = std::filesystem;

/// One thing that reached the disk.
struct log_entry {
  enum kind_type : std::uint32_t { write, flush } kind;
  std::uint32_t size;
  std::uint64_t offset;  // on the disk
  std::uint64_t data;    // where its octets are in the log file
};

inline std::vector<log_entry> read_log(int fd) {
  std::vector<log_entry> entries;
  std::uint64_t at = 0;
  log_entry e{};
  while (::pread(fd, &e, sizeof e, static_cast<off_t>(at)) == static_cast<ssize_t>(sizeof e)) {
    at += sizeof e;
    e.data = at;
    at += e.size;
    entries.push_back(e);
  }
  return entries;
}

/// The FUSE server: one directory with one file, `disk`.
class disk_server {
public:
  disk_server(int fuse, int image, int log, std::uint64_t size)
      : fuse_(fuse), image_(image), log_(log), size_(size), in_(1 << 20) {}

  /// Serves until the file system is unmounted.
  void run() {
    for (;;) {
      const ssize_t n = ::read(fuse_, in_.data(), in_.size());
      if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
      if (n < static_cast<ssize_t>(sizeof(fuse_in_header))) return;
      serve();
    }
  }

private:
  static constexpr std::uint64_t root = 1, file = 2;

  void serve() {
    std::memcpy(&head_, in_.data(), sizeof head_);
    switch (head_.opcode) {
      case FUSE_INIT:
        return init();
      case FUSE_LOOKUP:
        return lookup();
      case FUSE_GETATTR:
        return attributes();
      case FUSE_SETATTR:
        return attributes();
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        return answer(fuse_open_out{});
      case FUSE_READ:
        return read();
      case FUSE_WRITE:
        return write();
      case FUSE_FSYNC:
        return flush();
      case FUSE_FLUSH:
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
      case FUSE_ACCESS:
        return fail(0);
      case FUSE_STATFS:
        return answer(fuse_statfs_out{});
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        return;
      default:
        return fail(ENOSYS);
    }
  }

  void init() {
    fuse_init_in in{};
    std::memcpy(&in, body(), std::min(sizeof in, head_.len - sizeof head_));
    fuse_init_out out{};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = std::min<std::uint32_t>(in.minor, 31);
    out.max_readahead = in.max_readahead;
    out.flags = FUSE_BIG_WRITES | (in.flags & FUSE_MAX_PAGES);
    out.max_write = 256 * 1024;
    out.max_pages = 64;
    answer(out);
  }
  void lookup() {
    if (std::strcmp(reinterpret_cast<const char*>(body()), "disk") != 0) return fail(ENOENT);
    fuse_entry_out out{};
    out.nodeid = file;
    out.entry_valid = out.attr_valid = 3600;
    out.attr = attribute(file);
    answer(out);
  }
  void attributes() {
    fuse_attr_out out{};
    out.attr_valid = 3600;
    out.attr = attribute(head_.nodeid);
    answer(out);
  }
  fuse_attr attribute(std::uint64_t node) const {
    fuse_attr a{};
    a.ino = node;
    a.nlink = 1;
    a.blksize = 4096;
    a.mode = node == root ? S_IFDIR | 0700u : S_IFREG | 0600u;
    a.size = node == root ? 0 : size_;
    a.blocks = a.size / 512;
    return a;
  }
  void read() {
    fuse_read_in in{};
    std::memcpy(&in, body(), sizeof in);
    std::vector<char> out(in.size);
    const ssize_t n = ::pread(image_, out.data(), out.size(), static_cast<off_t>(in.offset));
    if (n < 0) return fail(EIO);
    answer(out.data(), static_cast<std::size_t>(n));
  }
  void write() {
    fuse_write_in in{};
    std::memcpy(&in, body(), sizeof in);
    const std::byte* data = body() + sizeof in;
    if (::pwrite(image_, data, in.size, static_cast<off_t>(in.offset)) != static_cast<ssize_t>(in.size))
      return fail(EIO);
    append({log_entry::write, in.size, in.offset, 0}, data);
    fuse_write_out out{};
    out.size = in.size;
    answer(out);
  }
  void flush() {
    append({log_entry::flush, 0, 0, 0}, nullptr);
    fail(0);
  }
  void append(const log_entry& e, const std::byte* data) {
    const iovec parts[] = {{const_cast<log_entry*>(&e), sizeof e}, {const_cast<std::byte*>(data), e.size}};
    if (::writev(log_, parts, e.size ? 2 : 1) < 0) ::_exit(70);
  }

  const std::byte* body() const { return in_.data() + sizeof head_; }
  template <class T>
  void answer(const T& out) {
    answer(&out, sizeof out);
  }
  void answer(const void* out, std::size_t size) { reply(0, out, size); }
  void fail(int number) { reply(-number, nullptr, 0); }
  void reply(int error, const void* out, std::size_t size) {
    fuse_out_header head{static_cast<std::uint32_t>(sizeof head + size), error, head_.unique};
    const iovec parts[] = {{&head, sizeof head}, {const_cast<void*>(out), size}};
    (void)!::writev(fuse_, parts, size ? 2 : 1);
  }

  int fuse_, image_, log_;
  std::uint64_t size_;
  std::vector<std::byte> in_;
  fuse_in_header head_{};
};

/// Such a disk, mounted below `place` for as long as the object lives.
class log_disk {
public:
  log_disk(const fs::path& place, const fs::path& base) : mount_(place / "fuse"), log_path_(place / "log") {
    fs::create_directories(mount_);
    copy_sparse(base, place / "image");
    const fussy::unique_fd image = fussy::open_file(place / "image", O_RDWR);
    const fussy::unique_fd log = fussy::open_file(log_path_, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    const fussy::unique_fd fuse = fussy::open_file("/dev/fuse", O_RDWR);
    const std::string options = "fd=" + std::to_string(fuse.get()) + ",rootmode=40000,user_id=0,group_id=0";
    if (::mount("log_disk", mount_.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      throw fussy::system_error("cannot mount FUSE at", errno, mount_.string());
    server_ = ::fork();
    if (server_ == 0) {
      disk_server(fuse.get(), image.get(), log.get(), fs::file_size(base)).run();
      ::_exit(0);
    }
  }
  log_disk(const log_disk&) = delete;
  ~log_disk() {
    for (int i = 0; i < 500 && ::umount2(mount_.c_str(), 0) != 0 && errno == EBUSY; ++i) ::usleep(10'000);
    ::umount2(mount_.c_str(), MNT_DETACH);
    ::kill(server_, SIGKILL);
    int status = 0;
    fussy::retry_eintr([&] { return ::waitpid(server_, &status, 0); });
  }

  fs::path disk() const { return mount_ / "disk"; }
  fs::path log() const { return log_path_; }
  /// How much of the log there is now: to mark a moment.
  std::uint64_t mark() const { return fs::file_size(log_path_); }

private:
  fs::path mount_, log_path_;
  pid_t server_ = -1;
};

/// Rebuilds the disk as a power cut behind the `upto`th log entry leaves it.
/// @param lose  true: of the writes since the last flush any may be lost; false: the disk has no cache.
inline void rebuild(const fs::path& base, const fs::path& log, std::size_t upto, bool lose, std::uint64_t seed,
                    const fs::path& out) {
  copy_sparse(base, out);
  const fussy::unique_fd from = fussy::open_file(log, O_RDONLY), to = fussy::open_file(out, O_RDWR);
  const std::vector<log_entry> entries = read_log(from.get());
  upto = std::min(upto, entries.size());
  std::size_t flushed = 0;
  for (std::size_t i = 0; i < upto; ++i)
    if (entries[i].kind == log_entry::flush) flushed = i;
  std::mt19937_64 random(seed);
  const std::uint64_t odds = random() % 5;  // some cuts lose nearly all, some nearly nothing
  std::vector<char> octets;
  for (std::size_t i = 0; i < upto; ++i) {
    if (entries[i].kind != log_entry::write) continue;
    if (lose && i > flushed && random() % 4 < odds) continue;
    octets.resize(entries[i].size);
    if (::pread(from.get(), octets.data(), octets.size(), static_cast<off_t>(entries[i].data)) !=
            static_cast<ssize_t>(octets.size()) ||
        ::pwrite(to.get(), octets.data(), octets.size(), static_cast<off_t>(entries[i].offset)) !=
            static_cast<ssize_t>(octets.size()))
      throw std::runtime_error("cannot rebuild a disk");
  }
}

}  // namespace crash
