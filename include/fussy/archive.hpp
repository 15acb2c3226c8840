/// @file archive.hpp  Tar archives into a directory, and back. What an entry may be, and nothing outside the directory.
/// Threads: distinct calls are independent.
/// Errors:  fussy::error with a 21xx code (the archive), no_space, io (the disk); std::bad_alloc.
/// Trust:   input is hostile until proven: every entry is created beneath the directory through descriptors, no link is
///          ever followed, limits bound what it can cost.
#pragma once

#include <fussy/io.hpp>
#include <fussy/log.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace fussy::archive {

struct limits {
  std::uint64_t max_entries = 1'000'000;
  std::uint64_t max_bytes = UINT64_C(1) << 37;  ///< unpacked, 128 GiB
  std::uint64_t max_ratio = 100;                ///< unpacked to packed, looked at beyond 64 MiB unpacked; 0: no limit
  std::uint32_t max_path = 4095;                ///< octets of a path
  std::uint32_t max_depth = 256;                ///< directories in a path
};

struct extract_options {
  limits limit = {};
  /// Descriptor of a directory (the running version): a file whose content, mode, owner, time and attributes equal
  /// those at the same path below it (without the root's name) becomes a hard link to it and nothing is written; where
  /// only metadata differ it shares blocks (reflink) or is written. Size and time alone never decide.
  int share_with = -1;
  /// As root: the archive's numeric owners, setuid and setgid; else files are ours, without those.
  bool keep_owner = true;
  /// Warnings: an extended attribute the file system cannot keep …
  log_sink log = {};
};

struct extracted {
  std::string root;  ///< name of the one top-level directory
  std::uint64_t entries = 0;
  std::uint64_t files = 0;    ///< regular files, shared ones included; a hard link inside of the archive is none
  std::uint64_t bytes = 0;    ///< of content in the archive, holes included
  std::uint64_t written = 0;  ///< of content that was really written
  std::uint64_t shared = 0;   ///< files linked with `share_with`
};

/// Unpacks a compressed tar (gzip, bzip2, zstd, by its magic number) into `directory`, which is empty and ours, and
/// reads `compressed` to its end. The tree is complete on return, not yet synced. After a throw the directory holds
/// litter for the caller to remove.
///
/// What a package may have: one top-level directory with a name that is not `current` or `failsafe`, not hidden and
/// without control characters; directories, files, links. Refused: devices, pipes; absolute names and `..`; a name that
/// occurs twice (a directory may); an entry below a link; a hard link to anything but an earlier entry; a symbolic link
/// that leads out of the package by `..`. An absolute symbolic link is kept as it is: applications link to /var and
/// /usr, and nothing here or in an install ever follows one.
///
/// Kept: mode, time (nanoseconds where the file system has them), holes, hard links, extended attributes, ACLs and
/// capabilities; what the file system or the process cannot keep is a warning. Names are octets; those in pax headers
/// must be UTF-8 (or be marked hdrcharset=BINARY).
/// @throws malformed, entry_refused, bad_root, too_large, no_space, io; and what `compressed` throws.
extracted extract(any_reader compressed, const unique_fd& directory, const extract_options& opts = {});

/// What becomes of one file or link when an archive takes the place of a tree.
enum class change : int {
  added,      ///< the tree has nothing of this name
  changed,    ///< it has something else
  touched,    ///< equal content; mode, owner, time or attributes differ, so that it cannot be shared
  unchanged,  ///< equal in everything: shared
  removed,    ///< the archive has nothing of this name
};

constexpr const char* name(change c) noexcept {
  switch (c) {
    case change::added:
      return "added";
    case change::changed:
      return "changed";
    case change::touched:
      return "touched";
    case change::unchanged:
      return "unchanged";
    case change::removed:
      return "removed";
  }
  return "unknown";
}

/// One entry, as survey() sees it.
struct entry_info {
  enum class kind { directory, file, symbolic_link, hard_link };
  std::string path{};  ///< with the root's name in front; octets
  kind type = kind::file;
  std::uint32_t mode = 0;           ///< permission bits
  std::uint64_t size = 0;           ///< of a file's content
  std::int64_t mtime = 0;           ///< seconds since 1970
  std::string link{};               ///< text of a symbolic link, path that a hard link names
  std::optional<change> becomes{};  ///< of files and links; nothing for a directory
};

struct survey_options {
  limits limit = {};
  int share_with = -1;    ///< as for extract(); -1: everything is added
  bool reflinks = false;  ///< the file system shares blocks, so what is changed or touched may need none
  std::function<void(const entry_info&)> on_entry = {};  ///< in the order of the archive, then what is removed
};

struct surveyed {
  struct count {
    std::uint64_t files = 0;  ///< and links
    std::uint64_t bytes = 0;  ///< of content
  };
  std::string root{};         ///< name of the one top-level directory
  std::string compression{};  ///< "gzip", "zstd", "bzip2"
  std::uint64_t entries = 0, directories = 0, files = 0, links = 0;
  std::uint64_t bytes = 0;  ///< of content, holes included
  count added{}, changed{}, touched{}, unchanged{}, removed{};
  std::uint64_t needed_bytes = 0;   ///< as a disk with blocks of 4 KiB counts, no blocks shared
  std::uint64_t certain_bytes = 0;  ///< less than this will not do anywhere
  std::uint64_t needed_inodes = 0;
};

/// Reads an archive to its end and says what extract() would make of it. Nothing is written. The same entries are
/// refused. For archives that are proven: names of all entries are kept in memory.
/// @throws malformed, entry_refused, bad_root, too_large, io, and what `compressed` throws
surveyed survey(any_reader compressed, const survey_options& opts = {});

struct create_options {
  std::vector<std::string> exclude =
      {};  ///< shell patterns, matched as tar --exclude does: any trailing part of the path
  std::optional<std::int64_t> clamp_mtime = {};  ///< SOURCE_DATE_EPOCH: no entry is younger than this
  bool root_owner = false;                       ///< write all entries as owned by 0:0
  log_sink log = {};                             ///< debug: a line for each entry; warning: a socket that was left out
};

/// Writes the tree of `root` as an uncompressed pax tar with the single top-level name `name`. The same tree gives the
/// same octets: entries sorted by name, times in whole seconds, numeric owners only. What extract() would refuse is
/// refused here; a file that changes while it is read too.
/// @throws bad_root, entry_refused, not_found, io; and what `to` throws.
void create(any_writer& to, const std::filesystem::path& root, const std::string& name,
            const create_options& opts = {});

}  // namespace fussy::archive
