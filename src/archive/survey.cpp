// What extract() would make of an archive, found out without writing anything.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <fussy/archive.hpp>
#include <fussy/codec.hpp>

#include <algorithm>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>

#include "admission.hpp"
#include "entry_time.hpp"
#include "metadata.hpp"
#include "names.hpp"
#include "old_file.hpp"
#include "tar_reader.hpp"

namespace fussy::archive {

namespace {

using kind = entry_info::kind;
constexpr std::uint64_t block = 4096;

std::uint64_t in_blocks(std::uint64_t bytes) noexcept { return (bytes + block - 1) / block * block; }

/// Names the compression by the octets in front, and passes them on.
class named_compression {
public:
  explicit named_compression(any_reader from) : from_(std::move(from)) {
    head_.resize(6);
    head_.resize(read_full(from_, head_));
  }
  std::string name() const {
    switch (codec::sniff(head_).value_or(codec::format::none)) {
      case codec::format::gzip:
        return "gzip";
      case codec::format::bzip2:
        return "bzip2";
      case codec::format::zstd:
        return "zstd";
      default:
        return "unknown";
    }
  }
  std::size_t read(byte_span room) {
    if (given_ == head_.size()) return from_.read(room);
    const std::size_t n = std::min(room.size(), head_.size() - given_);
    std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(given_), n, room.begin());
    given_ += n;
    return n;
  }

private:
  any_reader from_;
  byte_vector head_;
  std::size_t given_ = 0;
};

/// The tree as it would come to be: names, kinds and the texts of links.
class imagined_tree {
public:
  struct node {
    kind type = kind::directory;
    std::string text = {};  // of a symbolic link
  };

  const node* find(const std::string& path) const {
    const auto found = nodes_.find(path);
    return found == nodes_.end() ? nullptr : &found->second;
  }
  bool has(const std::string& path) const { return nodes_.contains(path); }

  void add_directory(const std::string& path) {
    make_parents(path);
    node& d = nodes_[path];
    if (d.type != kind::directory) throw refused_entry(path, "the archive has another entry of this name");
  }
  void add(const std::string& path, node what) {
    make_parents(path);
    if (!nodes_.emplace(path, std::move(what)).second)
      throw refused_entry(path, "the archive has another entry of this name");
  }

  std::uint64_t directories() const {
    return static_cast<std::uint64_t>(
        std::count_if(nodes_.begin(), nodes_.end(), [](const auto& n) { return n.second.type == kind::directory; }));
  }

  /// Whether the symbolic link at `path` leads out of the root, by way of all links on its way.
  bool leads_out(const std::string& path) const {
    std::deque<std::string> todo;
    std::vector<std::string> at;
    split(path, todo);
    for (int links = 0; !todo.empty();) {
      const std::string part = std::move(todo.front());
      todo.pop_front();
      if (part == "..") {
        if (at.size() <= 1) return true;
        at.pop_back();
        continue;
      }
      at.push_back(part);
      const node* const n = find(joined(at));
      if (!n || n->type != kind::symbolic_link) continue;
      if (n->text.starts_with('/') || ++links > 40) return true;
      at.pop_back();
      std::deque<std::string> inner;
      split(n->text, inner);
      todo.insert(todo.begin(), inner.begin(), inner.end());
    }
    return false;
  }

private:
  void make_parents(const std::string& path) {
    for (std::size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      const std::string parent = path.substr(0, slash);
      if (nodes_[parent].type != kind::directory)
        throw refused_entry(parent, "entries lie below it, but it is no directory");
    }
  }
  static void split(std::string_view text, std::deque<std::string>& parts) {
    parts.clear();
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('/'), text.size());
      if (const std::string_view part = text.substr(0, end); !part.empty() && part != ".") parts.emplace_back(part);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }
  static std::string joined(const std::vector<std::string>& parts) {
    std::string path;
    for (const std::string& part : parts) path.append(path.empty() ? "" : "/").append(part);
    return path;
  }

  std::unordered_map<std::string, node> nodes_;
};

/// Directories of the tree to share with, by path, no link followed. One is kept: entries come directory by directory.
class old_tree {
public:
  explicit old_tree(int root) : root_(root) {}

