#include "looking.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

namespace fussy::install {

// ---- Space ------------------------------------------------------------------------------------------------------------

std::optional<free_space> space_of(const std::string& target) {
  struct statfs fs {};
  if (::statfs(target.c_str(), &fs) != 0) return std::nullopt;
  const auto kind = static_cast<std::uint32_t>(fs.f_type);  // signed, and of another size on each architecture
  return free_space{.bytes = static_cast<std::uint64_t>(fs.f_bavail) * static_cast<std::uint64_t>(fs.f_bsize),
                    .inodes = fs.f_ffree,
                    .counts_inodes = fs.f_files != 0,
                    .compresses = kind == BTRFS_SUPER_MAGIC,
                    .reflinks = kind == BTRFS_SUPER_MAGIC || kind == XFS_SUPER_MAGIC};
}

archive::surveyed with_own_needs(archive::surveyed need) {
  constexpr std::uint64_t inodes = 5, bytes = 4 * 4096;
  need.needed_inodes += inodes;
  need.needed_bytes += bytes;
  need.certain_bytes += bytes;
  return need;
}

std::optional<error> shortage(const std::string& package, const std::string& target, const free_space& space,
                              const archive::surveyed& need) {
  const bool lacks_bytes = space.bytes < need.certain_bytes && !space.compresses;
  const bool lacks_inodes = space.counts_inodes && space.inodes < need.needed_inodes;
  if (!lacks_bytes && !lacks_inodes) return std::nullopt;
  return without_space(
      error(errc::no_space, {.what = "cannot unpack " + package + " in " + target,
                             .why = lacks_bytes ? "there is too little space" : "there are too few inodes"}),
      target, need);
}

error without_space(const error& e, const std::string& target, const std::optional<archive::surveyed>& need) {
  failure_parts parts = e.parts();
  const auto space = space_of(target);
  parts.why += need ? "; needed: " + mebibytes(need->needed_bytes, rounded::up) + " and " +
                          std::to_string(need->needed_inodes) + " inodes"
                    : "; how much is needed is not known of a stream";
  if (space)
    parts.why +=
        ", free: " + mebibytes(space->bytes, rounded::down) + " and " + std::to_string(space->inodes) + " inodes";
  parts.remedy = "remove old versions (fussy-clean) or other files in " + target + " and try again";
  parts.path = target;
  return error(e.code(), std::move(parts));
}

// ---- A tree -----------------------------------------------------------------------------------------------------------

void tree_usage::add_below(int directory, const std::string& path) {
  for (const std::string& name : names_in(directory, path)) {
    struct stat st {};
    if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // gone meanwhile
    add(st);
    if (!S_ISDIR(st.st_mode)) continue;
    const unique_fd below(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (below) add_below(below.get(), path + "/" + name);
  }
}

void tree_usage::add(const struct stat& st) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(st.st_blocks) * 512;
  if (S_ISDIR(st.st_mode)) {
    own_ += bytes;
    return;
  }
  ++files_;
  if (st.st_nlink < 2) {
    own_ += bytes;
  } else {
    auto& [here, links, size] = linked_[{st.st_dev, st.st_ino}];
    ++here, links = st.st_nlink, size = bytes;
  }
}

std::uint64_t tree_usage::linked(bool all_here) const {
  std::uint64_t sum = 0;
  for (const auto& [key, use] : linked_)
    if ((use.here >= use.links) == all_here) sum += use.size;
  return sum;
}

}  // namespace fussy::install
