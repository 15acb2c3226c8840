// What an install and its dry run ask alike: of a target under the lock, or of one that is only looked at.
#pragma once

#include <fussy/install.hpp>

#include <algorithm>
#include <map>
#include <utility>

#include "published.hpp"

namespace fussy::install {

/// What is needed is rounded up, what there is down: who makes room by these figures has enough.
enum class rounded { up, down };
inline std::string mebibytes(std::uint64_t bytes, rounded how) {
  const std::uint64_t tenths = (bytes * 10 + (how == rounded::up ? (1 << 20) - 1 : 0)) >> 20;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

// ---- Space ------------------------------------------------------------------------------------------------------------

struct free_space {
  std::uint64_t bytes = 0, inodes = 0;
  bool counts_inodes = false;  // btrfs has no number of inodes
  bool compresses = false;     // what content takes is not known
  bool reflinks = false;       // blocks of equal content may be shared
};

std::optional<free_space> space_of(const std::string& target);

/// Nothing where it may do.
std::optional<error> shortage(const std::string& package, const std::string& target, const free_space& space,
                              const archive::surveyed& need);

/// What an install takes beside the content: the journal and the one that replaces it, a place to unpack in, two links.
archive::surveyed with_own_needs(archive::surveyed need);

/// Says how much is needed and how much there is.
error without_space(const error& e, const std::string& target, const std::optional<archive::surveyed>& need);

// ---- A tree -----------------------------------------------------------------------------------------------------------

/// What trees occupy together, and what would be free if they went.
class tree_usage {
public:
  void add_below(int directory, const std::string& path);
  void add(const struct stat& st);
  std::uint64_t files() const { return files_; }
  /// Bytes that go when these trees go.
  std::uint64_t own() const { return own_ + linked(true); }
  std::uint64_t shared() const { return linked(false); }

private:
  struct usage {
    nlink_t here = 0, links = 0;
    std::uint64_t size = 0;
  };
  std::uint64_t linked(bool all_here) const;

  std::map<std::pair<dev_t, ino_t>, usage> linked_;  // by inode: how many of its links are in these trees
  std::uint64_t own_ = 0, files_ = 0;
};

// ---- A target ---------------------------------------------------------------------------------------------------------

/// Who works on a target, and what waits for recovery: fields of the same names in the report. Takes no lock.
void look_at_activity(int root, status_report& report);

/// Descriptor of the version that is live, to share files with; empty where there is none.
template <class Target>
unique_fd open_live_version(Target& target) {
  const auto live = target.current();
  if (!live) return {};
  return std::move(target.disk().open(target.disk().root(), *live).fd);
}

/// The name below the target that a path means. A bare name means the one in the target.
template <class Target>
std::string name_in_target(Target& target, const std::filesystem::path& version) {
  if (version.empty())
    throw error(errc::usage, {.what = "cannot enable a version",
                              .why = "its name is empty",
                              .remedy = "name a version directory of " + target.path()});
  std::filesystem::path path = version.lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  std::string name = path.filename().string();
  std::error_code ignored;
  const bool bare = !path.has_parent_path() && target.can_be_live(name);
  if (!bare && !std::filesystem::equivalent(std::filesystem::absolute(path).parent_path(), target.path(), ignored))
    throw error(errc::not_found,
                {.what = "cannot enable " + version.string(),
                 .why = (path.has_parent_path() ? "it is not inside " : "there is no such version in ") + target.path(),
                 .remedy = "name a version directory of the target",
                 .path = version.string()});
  if (name == failsafe_name) return name;
  return target.disk().version_behind(name).value_or(name);
}

/// Sorts versions by when they were published.
inline auto newest_first(int root) {
  return [root](std::vector<std::string>& names) {
    std::sort(names.begin(), names.end(),
              [&](const auto& a, const auto& b) { return published_at(root, a) > published_at(root, b); });
  };
}

}  // namespace fussy::install
