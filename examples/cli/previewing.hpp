/// @file previewing.hpp  What an inspection found, for people and for programs.
#pragma once

#include <fussy/install.hpp>

#include <string>
#include <utility>
#include <vector>

#include "events.hpp"

namespace fussy::cli {

/// Reading a package is called so where nothing is unpacked.
inline std::string looking_words(phase p) { return p == phase::unpacking ? "comparing" : name(p); }

inline std::string counted(std::uint64_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

// ---- For programs ----------------------------------------------------------------------------------------------------

inline json count_field(const archive::surveyed::count& c) { return {{"files", c.files}, {"bytes", c.bytes}}; }

inline json content_fields(const install::inspection& seen) {
  const archive::surveyed& c = *seen.content;
  return {{"root", c.root},       {"compression", c.compression},
          {"entries", c.entries}, {"directories", c.directories},
          {"files", c.files},     {"links", c.links},
          {"bytes", c.bytes},     {"hooks", {{"pre_install", seen.pre_install}, {"post_install", seen.post_install}}}};
}

inline json changes_fields(const archive::surveyed& c) {
  return {{"added", count_field(c.added)},
          {"changed", count_field(c.changed)},
          {"touched", count_field(c.touched)},
          {"unchanged", count_field(c.unchanged)},
          {"removed", count_field(c.removed)}};
}

/// What an install would do to the target.
inline json target_fields(const install::inspection& seen) {
  return {{"current", text_or_null(seen.current)},
          {"version", seen.version},
          {"path", seen.path.string()},
          {"changes", changes_fields(*seen.content)},
          {"needed_bytes", seen.content->needed_bytes},
          {"needed_inodes", seen.content->needed_inodes},
          {"free_bytes", seen.free_bytes},
          {"free_inodes", seen.free_inodes == UINT64_MAX ? json() : json(seen.free_inodes)},
          {"interrupted", seen.interrupted},
          {"hindrance", seen.hindrance ? error_fields(*seen.hindrance) : json()}};
}

// ---- For people ------------------------------------------------------------------------------------------------------

inline std::string hooks_text(const install::inspection& seen) {
  if (!seen.pre_install && !seen.post_install) return "none";
  return std::string(seen.pre_install ? ".pre-install" : "") + (seen.pre_install && seen.post_install ? ", " : "") +
         (seen.post_install ? ".post-install" : "");
}

inline std::string count_text(const archive::surveyed::count& c) {
  return counted(c.files, "file", "files") + (c.files > 0 ? ", " + human_size(c.bytes) : "");
}

/// Label and text of what an install would do.
inline std::vector<std::pair<std::string, std::string>> target_rows(const install::inspection& seen) {
  const archive::surveyed& c = *seen.content;
  std::vector<std::pair<std::string, std::string>> rows{
      {"current", seen.current.empty() ? "none" : seen.current},
      {"version", seen.version + (seen.version == c.root ? "" : " (" + c.root + " is taken)")},
      {"added", count_text(c.added)},
      {"changed", count_text(c.changed)}};
  if (c.touched.files > 0)
    rows.emplace_back("touched",
                      count_text(c.touched) + " of equal content, but other mode, owner or time: not shared");
  rows.emplace_back("unchanged", count_text(c.unchanged));
  rows.emplace_back("removed", count_text(c.removed));
  rows.emplace_back("needed", human_size(c.needed_bytes) + " and " + counted(c.needed_inodes, "inode", "inodes"));
  rows.emplace_back("free",
                    human_size(seen.free_bytes) +
                        (seen.free_inodes == UINT64_MAX ? "" : " and " + counted(seen.free_inodes, "inode", "inodes")));
  return rows;
}

}  // namespace fussy::cli
