#include "content.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>

#include "names.hpp"

namespace fussy::archive {

namespace {

constexpr std::size_t chunk = 64 * 1024;
constexpr std::uint64_t write_out_step = 8 * 1024 * 1024;

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
  old_file old(in_->old.get(), name(), path_);
  if (!old) return;
  same_metadata_ = old.size() == size_ && keeper_.equal(old.fd(), old.stat(), meta_);
  if (same_metadata_ || (size_ > 0 && can_reflink(old))) old_ = std::move(old);
}

bool content::can_reflink(const old_file& old) {
  if (how_.reflink == sharing::answer::unknown && old.size() > 0) {
    const unique_fd probe(openat(in_->fd.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    how_.reflink = probe && ioctl(probe.get(), FICLONE, old.fd()) == 0 ? sharing::answer::yes : sharing::answer::no;
  }
  return how_.reflink == sharing::answer::yes;
}

void content::put(std::uint64_t offset, byte_view bytes) {
  if (offset < position_ || offset > size_ || bytes.size() > size_ - offset)
    throw refused_entry(path_, "its content is out of order or larger than its header says", "build the package again",
                        errc::malformed);
  if (bytes.empty()) return;
  if (old_ && !old_.continues(position_, offset, bytes)) stop_comparing();
  if (!old_) write(offset, bytes);
  position_ = offset + bytes.size();
}

content_result content::finish() {
  if (old_) {
    const bool equal = old_.size() == size_ && old_.is_zero(position_, size_);
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

bool content::link_old() {
  if (!old_.unchanged()) return false;
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
  if (fstatat(in_->fd.get(), name(), &st, AT_SYMLINK_NOFOLLOW) == 0 && old_.is(st)) return true;
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
  if (can_reflink(old_)) {
    const bool whole = length == old_.size();
    const std::uint64_t block = static_cast<std::uint64_t>(std::max<blksize_t>(old_.stat().st_blksize, 4096));
    file_clone_range range{
        .src_fd = old_.fd(), .src_offset = 0, .src_length = whole ? 0 : length - length % block, .dest_offset = 0};
    if ((whole || range.src_length > 0) && ioctl(file_.get(), FICLONERANGE, &range) == 0)
      end_ = at = whole ? length : range.src_length;
  }
  std::byte room[chunk];
  while (at < length) {
    const auto data = old_.next_data(at);
    if (!data || *data >= length) break;
    at = *data;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(length - at, chunk));
    if (old_.read_at({room, size}, at) != size) break;
    write(at, {room, size});
    at += size;
  }
  if (!old_.unchanged())
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
  if (end_ - started_ >= write_out_step) start_writing_out();
}

/// Lets the disk work while the next megabytes are inflated: what a kernel with much memory would keep until syncfs(2)
/// asks for all of it at once. No more than a hint: errors are that call's to report. Small files it would only slow
/// down.
void content::start_writing_out() {
  static_cast<void>(sync_file_range(file_.get(), static_cast<off_t>(started_), static_cast<off_t>(end_ - started_),
                                    SYNC_FILE_RANGE_WRITE));
  started_ = end_;
}

}  // namespace fussy::archive
