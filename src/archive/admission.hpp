/// @file admission.hpp  What an entry of an archive may be, as far as that needs no tree: counts and sizes, names,
/// kinds, the one top-level directory, where links lead by their text. The same for unpacking and for looking. Threads:
/// one object, one thread. Errors:  entry_refused, bad_root, too_large, malformed.
#pragma once

#include <archive_entry.h>
#include <fussy/archive.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fussy::archive {

/// A decompressor that stops a bomb.
class bounded_inflate {
public:
  bounded_inflate(any_reader compressed, const limits& limit);
  std::size_t read(byte_span room);

private:
  std::unique_ptr<std::uint64_t> packed_;  // on the heap: the reader points to it, and this object moves
  any_reader inflate_;
  limits limit_;
  std::uint64_t unpacked_ = 0;
};

class admission {
public:
  explicit admission(const limits& limit) : limit_(limit) {}

  /// @return its path; empty for "./", the directory that holds the root, which is to be passed over.
  std::string admit(archive_entry* entry);
  /// Of a regular file. @return octets of content
  std::uint64_t admit_content(std::string_view path, archive_entry* entry);
  /// Of a hard link. @return the path it names
  std::string admit_hard_link(std::string_view path, std::string_view target) const;
  /// Of a symbolic link: its text. Where only the finished tree can tell where it leads, it is in unclear_links().
  std::string admit_symlink(const std::string& path, archive_entry* entry);
  /// There will be no more. @throws bad_root
  void conclude() const;

  const std::string& root() const noexcept { return root_; }
  std::uint64_t entries() const noexcept { return entries_; }
  std::uint64_t bytes() const noexcept { return bytes_; }  ///< of content, holes included
  const std::vector<std::string>& unclear_links() const noexcept { return unclear_links_; }

private:
  void check_root(std::string_view path, bool is_directory);
  void note_unclear(const std::string& path);

  limits limit_;
  std::string root_;
  std::uint64_t entries_ = 0, bytes_ = 0;
  std::vector<std::string> unclear_links_;
  std::size_t unclear_octets_ = 0;
};

}  // namespace fussy::archive
