// Unpacking, from compressed octets to a complete tree.
#include <fcntl.h>
#include <fussy/codec.hpp>

#include "content.hpp"
#include "names.hpp"
#include "tar_reader.hpp"

namespace fussy::archive {

namespace {

// Counts what goes in and comes out of the decompressor, and stops a bomb.
class bounded_inflate {
public:
  bounded_inflate(any_reader compressed, const limits& limit)
      : packed_(std::make_unique<std::uint64_t>(0)),
        inflate_(codec::decompress_any()(counting{std::move(compressed), packed_.get()})),
        limit_(limit) {}

  std::size_t read(byte_span room) {
    constexpr std::uint64_t looked_at_beyond = UINT64_C(64) << 20;
    const std::size_t n = inflate_.read(room);
    unpacked_ += n;
    if (limit_.max_ratio > 0 && unpacked_ > looked_at_beyond && unpacked_ / limit_.max_ratio > *packed_)
      throw error(errc::too_large, failure_parts{.what = "unpacking the archive was stopped",
                                                 .why = "it unpacks to more than " + std::to_string(limit_.max_ratio) +
                                                        " times its size",
                                                 .remedy = "if that is right, raise the limit (--max-ratio)"});
    return n;
  }

private:
  struct counting {
    any_reader upstream;
    std::uint64_t* count;
    std::size_t read(byte_span room) {
      const std::size_t n = upstream.read(room);
      *count += n;
      return n;
    }
  };
  std::unique_ptr<std::uint64_t> packed_;  // on the heap: the reader points to it, and this object moves
  any_reader inflate_;
  limits limit_;
  std::uint64_t unpacked_ = 0;
};

class extraction {
public:
  extraction(any_reader compressed, int into, const extract_options& opts)
      : opts_(opts),
        tar_(bounded_inflate(std::move(compressed), opts.limit) | read_ahead{}),  // inflates while this thread writes
        keeper_(opts.keep_owner, opts.log),
        tree_(into, opts.share_with, keeper_) {}

  extracted run() {
    while (archive_entry* entry = tar_.next()) add(entry);
    tar_.finish();
    if (done_.root.empty())
      throw error(errc::bad_root, failure_parts{.what = "the archive is refused",
                                                .why = "it has no top-level directory",
                                                .remedy = "build the package from a directory"});
    check_unclear_links();
    tree_.finish();
    keeper_.summarise();
    return done_;
  }

private:
  void add(archive_entry* entry) {
    if (++done_.entries > opts_.limit.max_entries)
      throw error(errc::too_large,
                  failure_parts{.what = "unpacking the archive was stopped",
                                .why = "it has more than " + std::to_string(opts_.limit.max_entries) + " entries",
                                .remedy = "if that is right, raise the limit on entries"});
    const std::string_view name = archive_entry_pathname(entry);
    const std::string path = normal_path(name, opts_.limit);
    const bool is_directory = archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry);
    if (!is_directory && (path.empty() || name.ends_with('/')))
      throw refused_entry(name, "its name is that of a directory, but it is none");
    if (path.empty()) return;  // "./", the directory that holds the root
    check_root(path, is_directory);
    if (const char* target = archive_entry_hardlink(entry)) return add_hard_link(path, target);
    switch (archive_entry_filetype(entry)) {
      case AE_IFDIR:
        return tree_.add(path, keeper_.read(entry));
      case AE_IFREG:
        return add_file(path, entry);
      case AE_IFLNK:
        return add_symlink(path, entry);
      default:
        throw refused_entry(path, "it is a device, a named pipe or a socket");
    }
  }

  void check_root(std::string_view path, bool is_directory) {
    const std::string_view root = root_of(path);
    if (root == done_.root && path.size() > root.size()) return;
    if (done_.root.empty()) {
      check_root_name(root);
      if (path == root && !is_directory)
        throw error(errc::bad_root, failure_parts{.what = "the top-level entry '" + printable(root) + "' is refused",
                                                  .why = "it is no directory",
                                                  .remedy = "build the package from one directory"});
      done_.root = root;
    } else if (root != done_.root) {
      throw error(errc::bad_root, failure_parts{.what = "the archive is refused",
                                                .why = "it has two top-level entries, '" + printable(done_.root) +
                                                       "' and '" + printable(root) + "'",
                                                .remedy = "build the package from one directory"});
    }
  }

