// Packing: the tree of a directory as a pax tar that is the same on every run.
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <fussy/archive.hpp>

#include <algorithm>
#include <exception>
#include <map>

#include "entry_time.hpp"
#include "names.hpp"
#include "posix_acl.hpp"

namespace fussy::archive {

namespace {

struct free_write {
  void operator()(struct ::archive* a) const noexcept { archive_write_free(a); }
};
struct free_entry {
  void operator()(archive_entry* e) const noexcept { archive_entry_free(e); }
};

error cannot_read(std::string_view path, int number) {
  return system_error("cannot pack", number, std::string(path), "make it readable, or exclude it");
}

std::vector<std::string> sorted_names(int directory, std::string_view path) {
  const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const dir = copy < 0 ? nullptr : fdopendir(copy);
  if (!dir) {
    const int number = errno;
    if (copy >= 0) close(copy);
    throw cannot_read(path, number);
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* d = readdir(dir)) {
    const std::string_view name = d->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  const int number = errno;
  closedir(dir);
  if (number != 0) throw cannot_read(path, number);
  std::sort(names.begin(), names.end());
  return names;
}

class packing {
public:
  packing(any_writer& to, const create_options& opts)
      : to_(to), opts_(opts), utf8_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)), archive_(archive_write_new()) {
    if (!archive_) throw std::bad_alloc();
    // "Restricted" pax: plain ustar headers, extended ones only where an entry needs them.
    check(archive_write_set_format_pax_restricted(archive_.get()));
    check(archive_write_set_options(archive_.get(), "xattrheader=SCHILY"));
    check(archive_write_set_bytes_per_block(archive_.get(), static_cast<int>(buffer_size)));
    check(archive_write_set_bytes_in_last_block(archive_.get(), 512));
    if (utf8_) before_ = uselocale(utf8_);  // names go into pax headers as they are
    check(archive_write_open(archive_.get(), this, nullptr, take_block, nullptr));
  }
  ~packing() {
    // Given up half-way: libarchive writes its end all the same, into nothing. (archive_write_fail() would say so to
    // it, but then libarchive 3.6 frees less than it has.)
    discard_ = discard_ || !closed_;
    archive_.reset();
    if (before_) uselocale(before_);
    if (utf8_) freelocale(utf8_);
  }
  packing(const packing&) = delete;
  packing& operator=(const packing&) = delete;

  void run(const std::filesystem::path& root, const std::string& name) {
    check_root_name(name);
    top_ = unique_fd(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!top_) throw cannot_read(root.native(), errno);
    struct stat st;
    if (fstat(top_.get(), &st) != 0) throw cannot_read(root.native(), errno);
    write_header(top_.get(), nullptr, name, st);
    add_children(top_.get(), name);
    closed_ = true;
    check(archive_write_close(archive_.get()));
  }

private:
  static constexpr std::size_t buffer_size = 256 * 1024;

  static la_ssize_t take_block(struct ::archive*, void* self, const void* data, std::size_t size) {
    auto& me = *static_cast<packing*>(self);
    try {
      if (!me.discard_) me.to_.write({static_cast<const std::byte*>(data), size});
    } catch (...) {
      me.problem_ = std::current_exception();  // must not cross libarchive's C frames; check() throws it behind them
      me.discard_ = true;
    }
    return static_cast<la_ssize_t>(size);
  }

  void check(la_ssize_t status) {
    if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
    if (status >= ARCHIVE_OK) return;
    const char* text = archive_error_string(archive_.get());
    // A name that is no UTF-8 is written as it is, and marked as such: nothing is lost by that warning.
    if (status == ARCHIVE_WARN) return log(opts_.log, log_level::debug, text ? text : "");
    throw error(errc::failure,
                failure_parts{.what = "cannot write the archive", .why = text ? text : "libarchive failed"});
  }

  void add_children(int directory, const std::string& path) {
    for (const std::string& name : sorted_names(directory, path)) {
      const std::string child = path + "/" + name;
      if (!is_excluded(opts_.exclude, child)) add(directory, name, child);
    }
  }

