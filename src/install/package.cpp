#include "package.hpp"

#include <botan/hash.h>
#include <sys/stat.h>

#include <algorithm>

namespace fussy::install {

// ---- A file, proven first ---------------------------------------------------------------------------------------------

namespace {

package_file::digest digest_of(byte_view block) {
  // One object for each block: cheap beside 256 KiB, and nothing to share between threads.
  const auto sha256 = Botan::HashFunction::create_or_throw("SHA-256");
  sha256->update(as_uint8(block), block.size());
  package_file::digest d{};
  sha256->final(as_uint8(byte_span(d)));
  return d;
}

}  // namespace

/// Reads the file in whole blocks and shows each to `look`, which may throw, before anybody else sees it.
class package_file::block_reader {
public:
  using look = void (package_file::*)(std::size_t number, byte_view block);

  block_reader(package_file& file, look at_block) : file_(&file), look_(at_block) {}

  std::size_t read(byte_span room) {
    if (at_ == size_) {
      if (room.size() >= block_size) return next_block(room.first(block_size));  // without a copy
      block_.resize(block_size);
      at_ = 0;
      size_ = next_block(block_);
    }
    const std::size_t n = std::min(room.size(), size_ - at_);
    std::copy_n(block_.begin() + static_cast<std::ptrdiff_t>(at_), n, room.begin());
    at_ += n;
    return n;
  }

private:
  std::size_t next_block(byte_span room) {
    file_reader file(file_->fd_.get(), file_->path_);
    const std::size_t n = read_full(file, room);
    (file_->*look_)(number_, room.first(n));
    if (n > 0) ++number_;
    return n;
  }

  package_file* file_;
  look look_;
  byte_vector block_;
  std::size_t number_ = 0, at_ = 0, size_ = 0;
};

void package_file::note(std::size_t, byte_view block) {
  if (!block.empty()) digests_.push_back(digest_of(block));
}

void package_file::compare(std::size_t number, byte_view block) {
  const bool proven = number < digests_.size() ? !block.empty() && digest_of(block) == digests_[number] : block.empty();
  if (proven) return;
  throw error(errc::package_changed, {.what = "cannot use package " + path_,
                                      .why = "it changed after its signature was verified",
                                      .remedy = "find out who writes to it; install it again from a safe place",
                                      .path = path_});
}

package_file::package_file(const std::filesystem::path& path) : path_(path.string()) {
  fd_.reset(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  struct stat st {};
  if (!fd_ || fstat(fd_.get(), &st) != 0)
    throw system_error("cannot open package", errno, path_, "name a package that can be read",
                       errc_of_errno(errno) == errc::io ? errc::not_found : errc::success);
  if (S_ISDIR(st.st_mode))
    throw error(errc::not_found, {.what = "cannot open package " + path_,
                                  .why = "it is a directory",
                                  .remedy = "name a package, or ask for an unpacked version to be enabled",
                                  .path = path_});
  regular_ = S_ISREG(st.st_mode);
  if (regular_) size_ = static_cast<std::uint64_t>(st.st_size);
}

void package_file::rewind() {
  if (::lseek(fd_.get(), 0, SEEK_SET) < 0) throw system_error("cannot rewind", errno, path_);
}

any_reader package_file::reader_for_proof() {
  digests_.clear();
  rewind();
  return block_reader(*this, &package_file::note);
}

void package_file::proven() {
  // The message layer has read to the end; an octet behind it was not part of the proof.
  std::byte more{};
  file_reader file(fd_.get(), path_);
  if (file.read({&more, 1}) != 0)
    throw error(errc::package_changed, {.what = "cannot use package " + path_,
                                        .why = "it grew while it was verified",
                                        .remedy = "wait until it is complete",
                                        .path = path_});
}

any_reader package_file::reader_of_proven() {
  rewind();
  return block_reader(*this, &package_file::compare);
}

any_reader package_file::reader() { return file_reader(std::move(fd_), path_); }

}  // namespace fussy::install
