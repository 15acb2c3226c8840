// When a version came into the target.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

namespace fussy::install {

/// Seconds and nanoseconds: when the directory was made, while it was unpacked. What its application writes into it
/// later does not change that. Where the file system does not keep it, the last change of the directory itself.
inline std::pair<std::int64_t, std::uint32_t> published_at(int target, const std::string& name) {
  struct statx st {};
  if (::statx(target, name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_CTIME, &st) != 0) return {};
  const statx_timestamp& when = (st.stx_mask & STATX_BTIME) != 0 ? st.stx_btime : st.stx_ctime;
  return {when.tv_sec, when.tv_nsec};
}

}  // namespace fussy::install