  void add(int directory, const std::string& name, const std::string& path) {
    struct stat st;
    if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) throw cannot_read(path, errno);
    if (S_ISSOCK(st.st_mode)) return log(opts_.log, log_level::warning, printable(path) + ": a socket is not packed");
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
      throw refused_entry(path, "it is a device or a named pipe, which no package may have",
                          "remove it, or exclude it");
    log(opts_.log, log_level::debug, path);
    if (S_ISLNK(st.st_mode)) return add_link(link_text(directory, name, path, st), path, st);
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (S_ISDIR(st.st_mode) ? O_DIRECTORY : 0);
    const unique_fd fd(openat(directory, name.c_str(), flags));
    struct stat opened;
    if (!fd || fstat(fd.get(), &opened) != 0) throw cannot_read(path, errno);
    if (opened.st_ino != st.st_ino || opened.st_dev != st.st_dev) throw changed(path);
    if (S_ISDIR(st.st_mode)) {
      write_header(fd.get(), nullptr, path, opened);
      return add_children(fd.get(), path);
    }
    if (st.st_nlink > 1) {
      const auto [first, is_new] = seen_.try_emplace({st.st_dev, st.st_ino}, path);
      if (!is_new) return write_hard_link(first->second, path, opened);
    }
    write_header(fd.get(), nullptr, path, opened);
    write_content(fd.get(), path, opened);
  }

  void add_link(const std::string& text, const std::string& path, const struct stat& st) {
    const leads where = text.starts_with('/') ? leads::inside : where_link_leads(path, text);
    const char* const below_root = path.c_str() + path.find('/') + 1;
    if (where == leads::outside || (where == leads::unclear && link_leads_out(top_.get(), below_root)))
      throw refused_entry(path, "it is a link to '" + printable(text) + "', outside of the package",
                          "link to something in the package, or by an absolute path");
    write_header(-1, text.c_str(), path, st);
  }

  static std::string link_text(int directory, const std::string& name, const std::string& path, const struct stat& st) {
    std::string text(static_cast<std::size_t>(st.st_size) + 1, '\0');
    const ssize_t n = readlinkat(directory, name.c_str(), text.data(), text.size());
    if (n < 0) throw cannot_read(path, errno);
    if (static_cast<std::size_t>(n) == text.size()) throw changed(path);
    text.resize(static_cast<std::size_t>(n));
    return text;
  }

  static error changed(const std::string& path) {
    return error(errc::io, failure_parts{.what = "cannot pack " + printable(path),
                                         .why = "it changed while it was read",
                                         .remedy = "stop what writes to it, then retry",
                                         .path = path});
  }

  std::unique_ptr<archive_entry, free_entry> entry_for(const std::string& path, const struct stat& st) {
    std::unique_ptr<archive_entry, free_entry> entry(archive_entry_new());
    if (!entry) throw std::bad_alloc();
    archive_entry_copy_pathname(entry.get(), path.c_str());
    archive_entry_set_mode(entry.get(), st.st_mode);
    archive_entry_set_uid(entry.get(), opts_.root_owner ? 0 : st.st_uid);
    archive_entry_set_gid(entry.get(), opts_.root_owner ? 0 : st.st_gid);
    // Whole seconds, as tar has it: a finer time would need an extended header for every single file.
    std::int64_t time = st.st_mtim.tv_sec;
    if (opts_.clamp_mtime) time = std::min(time, *opts_.clamp_mtime);
    set_modification_time(entry.get(), time);
    archive_entry_set_size(entry.get(), S_ISREG(st.st_mode) ? st.st_size : 0);
    return entry;
  }

  void write_header(int fd, const char* link, const std::string& path, const struct stat& st) {
    const auto entry = entry_for(S_ISDIR(st.st_mode) ? path + "/" : path, st);
    if (link) archive_entry_copy_symlink(entry.get(), link);
    if (fd >= 0) add_attributes(fd, entry.get(), path);
    if (fd >= 0 && S_ISREG(st.st_mode)) add_holes(fd, entry.get(), st);
    check(archive_write_header(archive_.get(), entry.get()));
  }

  void write_hard_link(const std::string& target, const std::string& path, const struct stat& st) {
    const auto entry = entry_for(path, st);
    archive_entry_copy_hardlink(entry.get(), target.c_str());
    archive_entry_set_size(entry.get(), 0);
    check(archive_write_header(archive_.get(), entry.get()));
  }

