#include "old_file.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "metadata.hpp"

namespace fussy::archive {

namespace {

constexpr std::size_t chunk = 64 * 1024;

// The time of the last read is nobody's business, and writing it would wear the flash.
unique_fd open_quietly(int directory, const char* name) {
  const auto open_with = [&](int more) {
    return retry_eintr([&] { return openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | more); });
  };
  unique_fd fd(open_with(O_NOATIME));
  if (!fd && errno == EPERM) fd = unique_fd(open_with(0));
  return fd;
}

}  // namespace

old_file::old_file(int directory, const char* name, std::string path)
    : fd_(open_quietly(directory, name)), path_(std::move(path)) {
  if (fd_ && (fstat(fd_.get(), &stat_) != 0 || !S_ISREG(stat_.st_mode))) fd_.reset();
}

std::size_t old_file::read_at(byte_span room, std::uint64_t offset) const {
  std::size_t done = 0;
  while (done < room.size()) {
    const ssize_t n = retry_eintr(
        [&] { return pread(fd_.get(), room.data() + done, room.size() - done, static_cast<off_t>(offset + done)); });
    if (n < 0) throw disk_error("cannot read the installed", errno, path_, fd_.get());
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

bool old_file::continues(std::uint64_t from, std::uint64_t offset, byte_view bytes) const {
  if (offset + bytes.size() > size() || !is_zero(from, offset)) return false;
  std::byte room[chunk];
  while (!bytes.empty()) {
    const std::size_t length = std::min(bytes.size(), chunk);
    if (read_at({room, length}, offset) != length || std::memcmp(room, bytes.data(), length) != 0) return false;
    bytes = bytes.subspan(length);
    offset += length;
  }
  return true;
}

std::optional<std::uint64_t> old_file::next_data(std::uint64_t from) const {
  const off_t data = lseek(fd_.get(), static_cast<off_t>(from), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return std::nullopt;
  return data > 0 ? std::max(from, static_cast<std::uint64_t>(data)) : from;
}

bool old_file::is_zero(std::uint64_t from, std::uint64_t to) const {
  std::byte room[chunk];
  while (from < to) {
    const auto data = next_data(from);
    if (!data || *data >= to) return true;
    from = *data;
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(to - from, chunk));
    if (read_at({room, length}, from) != length) return false;
    if (std::any_of(room, room + length, [](std::byte b) { return b != std::byte{0}; })) return false;
    from += length;
  }
  return true;
}

bool old_file::is(const struct stat& other) const noexcept {
  return other.st_dev == stat_.st_dev && other.st_ino == stat_.st_ino && other.st_size == stat_.st_size &&
         other.st_mtim.tv_sec == stat_.st_mtim.tv_sec && other.st_mtim.tv_nsec == stat_.st_mtim.tv_nsec;
}

bool old_file::unchanged() const {
  struct stat now;
  return fstat(fd_.get(), &now) == 0 && is(now) && now.st_ctim.tv_sec == stat_.st_ctim.tv_sec &&
         now.st_ctim.tv_nsec == stat_.st_ctim.tv_nsec;
}

}  // namespace fussy::archive
