#include "directories.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <numeric>

#include "names.hpp"
#include "posix_acl.hpp"

namespace fussy::archive {

namespace {

constexpr std::size_t kept_open = 16;
// Memory for what is applied at the end; an application has some thousand directories, this is enough for 150,000.
constexpr std::size_t noted_octets_max = 24 * 1024 * 1024;
constexpr mode_t while_filled = 0700, root_probe = 0777, unnamed_mode = 0755;

unique_fd open_directory(int parent, const std::string& name, int flags) {
  return unique_fd(
      retry_eintr([&] { return openat(parent, name.c_str(), flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
}

unique_fd duplicate(int fd) { return unique_fd(fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

}  // namespace

directories::directories(int staging, int share_with, metadata_keeper& keeper) : keeper_(keeper) {
  auto base = std::make_shared<directory>();
  base->fd = duplicate(staging);
  base->old = duplicate(share_with);
  if (!base->fd || (share_with >= 0 && !base->old))
    throw disk_error("cannot use the descriptor of", errno, "the directory", staging);
  staging_ = std::move(base);
}

std::shared_ptr<const directory> directories::cached(std::string_view path) {
  if (path.empty()) return staging_;
  const auto found = std::find_if(open_.begin(), open_.end(), [&](const auto& d) { return d->path == path; });
  if (found == open_.end()) return nullptr;
  open_.splice(open_.begin(), open_, found);
  return open_.front();
}

std::shared_ptr<const directory> directories::open(std::string_view path, bool create) {
  // Up to the nearest one that is open, then down again.
  std::string_view at = path;
  std::shared_ptr<const directory> d = cached(at);
  while (!d) {
    at = parent_of(at);
    d = cached(at);
  }
  while (at.size() < path.size()) {
    const std::size_t slash = path.find('/', at.empty() ? 0 : at.size() + 1);
    at = path.substr(0, slash);
    d = open_child(*d, at, create);
  }
  return d;
}

std::shared_ptr<const directory> directories::open_child(const directory& parent, std::string_view path, bool create) {
  const std::string name(last_of(path));
  auto child = std::make_shared<directory>();
  child->path = path;
  child->fd = open_directory(parent.fd.get(), name, O_RDONLY);
  if (!child->fd && errno == ENOENT && create) {
    make(parent, name, path);
    remember(path, {.mode = unnamed_mode});
    child->fd = open_directory(parent.fd.get(), name, O_RDONLY);
  }
  if (!child->fd) {
    if (errno == ENOTDIR || errno == ELOOP) throw refused_entry(path, "entries lie below it, but it is no directory");
    if (errno == ENOENT) throw refused_entry(path, "the archive has no such directory");
    throw disk_error("cannot open", errno, path, parent.fd.get());
  }
  if (parent.old)
    child->old = parent.path.empty() ? duplicate(parent.old.get()) : open_directory(parent.old.get(), name, O_PATH);
  open_.push_front(std::move(child));
  if (open_.size() > kept_open) open_.pop_back();
  return open_.front();
}

// @return whether it was missing
bool directories::make(const directory& parent, const std::string& name, std::string_view path) {
  const bool is_root = parent.path.empty();
  if (mkdirat(parent.fd.get(), name.c_str(), is_root ? root_probe : while_filled) != 0) {
    if (errno == EEXIST) return false;
    throw disk_error("cannot make the directory", errno, path, parent.fd.get());
  }
  ++made_;
  if (is_root) learn_defaults(parent, name);
  return true;
}

// What the process and the file system make of a new file: its umask, group, time. Looked at instead of asked for: the
// umask of a process cannot be asked for without setting it, and groups may come from the directory.
void directories::learn_defaults(const directory& staging, const std::string& root) {
  const unique_fd fd = open_directory(staging.fd.get(), root, O_RDONLY);
  struct stat st;
  const timespec probe[2] = {{0, UTIME_OMIT}, {1'000'000'000, 123'456'789}};
  if (!fd) throw disk_error("cannot open", errno, root, staging.fd.get());
  // A default ACL of the target would be handed down to every file.
  fremovexattr(fd.get(), acl_default_name);
  fremovexattr(fd.get(), acl_access_name);
  if (fstat(fd.get(), &st) != 0) throw disk_error("cannot look at", errno, root, fd.get());
  fresh_defaults d{.umask = root_probe & ~st.st_mode, .uid = st.st_uid, .gid = st.st_gid};
  if (futimens(fd.get(), probe) == 0 && fstat(fd.get(), &st) == 0)
    d.nanoseconds = st.st_mtim.tv_nsec == probe[1].tv_nsec;
  keeper_.set_defaults(d);
}

void directories::add(std::string_view path, metadata m) {
  const auto parent = open(parent_of(path), true);
  const std::string name(last_of(path));
  if (!make(*parent, name, path)) {
    // Twice the same directory is one directory; the later entry says what it is like.
    struct stat st;
    if (fstatat(parent->fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      throw disk_error("cannot look at", errno, path, parent->fd.get());
    if (!S_ISDIR(st.st_mode)) throw refused_entry(path, "the archive has another entry of this name");
  }
  remember(path, std::move(m));
}

void directories::remember(std::string_view path, metadata m) {
  noted_octets_ += path.size() + sizeof(note);
  for (const attribute& a : m.attributes) noted_octets_ += sizeof a + a.name.size() + a.value.size();
  if (noted_octets_ > noted_octets_max)
    throw refused_entry(path, "the archive has too many directories, or too many attributes on them",
                        "split the package", errc::too_large);
  notes_.push_back({paths_.size(), path.size(), std::move(m)});
  paths_ += path;
}

void directories::finish() {
  std::vector<std::uint32_t> order(notes_.size());
  std::iota(order.begin(), order.end(), 0U);
  // A path sorts behind its parent's, so descending order has the deepest first; of equal ones the last entry counts.
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::string_view left = path_of(notes_[a]), right = path_of(notes_[b]);
    return left != right ? left > right : a > b;
  });
  std::string_view last;
  for (std::uint32_t i : order) {
    const note& n = notes_[i];
    const std::string_view path = path_of(n);
    if (path == last) continue;
    last = path;
    const auto d = open(path, false);
    keeper_.apply(d->fd.get(), n.meta, path == root_of(path) ? root_probe : while_filled, path);
  }
}

}  // namespace fussy::archive