  void add_attributes(int fd, archive_entry* entry, const std::string& path) {
    const ssize_t size = flistxattr(fd, nullptr, 0);
    if (size <= 0) return;
    std::string names(static_cast<std::size_t>(size), '\0');
    const ssize_t got = flistxattr(fd, names.data(), names.size());
    if (got < 0) throw cannot_read(path, errno);
    names.resize(static_cast<std::size_t>(got));
    std::vector<std::string> sorted;
    for (std::size_t at = 0; at < names.size(); at += sorted.back().size() + 1) sorted.emplace_back(names.c_str() + at);
    std::sort(sorted.begin(), sorted.end());
    for (const std::string& name : sorted) add_attribute(fd, entry, name, path);
  }

  void add_attribute(int fd, archive_entry* entry, const std::string& name, const std::string& path) {
    // What the security module of this machine wrote says nothing about the device.
    if (name.starts_with("security.") && name != "security.capability") return;
    const ssize_t size = fgetxattr(fd, name.c_str(), nullptr, 0);
    if (size < 0) return;  // trusted.* and others that are not for us to read
    std::string value(static_cast<std::size_t>(size), '\0');
    if (fgetxattr(fd, name.c_str(), value.data(), value.size()) != size) throw changed(path);
    if (name == acl_access_name)
      add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, value);
    else if (name == acl_default_name)
      add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, value);
    else
      archive_entry_xattr_add_entry(entry, name.c_str(), value.data(), value.size());
  }

  static void add_holes(int fd, archive_entry* entry, const struct stat& st) {
    if (st.st_size == 0 || static_cast<std::uint64_t>(st.st_blocks) * 512 >= static_cast<std::uint64_t>(st.st_size))
      return;
    std::vector<std::pair<off_t, off_t>> extents;
    for (off_t at = 0; at < st.st_size;) {
      const off_t data = lseek(fd, at, SEEK_DATA);
      if (data < 0) break;
      const off_t hole = std::min<off_t>(lseek(fd, data, SEEK_HOLE), st.st_size);
      extents.emplace_back(data, hole - data);
      at = hole;
    }
    const bool no_hole = extents.size() == 1 && extents[0].first == 0 && extents[0].second == st.st_size;
    // Every extent costs the reader memory; a file in so many pieces is packed whole.
    constexpr std::size_t most = 10'000;
    if (no_hole || extents.size() > most) return;
    for (const auto& [offset, length] : extents) archive_entry_sparse_add_entry(entry, offset, length);
    if (extents.empty() || extents.back().first + extents.back().second < st.st_size)
      archive_entry_sparse_add_entry(entry, st.st_size, 0);
  }

  void write_content(int fd, const std::string& path, const struct stat& st) {
    for (off_t at = 0; at < st.st_size;) {
      const auto size = static_cast<std::size_t>(std::min<off_t>(st.st_size - at, static_cast<off_t>(buffer_size)));
      const ssize_t n = retry_eintr([&] { return pread(fd, buffer_.get(), size, at); });
      if (n < 0) throw cannot_read(path, errno);
      if (n == 0) throw changed(path);
      check(archive_write_data(archive_.get(), buffer_.get(), static_cast<std::size_t>(n)));
      at += n;
    }
    struct stat now;
    if (fstat(fd, &now) != 0) throw cannot_read(path, errno);
    if (now.st_size != st.st_size || now.st_mtim.tv_sec != st.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != st.st_mtim.tv_nsec)
      throw changed(path);
  }

  any_writer& to_;
  const create_options& opts_;
  unique_fd top_;
  locale_t utf8_ = nullptr, before_ = nullptr;
  std::unique_ptr<struct ::archive, free_write> archive_;
  std::unique_ptr<std::byte[]> buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
  std::map<std::pair<dev_t, ino_t>, std::string> seen_;
  std::exception_ptr problem_;
  bool closed_ = false;
  bool discard_ = false;  // what is still written goes nowhere
};

}  // namespace

void create(any_writer& to, const std::filesystem::path& root, const std::string& name, const create_options& opts) {
  packing(to, opts).run(root, name);
}

}  // namespace fussy::archive
