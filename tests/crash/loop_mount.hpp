// A file system on a file, mounted by a loop device for as long as the object lives.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <fussy/io.hpp>

#include <filesystem>
#include <string>

namespace crash {

namespace fs = std::filesystem;

class loop_mount {
public:
  loop_mount(const fs::path& file, const fs::path& where, const std::string& type, const std::string& options = {})
      : where_(where) {
    fs::create_directories(where);
    const fussy::unique_fd image = fussy::open_file(file, O_RDWR);
    const fussy::unique_fd loop = attach(image.get());
    if (::mount(device_.c_str(), where.c_str(), type.c_str(), MS_NOATIME, options.c_str()) != 0) {
      const int number = errno;
      ::ioctl(loop.get(), LOOP_CLR_FD, 0);
      throw fussy::system_error("cannot mount " + type + " at", number, where.string());
    }
    mounted_ = true;
  }
  loop_mount(const loop_mount&) = delete;
  ~loop_mount() {
    if (!mounted_) return;
    for (int i = 0; i < 500 && ::umount2(where_.c_str(), 0) != 0 && errno == EBUSY; ++i) ::usleep(10'000);
    ::umount2(where_.c_str(), MNT_DETACH);
  }

private:
  /// The device lets go of its file by itself once nobody has it open (LO_FLAGS_AUTOCLEAR).
  fussy::unique_fd attach(int image) {
    const fussy::unique_fd control = fussy::open_file("/dev/loop-control", O_RDWR);
    for (int tries = 0; tries < 100; ++tries) {
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) throw fussy::system_error("cannot get a loop device", errno);
      device_ = "/dev/loop" + std::to_string(number);
      struct stat st {};
      if (::stat(device_.c_str(), &st) != 0)
        ::mknod(device_.c_str(), S_IFBLK | 0600, makedev(7, static_cast<unsigned>(number)));
      fussy::unique_fd loop(::open(device_.c_str(), O_RDWR | O_CLOEXEC));
      loop_config config{};
      config.fd = static_cast<unsigned>(image);
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      if (loop && ::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
      ::usleep(10'000);  // somebody else took it
    }
    throw fussy::error(fussy::errc::io, "no loop device is to be had");
  }

  fs::path where_;
  std::string device_;
  bool mounted_ = false;
};

/// A copy that keeps holes: images are mostly holes.
inline void copy_sparse(const fs::path& from, const fs::path& to) {
  std::error_code ignored;
  fs::remove(to, ignored);
  const fussy::unique_fd in = fussy::open_file(from, O_RDONLY),
                         out = fussy::open_file(to, O_RDWR | O_CREAT | O_EXCL, 0600);
  const off_t size = ::lseek(in.get(), 0, SEEK_END);
  if (::ftruncate(out.get(), size) != 0) throw fussy::system_error("cannot size", errno, to.string());
  for (off_t at = 0; at < size;) {
    off_t data = ::lseek(in.get(), at, SEEK_DATA);
    if (data < 0) break;
    const off_t hole = ::lseek(in.get(), data, SEEK_HOLE);
    off_t target = data;
    while (data < hole)
      if (::copy_file_range(in.get(), &data, out.get(), &target, static_cast<std::size_t>(hole - data), 0) <= 0)
        throw fussy::system_error("cannot copy", errno, from.string());
    at = hole;
  }
}

}  // namespace crash
