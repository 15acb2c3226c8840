#include "admission.hpp"

#include <fussy/codec.hpp>

#include "names.hpp"

namespace fussy::archive {

namespace {

// Counts what goes into the decompressor.
struct counting {
  any_reader upstream;
  std::uint64_t* count;
  std::size_t read(byte_span room) {
    const std::size_t n = upstream.read(room);
    *count += n;
    return n;
  }
};

error stopped(std::string_view path, std::string why, const char* which_limit) {
  const std::string at = path.empty() ? "" : " at '" + printable(path) + "'";
  return error(errc::too_large, failure_parts{.what = "unpacking the archive was stopped" + at,
                                              .why = std::move(why),
                                              .remedy = std::string("if that is right, raise the limit ") + which_limit,
                                              .path = std::string(path)});
}

error refused_root(std::string what, std::string why) {
  return error(
      errc::bad_root,
      failure_parts{.what = std::move(what), .why = std::move(why), .remedy = "build the package from one directory"});
}

}  // namespace

// ---- Bombs -----------------------------------------------------------------------------------------------------------

bounded_inflate::bounded_inflate(any_reader compressed, const limits& limit)
    : packed_(std::make_unique<std::uint64_t>(0)),
      inflate_(codec::decompress_any()(counting{std::move(compressed), packed_.get()})),
      limit_(limit) {}

std::size_t bounded_inflate::read(byte_span room) {
  constexpr std::uint64_t looked_at_beyond = UINT64_C(64) << 20;
  const std::size_t n = inflate_.read(room);
  unpacked_ += n;
  if (limit_.max_ratio > 0 && unpacked_ > looked_at_beyond && unpacked_ / limit_.max_ratio > *packed_)
    throw stopped({}, "it unpacks to more than " + std::to_string(limit_.max_ratio) + " times its size",
                  "(--max-ratio)");
  return n;
}

// ---- Entries ---------------------------------------------------------------------------------------------------------

std::string admission::admit(archive_entry* entry) {
  if (++entries_ > limit_.max_entries)
    throw stopped({}, "it has more than " + std::to_string(limit_.max_entries) + " entries", "on entries");
  const std::string_view name = archive_entry_pathname(entry);
  std::string path = normal_path(name, limit_);
  const bool is_hard_link = archive_entry_hardlink(entry) != nullptr;
  const auto type = archive_entry_filetype(entry);
  const bool is_directory = type == AE_IFDIR && !is_hard_link;
  if (!is_directory && (path.empty() || name.ends_with('/')))
    throw refused_entry(name, "its name is that of a directory, but it is none");
  if (path.empty()) return path;
  check_root(path, is_directory);
  if (!is_hard_link && !is_directory && type != AE_IFREG && type != AE_IFLNK)
    throw refused_entry(path, "it is a device, a named pipe or a socket");
  return path;
}

void admission::check_root(std::string_view path, bool is_directory) {
  const std::string_view root = root_of(path);
  if (root == root_ && path.size() > root.size()) return;
  if (root_.empty()) {
    check_root_name(root);
    if (path == root && !is_directory)
      throw refused_root("the top-level entry '" + printable(root) + "' is refused", "it is no directory");
    root_ = root;
  } else if (root != root_) {
    throw refused_root("the archive is refused",
                       "it has two top-level entries, '" + printable(root_) + "' and '" + printable(root) + "'");
  }
}

std::uint64_t admission::admit_content(std::string_view path, archive_entry* entry) {
  const la_int64_t size = archive_entry_size(entry);
  if (size < 0) throw refused_entry(path, "its size is negative", "build the package again", errc::malformed);
  const auto octets = static_cast<std::uint64_t>(size);
  if (octets > limit_.max_bytes - bytes_)
    throw stopped(path, "it unpacks to more than " + std::to_string(limit_.max_bytes) + " bytes", "on bytes");
  bytes_ += octets;
  return octets;
}

std::string admission::admit_hard_link(std::string_view path, std::string_view target_name) const {
  std::string target = normal_path(target_name, limit_);
  if (target.empty() || root_of(target) != root_) throw refused_entry(path, "it is a hard link to outside");
  return target;
}

std::string admission::admit_symlink(const std::string& path, archive_entry* entry) {
  const char* const raw = archive_entry_symlink(entry);
  std::string text = raw ? raw : "";
  if (text.empty() || text.size() > 4095) throw refused_entry(path, "it is a link without or with too long a text");
  if (text.starts_with('/')) return text;
  const leads where = where_link_leads(path, text);
  if (where == leads::outside)
    throw refused_entry(path, "it is a link to '" + printable(text) + "', outside of the package",
                        "link to something in the package, or by an absolute path");
  if (where == leads::unclear) note_unclear(path);
  return text;
}

void admission::note_unclear(const std::string& path) {
  constexpr std::size_t most = 1024 * 1024;
  unclear_octets_ += path.size() + sizeof path;
  if (unclear_octets_ > most)
    throw refused_entry(path, "the archive has too many links with a `..` behind a name", "write the links without it",
                        errc::too_large);
  unclear_links_.push_back(path);
}

void admission::conclude() const {
  if (root_.empty())
    throw error(errc::bad_root, failure_parts{.what = "the archive is refused",
                                              .why = "it has no top-level directory",
                                              .remedy = "build the package from a directory"});
}

}  // namespace fussy::archive