  /// Valid until the next call; -1: there is none.
  int directory_of(std::string_view path) {
    const std::string_view parent = parent_of(path);
    if (known_ && parent == path_) return at();
    known_ = true;
    path_ = parent;
    fd_.reset();
    missing_ = root_ < 0;
    std::string_view rest = parent;
    rest.remove_prefix(std::min(root_of(rest).size() + 1, rest.size()));  // the root's name may differ
    while (!rest.empty() && !missing_) {
      const std::string name(root_of(rest));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      fd_ = unique_fd(::openat(at(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      missing_ = !fd_;
    }
    return at();
  }

private:
  int at() const noexcept { return missing_ ? -1 : fd_ ? fd_.get() : root_; }

  int root_;
  bool known_ = false, missing_ = false;
  std::string path_;
  unique_fd fd_;
};

class survey_of {
public:
  survey_of(named_compression compressed, const survey_options& opts)
      : opts_(opts),
        admission_(opts.limit),
        keeper_(true, no_log_),
        old_(opts.share_with),
        done_{.compression = compressed.name()},
        tar_(bounded_inflate(std::move(compressed), opts.limit)) {
    keeper_.set_defaults({.uid = ::geteuid(), .gid = ::getegid()});
  }

  surveyed run() {
    while (archive_entry* entry = tar_.next()) add(entry);
    tar_.finish();
    admission_.conclude();
    for (const std::string& path : admission_.unclear_links())
      if (tree_.leads_out(path))
        throw refused_entry(path, "it is a link that leads out of the package",
                            "link to something in the package, without a `..` behind a name");
    find_removed();
    done_.root = admission_.root();
    done_.entries = admission_.entries();
    done_.bytes = admission_.bytes();
    done_.directories = tree_.directories();
    done_.needed_bytes += done_.directories * block;
    done_.needed_inodes += done_.directories;
    return std::move(done_);
  }

private:
  void add(archive_entry* entry) {
    entry_info info{.path = admission_.admit(entry)};
    if (info.path.empty()) return;
    info.mode = static_cast<std::uint32_t>(archive_entry_perm(entry));
    info.mtime = archive_entry_mtime_is_set(entry) ? modification_time(entry) : 0;
    if (const char* target = archive_entry_hardlink(entry)) {
      add_hard_link(info, target);
    } else if (archive_entry_filetype(entry) == AE_IFDIR) {
      info.type = kind::directory;
      static_cast<void>(keeper_.read(entry));  // refuses what no file can have
      tree_.add_directory(info.path);
    } else if (archive_entry_filetype(entry) == AE_IFLNK) {
      add_symlink(info, entry);
    } else {
      add_file(info, entry);
    }
    if (info.becomes) count(*info.becomes, info.size);
    if (opts_.on_entry) opts_.on_entry(info);
  }

  void add_file(entry_info& info, archive_entry* entry) {
    info.size = admission_.admit_content(info.path, entry);
    tree_.add(info.path, {.type = kind::file});
    ++done_.files;
    const auto [becomes, data] = compare_file(info, keeper_.read(entry));
    info.becomes = becomes;
    if (becomes == change::unchanged) return;
    done_.needed_bytes += in_blocks(data);
    done_.needed_inodes += 1;
    if (becomes == change::added || !opts_.reflinks) done_.certain_bytes += data;
  }

  /// @return what becomes of it, and its octets without holes
  std::pair<change, std::uint64_t> compare_file(const entry_info& info, const metadata& wanted) {
    const int directory = old_.directory_of(info.path);
    const std::string name(last_of(info.path));
    const old_file old = directory < 0 ? old_file() : old_file(directory, name.c_str(), info.path);
    bool equal = old && old.size() == info.size;
    std::uint64_t position = 0, data = 0;
    for (tar_reader::block piece; tar_.next_block(piece);) {
      equal = equal && old.continues(position, piece.offset, piece.bytes);
      position = piece.offset + piece.bytes.size();
      data += piece.bytes.size();
    }
    if (!old) return {is_there(directory, name) ? change::changed : change::added, data};
    if (!equal || !old.is_zero(position, info.size)) return {change::changed, data};
    return {keeper_.equal(old.fd(), old.stat(), wanted) ? change::unchanged : change::touched, data};
  }

  void add_symlink(entry_info& info, archive_entry* entry) {
    info.type = kind::symbolic_link;
    static_cast<void>(keeper_.read(entry));
    info.link = admission_.admit_symlink(info.path, entry);
    tree_.add(info.path, {.type = kind::symbolic_link, .text = info.link});
    ++done_.links;
    done_.needed_inodes += 1;
    const int directory = old_.directory_of(info.path);
    char text[4096];
    const std::string name(last_of(info.path));
    const ssize_t length = directory < 0 ? -1 : ::readlinkat(directory, name.c_str(), text, sizeof text);
    if (length < 0)
      info.becomes = is_there(directory, name) ? change::changed : change::added;
    else
      info.becomes =
          std::string_view(text, static_cast<std::size_t>(length)) == info.link ? change::unchanged : change::changed;
  }

  void add_hard_link(entry_info& info, std::string_view target_name) {
    info.type = kind::hard_link;
    info.link = admission_.admit_hard_link(info.path, target_name);
    const imagined_tree::node* const target = tree_.find(info.link);
    if (!target)
      throw refused_entry(info.path,
                          "it is a hard link to '" + printable(info.link) + "', which does not stand before it");
    if (target->type == kind::directory) throw refused_entry(info.path, "it is a hard link to a directory");
    tree_.add(info.path, *target);
    ++done_.links;
    info.becomes = same_inode(info.path, info.link)                                          ? change::unchanged
                   : is_there(old_.directory_of(info.path), std::string(last_of(info.path))) ? change::changed
                                                                                             : change::added;
  }

  static bool is_there(int directory, const std::string& name, struct stat* st = nullptr) {
    struct stat unused {};
    return directory >= 0 && ::fstatat(directory, name.c_str(), st ? st : &unused, AT_SYMLINK_NOFOLLOW) == 0;
  }
  bool same_inode(const std::string& left, const std::string& right) {
    struct stat a {
    }, b{};
    return is_there(old_.directory_of(left), std::string(last_of(left)), &a) &&
           is_there(old_.directory_of(right), std::string(last_of(right)), &b) && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
  }

  void count(change c, std::uint64_t bytes) {
    surveyed::count& sum = c == change::added     ? done_.added
                           : c == change::changed ? done_.changed
                           : c == change::touched ? done_.touched
                           : c == change::removed ? done_.removed
                                                  : done_.unchanged;
    sum.files += 1;
    sum.bytes += bytes;
  }

  /// Everything of the old tree that the archive does not name.
  void find_removed() {
    if (opts_.share_with < 0) return;
    std::deque<std::string> todo{admission_.root()};
    for (; !todo.empty(); todo.pop_front()) {
      const std::string& parent = todo.front();
      const int directory = old_.directory_of(parent + "/");
      if (directory < 0) continue;
      unique_fd again(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      const std::unique_ptr<DIR, int (*)(DIR*)> stream(again ? ::fdopendir(again.get()) : nullptr, ::closedir);
      if (!stream) continue;
      const int here = again.release();
      while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        struct stat st {};
        if (name == "." || name == ".." || !is_there(here, name, &st)) continue;
        const std::string path = parent + "/" + name;
        if (S_ISDIR(st.st_mode))
          todo.push_back(path);
        else if (!tree_.has(path))
          note_removed(path, st);
      }
    }
  }

  void note_removed(const std::string& path, const struct stat& st) {
    entry_info info{.path = path,
                    .type = S_ISLNK(st.st_mode) ? kind::symbolic_link : kind::file,
                    .mode = st.st_mode & 07777U,
                    .size = S_ISREG(st.st_mode) ? static_cast<std::uint64_t>(st.st_size) : 0,
                    .mtime = st.st_mtim.tv_sec,
                    .becomes = change::removed};
    count(change::removed, info.size);
    if (opts_.on_entry) opts_.on_entry(info);
  }

  const survey_options& opts_;
  const log_sink no_log_{};
  admission admission_;
  metadata_keeper keeper_;
  imagined_tree tree_;
  old_tree old_;
  surveyed done_;
  tar_reader tar_;
};

}  // namespace

surveyed survey(any_reader compressed, const survey_options& opts) {
  return survey_of(named_compression(std::move(compressed)), opts).run();
}

}  // namespace fussy::archive
