#include "content.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "names.hpp"

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

// Less than asked for only at the end of the file.
std::size_t read_at(int fd, byte_span room, std::uint64_t offset, std::string_view path) {
  std::size_t done = 0;
  while (done < room.size()) {
    const ssize_t n = retry_eintr(
        [&] { return pread(fd, room.data() + done, room.size() - done, static_cast<off_t>(offset + done)); });
    if (n < 0) throw disk_error("cannot read the installed", errno, path, fd);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

content::content(std::shared_ptr<const directory> in, std::string path, const metadata& m, std::uint64_t size,
                 metadata_keeper& keeper, sharing& how)
    : in_(std::move(in)),
      path_(std::move(path)),
      name_(last_of(path_)),
      meta_(m),
      size_(size),
      keeper_(keeper),
      how_(how) {
  if (in_->old) find_old();
}

// Comparing pays when the old file may be linked to, or its blocks shared.
void content::find_old() {
  unique_fd old = open_quietly(in_->old.get(), name());
  if (!old) return;
  if (fstat(old.get(), &old_stat_) != 0 || !S_ISREG(old_stat_.st_mode)) return;
  const bool same_size = static_cast<std::uint64_t>(old_stat_.st_size) == size_;
  same_metadata_ = same_size && keeper_.equal(old.get(), old_stat_, meta_);
  if (same_metadata_ || (size_ > 0 && can_reflink(old.get()))) old_ = std::move(old);
}

bool content::can_reflink(int old) {
  if (how_.reflink == sharing::answer::unknown && old_stat_.st_size > 0) {
    const unique_fd probe(openat(in_->fd.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    how_.reflink = probe && ioctl(probe.get(), FICLONE, old) == 0 ? sharing::answer::yes : sharing::answer::no;
  }
  return how_.reflink == sharing::answer::yes;
}

void content::put(std::uint64_t offset, byte_view bytes) {
  if (offset < position_ || offset > size_ || bytes.size() > size_ - offset)
    throw refused_entry(path_, "its content is out of order or larger than its header says", "build the package again",
                        errc::malformed);
  if (bytes.empty()) return;
  if (old_ && !equals_old(offset, bytes)) stop_comparing();
  if (!old_) write(offset, bytes);
  position_ = offset + bytes.size();
}

content_result content::finish() {
  if (old_) {
    const bool equal = static_cast<std::uint64_t>(old_stat_.st_size) == size_ && old_is_zero(position_, size_);
    if (equal && same_metadata_ && link_old()) {
      result_.shared = true;
      return result_;
    }
    if (equal) position_ = size_;
    stop_comparing();
  }
  if (!file_) create();
  if (end_ != size_ && ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)
    throw disk_error("cannot set the size of", errno, path_, file_.get());
  keeper_.apply(file_.get(), meta_, creation_mode(meta_), path_);
  return result_;
}

bool content::equals_old(std::uint64_t offset, byte_view bytes) {
  if (offset + bytes.size() > static_cast<std::uint64_t>(old_stat_.st_size) || !old_is_zero(position_, offset))
    return false;
  std::byte room[chunk];
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), chunk);
    if (read_at(old_.get(), {room, size}, offset, path_) != size || std::memcmp(room, bytes.data(), size) != 0)
      return false;
    bytes = bytes.subspan(size);
    offset += size;
  }
  return true;
}

// Holes of the old file are passed over without reading them.
bool content::old_is_zero(std::uint64_t from, std::uint64_t to) {
  std::byte room[chunk];
  while (from < to) {
    const off_t data = lseek(old_.get(), static_cast<off_t>(from), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return true;
    if (data > 0) from = std::max(from, static_cast<std::uint64_t>(data));
    if (from >= to) return true;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(to - from, chunk));
    if (read_at(old_.get(), {room, size}, from, path_) != size) return false;
    if (std::any_of(room, room + size, [](std::byte b) { return b != std::byte{0}; })) return false;
    from += size;
  }
  return true;
}

// Whether what was compared is still what is there: an application may write to its own files meanwhile.
bool content::old_unchanged() const {
  struct stat now;
  return fstat(old_.get(), &now) == 0 && same_file(now, old_stat_) && now.st_ctim.tv_sec == old_stat_.st_ctim.tv_sec &&
         now.st_ctim.tv_nsec == old_stat_.st_ctim.tv_nsec;
}

bool content::link_old() {
  if (!old_unchanged()) return false;
  if (linkat(in_->old.get(), name(), in_->fd.get(), name(), 0) != 0) {
    switch (errno) {
      case EEXIST:
        throw refused_entry(path_, "the archive has another entry of this name");
      case ENOSPC:
      case EDQUOT:
      case EROFS:
      case EIO:
        throw disk_error("cannot link", errno, path_, in_->fd.get());
      default:
        return false;  // too many links, another file system, links to others' files forbidden: write it
    }
  }
  // The name may have been given to another file since it was opened.
  struct stat st;
  if (fstatat(in_->fd.get(), name(), &st, AT_SYMLINK_NOFOLLOW) == 0 && same_file(st, old_stat_)) return true;
  if (unlinkat(in_->fd.get(), name(), 0) != 0) throw disk_error("cannot remove", errno, path_, in_->fd.get());
  return false;
}

void content::create() {
  file_ = unique_fd(retry_eintr([&] {
    return openat(in_->fd.get(), name(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, creation_mode(meta_));
  }));
  if (file_) return;
  if (errno == EEXIST) throw refused_entry(path_, "the archive has another entry of this name");
  throw disk_error("cannot create", errno, path_, in_->fd.get(), size_);
}

void content::stop_comparing() {
  create();
  if (position_ > 0) copy_old(position_);
  old_.reset();
}

// The head of the old file that was found equal. Blocks are shared where that is possible, holes stay holes.
void content::copy_old(std::uint64_t length) {
  std::uint64_t at = 0;
  if (can_reflink(old_.get())) {
    const bool whole = length == static_cast<std::uint64_t>(old_stat_.st_size);
    const std::uint64_t block = static_cast<std::uint64_t>(std::max<blksize_t>(old_stat_.st_blksize, 4096));
    file_clone_range range{
        .src_fd = old_.get(), .src_offset = 0, .src_length = whole ? 0 : length - length % block, .dest_offset = 0};
    if ((whole || range.src_length > 0) && ioctl(file_.get(), FICLONERANGE, &range) == 0)
      end_ = at = whole ? length : range.src_length;
  }
  std::byte room[chunk];
  while (at < length) {
    const off_t data = lseek(old_.get(), static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data > 0) at = std::max(at, static_cast<std::uint64_t>(data));
    if (at >= length) break;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(length - at, chunk));
    if (read_at(old_.get(), {room, size}, at, path_) != size) break;
    write(at, {room, size});
    at += size;
  }
  if (!old_unchanged())
    throw error(errc::io, failure_parts{.what = "cannot copy from the installed " + printable(path_),
                                        .why = "it changed while it was read",
                                        .remedy = "stop what writes to an installed version, then retry",
                                        .path = path_});
}

void content::write(std::uint64_t offset, byte_view bytes) {
  if (!file_) create();
  while (!bytes.empty()) {
    const ssize_t n =
        retry_eintr([&] { return pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (n < 0) throw disk_error("cannot write", errno, path_, file_.get(), size_ - offset);
    result_.written += static_cast<std::uint64_t>(n);
    offset += static_cast<std::uint64_t>(n);
    end_ = std::max(end_, offset);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

}  // namespace fussy::archive
