// Unpacking, from compressed octets to a complete tree.
#include <fcntl.h>

#include "admission.hpp"
#include "content.hpp"
#include "names.hpp"
#include "tar_reader.hpp"

namespace fussy::archive {

namespace {

class extraction {
public:
  extraction(any_reader compressed, int into, const extract_options& opts)
      : admission_(opts.limit),
        tar_(bounded_inflate(std::move(compressed), opts.limit) | read_ahead{}),  // inflates while this thread writes
        keeper_(opts.keep_owner, opts.log),
        tree_(into, opts.share_with, keeper_) {}

  extracted run() {
    while (archive_entry* entry = tar_.next()) add(entry);
    tar_.finish();
    admission_.conclude();
    done_.root = admission_.root();
    done_.entries = admission_.entries();
    done_.bytes = admission_.bytes();
    check_unclear_links();
    tree_.finish();
    keeper_.summarise();
    return done_;
  }

private:
  void add(archive_entry* entry) {
    const std::string path = admission_.admit(entry);
    if (path.empty()) return;
    if (const char* target = archive_entry_hardlink(entry)) return add_hard_link(path, target);
    switch (archive_entry_filetype(entry)) {
      case AE_IFDIR:
        return tree_.add(path, keeper_.read(entry));
      case AE_IFLNK:
        return add_symlink(path, entry);
      default:
        return add_file(path, entry);
    }
  }

  void add_file(const std::string& path, archive_entry* entry) {
    const std::uint64_t octets = admission_.admit_content(path, entry);
    auto parent = tree_.open(parent_of(path), true);
    const metadata m = keeper_.read(entry);
    content file(std::move(parent), path, m, octets, keeper_, sharing_);
    for (tar_reader::block piece; tar_.next_block(piece);) file.put(piece.offset, piece.bytes);
    const content_result result = file.finish();
    ++done_.files;
    done_.written += result.written;
    done_.shared += result.shared;
  }

  void add_hard_link(const std::string& path, std::string_view target_name) {
    const std::string target = admission_.admit_hard_link(path, target_name);
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
    const std::string text = admission_.admit_symlink(path, entry);
    const auto parent = tree_.open(parent_of(path), true);
    const std::string name(last_of(path));
    if (symlinkat(text.c_str(), parent->fd.get(), name.c_str()) != 0) {
      if (errno == EEXIST) throw refused_entry(path, "the archive has another entry of this name");
      throw disk_error("cannot link", errno, path, parent->fd.get());
    }
    keeper_.apply_to_link(parent->fd.get(), name, keeper_.read(entry), path);
  }

  // The text says `name/..`, and `name` may be a link: ask the kernel, which goes nowhere outside while it finds out.
  void check_unclear_links();

  admission admission_;
  tar_reader tar_;
  metadata_keeper keeper_;
  directories tree_;
  sharing sharing_;
  extracted done_;
};

void extraction::check_unclear_links() {
  if (admission_.unclear_links().empty()) return;
  const auto root = tree_.open(done_.root, false);
  for (const std::string& path : admission_.unclear_links())
    if (link_leads_out(root->fd.get(), path.c_str() + done_.root.size() + 1))
      throw refused_entry(path, "it is a link that leads out of the package",
                          "link to something in the package, without a `..` behind a name");
}

}  // namespace

extracted extract(any_reader compressed, const unique_fd& directory, const extract_options& opts) {
  return extraction(std::move(compressed), directory.get(), opts).run();
}

}  // namespace fussy::archive
