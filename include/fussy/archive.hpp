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
#include <optional>
#include <optional>
#include <string>
#include <vector>

namespace fussy::archive {

struct limits {
  std::uint64_t max_entries = 1'000'000;
  std::uint64_t max_bytes = UINT64_C(1) << 37;  ///< unpacked, 128 GiB
  std::uint64_t max_ratio = 1000;               ///< unpacked to packed, looked at beyond 64 MiB unpacked; 0: no limit
  std::uint32_t max_path = 4095;                ///< octets of a path
  std::uint32_t max_depth = 256;                ///< directories in a path
};

struct extract_options {
  limits limit;
  int share_with = -1;     ///< descriptor of a directory (the running version): files equal to the one at the same path
                           ///< below it (without the root's name) are hard links to it; content is always compared
  bool keep_owner = true;  ///< chown to the archive's numeric owners, when the process may
  log_sink log;            ///< warnings (an extended attribute the file system cannot keep …)
};

struct extracted {
  std::string root;              ///< name of the one top-level directory
  std::uint64_t entries = 0;
  std::uint64_t files = 0;       ///< regular files, shared ones included
  std::uint64_t bytes = 0;       ///< of content in the archive
  std::uint64_t written = 0;     ///< of content that was really written
  std::uint64_t shared = 0;      ///< files linked with `share_with`
};

/// Unpacks a compressed tar (gzip, bzip2, zstd, by its magic number) into `directory`, which is empty and ours.
/// The tree is complete on return, not yet synced. After a throw the directory holds litter for the caller to remove.
/// @throws malformed, entry_refused, bad_root, too_large, no_space, io; and what `compressed` throws.
extracted extract(any_reader compressed, const unique_fd& directory, const extract_options& opts = {});

struct create_options {
  std::vector<std::string> exclude;   ///< shell patterns, matched as tar --exclude does: any trailing part of the path
  std::optional<std::int64_t> clamp_mtime;  ///< SOURCE_DATE_EPOCH: no entry is younger than this
  bool root_owner = false;            ///< write all entries as owned by 0:0
  log_sink log;                       ///< debug: a line for each entry
};

/// Writes the tree of `root` as an uncompressed pax tar with the single top-level name `name`, entries sorted by name.
void create(any_writer& to, const std::filesystem::path& root, const std::string& name, const create_options& opts = {});

}  // namespace fussy::archive