  void add_file(const std::string& path, archive_entry* entry) {
    const la_int64_t size = archive_entry_size(entry);
    if (size < 0) throw refused_entry(path, "its size is negative", "build the package again", errc::malformed);
    const auto octets = static_cast<std::uint64_t>(size);
    if (octets > opts_.limit.max_bytes - done_.bytes)
      throw error(errc::too_large,
                  failure_parts{.what = "unpacking the archive was stopped at '" + printable(path) + "'",
                                .why = "it unpacks to more than " + std::to_string(opts_.limit.max_bytes) + " bytes",
                                .remedy = "if that is right, raise the limit on bytes",
                                .path = path});
    auto parent = tree_.open(parent_of(path), true);
    const metadata m = keeper_.read(entry);
    content file(std::move(parent), path, m, octets, keeper_, sharing_);
    for (tar_reader::block piece; tar_.next_block(piece);) file.put(piece.offset, piece.bytes);
    const content_result result = file.finish();
    ++done_.files;
    done_.bytes += octets;
    done_.written += result.written;
    done_.shared += result.shared;
  }

  void add_hard_link(const std::string& path, std::string_view target_name) {
    const std::string target = normal_path(target_name, opts_.limit);
    if (target.empty() || root_of(target) != done_.root) throw refused_entry(path, "it is a hard link to outside");
    const auto target_parent = tree_.open(parent_of(target), false);
    const auto parent = tree_.open(parent_of(path), true);
    const std::string from(last_of(target)), to(last_of(path));
    if (linkat(target_parent->fd.get(), from.c_str(), parent->fd.get(), to.c_str(), 0) == 0) return;
    switch (errno) {
      case EEXIST:
        throw refused_entry(path, "the archive has another entry of this name");
      case ENOENT:
        throw refused_entry(path, "it is a hard link to '" + printable(target) + "', which does not stand before it");
      case EPERM:
        throw refused_entry(path, "it is a hard link to a directory");
      default:
        throw disk_error("cannot link", errno, path, parent->fd.get());
    }
  }

  void add_symlink(const std::string& path, archive_entry* entry) {
    const char* const raw = archive_entry_symlink(entry);
    const std::string text = raw ? raw : "";
    if (text.empty() || text.size() > 4095) throw refused_entry(path, "it is a link without or with too long a text");
    if (!text.starts_with('/')) {
      const leads where = where_link_leads(path, text);
      if (where == leads::outside) refuse_link(path, text);
      if (where == leads::unclear) note_unclear(path);
    }
    const auto parent = tree_.open(parent_of(path), true);
    const std::string name(last_of(path));
    if (symlinkat(text.c_str(), parent->fd.get(), name.c_str()) != 0) {
      if (errno == EEXIST) throw refused_entry(path, "the archive has another entry of this name");
      throw disk_error("cannot link", errno, path, parent->fd.get());
    }
    keeper_.apply_to_link(parent->fd.get(), name, keeper_.read(entry), path);
  }

  [[noreturn]] static void refuse_link(std::string_view path, std::string_view text) {
    throw refused_entry(path, "it is a link to '" + printable(text) + "', outside of the package",
                        "link to something in the package, or by an absolute path");
  }

  void note_unclear(const std::string& path) {
    constexpr std::size_t most = 1024 * 1024;
    unclear_octets_ += path.size() + sizeof path;
    if (unclear_octets_ > most)
      throw refused_entry(path, "the archive has too many links with a `..` behind a name",
                          "write the links without it", errc::too_large);
    unclear_links_.push_back(path);
  }

  // The text says `name/..`, and `name` may be a link: ask the kernel, which goes nowhere outside while it finds out.
  void check_unclear_links();

  const extract_options& opts_;
  tar_reader tar_;
  metadata_keeper keeper_;
  directories tree_;
  sharing sharing_;
  std::vector<std::string> unclear_links_;
  std::size_t unclear_octets_ = 0;
  extracted done_;
};

void extraction::check_unclear_links() {
  if (unclear_links_.empty()) return;
  const auto root = tree_.open(done_.root, false);
  for (const std::string& path : unclear_links_)
    if (link_leads_out(root->fd.get(), path.c_str() + done_.root.size() + 1))
      throw refused_entry(path, "it is a link that leads out of the package",
                          "link to something in the package, without a `..` behind a name");
}

}  // namespace

extracted extract(any_reader compressed, const unique_fd& directory, const extract_options& opts) {
  return extraction(std::move(compressed), directory.get(), opts).run();
}

}  // namespace fussy::archive
