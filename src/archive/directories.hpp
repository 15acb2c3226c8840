/// @file directories.hpp  Directories of the tree that is being written, by path, with the one at the same place of the
/// version it shares files with. A few descriptors are kept open; every one is reached from its parent's descriptor by
/// a single name and O_NOFOLLOW, so no link is ever followed, whatever the archive made of itself.
#pragma once

#include <fussy/io.hpp>

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "metadata.hpp"

namespace fussy::archive {

/// An open directory of the new tree.
struct directory {
  std::string path;
  unique_fd fd;
  unique_fd old;  ///< at the same path of the version to share with; empty when there is none
};

class directories {
public:
  /// @param staging     where the root is made; stays the caller's.
  /// @param share_with  a descriptor of the root's counterpart, or -1; stays the caller's.
  directories(int staging, int share_with, metadata_keeper& keeper);

  /// The open directory at this path; missing ones are made when `create` says so.
  /// @throws entry_refused  something on the way is no directory, or is missing; no_space, io.
  std::shared_ptr<const directory> open(std::string_view path, bool create);

  /// Makes it, unless it is there, and notes what it shall be in the end.
  void add(std::string_view path, metadata m);

  /// Gives all directories their final owner, mode, attributes and time, the deepest first.
  void finish();

  std::uint64_t made() const noexcept { return made_; }

private:
  struct note {
    std::size_t path_at = 0, path_size = 0;
    metadata meta;
  };
  std::string_view path_of(const note& n) const noexcept {
    return std::string_view(paths_).substr(n.path_at, n.path_size);
  }
  void remember(std::string_view path, metadata m);
  std::shared_ptr<const directory> cached(std::string_view path);
  std::shared_ptr<const directory> open_child(const directory& parent, std::string_view path, bool create);
  bool make(const directory& parent, const std::string& name, std::string_view path);
  void learn_defaults(const directory& staging, const std::string& root);

  metadata_keeper& keeper_;
  std::shared_ptr<const directory> staging_;
  std::list<std::shared_ptr<const directory>> open_;  // the most recently used first
  std::string paths_;                                 // of the notes, one after the other
  std::vector<note> notes_;
  std::size_t noted_octets_ = 0;
  std::uint64_t made_ = 0;
};

}  // namespace fussy::archive
