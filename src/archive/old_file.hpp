/// @file old_file.hpp  A file of the version that is there already, compared with content as it comes. Only read.
/// Threads: one object, one thread.
/// Errors:  io, when it cannot be read.
#pragma once

#include <sys/stat.h>
#include <fussy/io.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace fussy::archive {

class old_file {
public:
  /// None.
  old_file() = default;
  /// The regular file of this name; none where there is no such. @param path  for messages
  old_file(int directory, const char* name, std::string path);

  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  int fd() const noexcept { return fd_.get(); }
  std::uint64_t size() const noexcept { return static_cast<std::uint64_t>(stat_.st_size); }
  /// As it was when it was opened.
  const struct stat& stat() const noexcept { return stat_; }

  /// Whether it has zeros from `from` to `offset` and these bytes behind them.
  bool continues(std::uint64_t from, std::uint64_t offset, byte_view bytes) const;
  /// Holes are passed over without reading them.
  bool is_zero(std::uint64_t from, std::uint64_t to) const;
  /// Less than asked for only at its end.
  std::size_t read_at(byte_span room, std::uint64_t offset) const;
  /// Where the next data are, holes passed over; nothing when only a hole is left.
  std::optional<std::uint64_t> next_data(std::uint64_t from) const;
  /// Whether what was compared is still what is there: an application may write to its own files meanwhile.
  bool unchanged() const;
  /// Whether this is the file that was opened.
  bool is(const struct stat& other) const noexcept;

  void reset() noexcept { fd_.reset(); }

private:
  unique_fd fd_;
  struct stat stat_ = {};
  std::string path_;
};

}  // namespace fussy::archive
