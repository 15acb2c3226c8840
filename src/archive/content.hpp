/// @file content.hpp  The content of one regular file: written, or found to be that of an existing file and linked to
/// it.
#pragma once

#include "directories.hpp"
#include "old_file.hpp"

namespace fussy::archive {

/// Whether files can share blocks here; found out at the first try.
struct sharing {
  enum class answer { unknown, yes, no } reflink = answer::unknown;
};

struct content_result {
  std::uint64_t written = 0;  ///< octets that went to the disk as content
  bool shared = false;        ///< it is a link to the old file
};

/// As long as the content equals that of the file at the same path of the old version, nothing is written. At its end:
/// a link to the old file when the metadata are equal too, else a new file that shares its blocks where the file system
/// can. At the first difference: a new file, with the equal part copied (or shared) and the rest written.
class content {
public:
  /// @param m     what the file shall be like; outlives this.
  /// @param size  that it will have.
  content(std::shared_ptr<const directory> in, std::string path, const metadata& m, std::uint64_t size,
          metadata_keeper& keeper, sharing& how);

  /// The next piece. Between pieces are holes. @throws malformed  pieces out of order or beyond the size.
  void put(std::uint64_t offset, byte_view bytes);
  content_result finish();

private:
  void find_old();
  bool can_reflink(const old_file& old);
  bool link_old();
  void create();
  void stop_comparing();
  void copy_old(std::uint64_t length);
  void write(std::uint64_t offset, byte_view bytes);
  void start_writing_out();
  const char* name() const noexcept { return name_.c_str(); }

  std::shared_ptr<const directory> in_;
  std::string path_, name_;
  const metadata& meta_;
  std::uint64_t size_, position_ = 0;
  std::uint64_t end_ = 0;      // of the new file as it is on disk
  std::uint64_t started_ = 0;  // up to where the kernel was asked to write it out
  metadata_keeper& keeper_;
  sharing& how_;
  unique_fd file_;
  old_file old_;  // comparing while it is open
  bool same_metadata_ = false;
  content_result result_;
};

}  // namespace fussy::archive
