// What an archive would take, without writing anything.
#include <fcntl.h>
#include <sys/stat.h>
#include <fussy/archive.hpp>
#include <fussy/codec.hpp>

#include <string>
#include <string_view>

#include "tar_reader.hpp"

namespace fussy::archive {

namespace {

/// Whether a file of this size at this path of the running version may turn out to be equal.
bool may_be_shared(int share_with, std::string_view path, la_int64_t size) {
  const std::size_t root = path.find('/');
  if (share_with < 0 || root == std::string_view::npos || root + 1 == path.size()) return false;
  struct stat st {};
  return ::fstatat(share_with, std::string(path.substr(root + 1)).c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(st.st_mode) && st.st_size == size;
}

}  // namespace

measured measure(any_reader compressed, int share_with) {
  tar_reader tar(codec::decompress_any()(std::move(compressed)));
  measured sum;
  while (archive_entry* entry = tar.next()) {
    const char* path = archive_entry_pathname(entry);
    const bool linked = archive_entry_hardlink(entry) != nullptr;
    const bool shared = linked || (archive_entry_filetype(entry) == AE_IFREG &&
                                   may_be_shared(share_with, path ? path : "", archive_entry_size(entry)));
    std::uint64_t bytes = 0;
    for (tar_reader::block piece; tar.next_block(piece);) bytes += piece.bytes.size();
    sum.bytes += bytes;
    sum.entries += 1;
    if (!shared) sum.certain_bytes += bytes;
    if (!shared) sum.certain_inodes += 1;
  }
  return sum;
}

}  // namespace fussy::archive
