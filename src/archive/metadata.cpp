#include "metadata.hpp"

#include <archive.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <fussy/io.hpp>

#include <algorithm>

#include "entry_time.hpp"
#include "names.hpp"
#include "posix_acl.hpp"

namespace fussy::archive {

namespace {

constexpr mode_t permission_bits = 0777, special_bits = S_ISUID | S_ISGID;

bool is_acl(std::string_view name) { return name == acl_access_name || name == acl_default_name; }

// Set by the kernel or its security module by itself: a difference in them is not ours to see unless the archive has
// them.
bool is_set_by_system(std::string_view name) {
  return name == "security.selinux" || name == "security.SMACK64" || name == "security.apparmor" ||
         name == "security.ima" || name == "security.evm";
}

// "cannot be kept here", rather than a failing disk
bool means_unsupported(int number) {
  return number == ENOTSUP || number == EPERM || number == EINVAL || number == E2BIG || number == ERANGE ||
         number == EACCES;
}

std::vector<attribute> attributes_of(int fd) {
  std::string names;
  for (;;) {
    const ssize_t size = flistxattr(fd, nullptr, 0);
    if (size <= 0) return {};
    names.resize(static_cast<std::size_t>(size));
    const ssize_t got = flistxattr(fd, names.data(), names.size());
    if (got < 0 && errno == ERANGE) continue;
    names.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    break;
  }
  std::vector<attribute> all;
  for (std::string_view rest = names; !rest.empty();) {
    attribute a{std::string(rest.substr(0, rest.find('\0'))), {}};
    rest.remove_prefix(std::min(rest.size(), a.name.size() + 1));
    const ssize_t size = fgetxattr(fd, a.name.c_str(), nullptr, 0);
    if (size < 0) continue;
    a.value.resize(static_cast<std::size_t>(size));
    const ssize_t got = fgetxattr(fd, a.name.c_str(), a.value.data(), a.value.size());
    if (got < 0) continue;
    a.value.resize(static_cast<std::size_t>(got));
    all.push_back(std::move(a));
  }
  std::sort(all.begin(), all.end());
  return all;
}

void read_attributes(archive_entry* entry, metadata& m) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
    if (name) m.attributes.push_back({name, std::string(static_cast<const char*>(value), size)});
}

}  // namespace

error disk_error(std::string what, int number, std::string_view path, int fd, std::uint64_t needed) {
  const errc code = number == EROFS ? errc::target_unusable : number == ENOENT ? errc::io : errc_of_errno(number);
  failure_parts parts{.what = what.append(" ").append(printable(path)),
                      .why = errno_text(number),
                      .remedy = {},
                      .path = std::string(path),
                      .system = number};
  struct statvfs fs;
  if (code == errc::no_space && fstatvfs(fd, &fs) == 0) {
    const std::uint64_t free = std::uint64_t{fs.f_bavail} * fs.f_frsize;
    if (needed > 0) parts.why += ": " + std::to_string(needed) + " bytes of this file are still to be written,";
    parts.why += (needed > 0 ? " " : ": ") + std::to_string(free) + " bytes and " + std::to_string(fs.f_favail) +
                 " inodes are free";
    parts.remedy = "remove old versions (fussy-clean) or other files, then retry";
  } else if (code == errc::resource_limit) {
    parts.remedy = number == EFBIG ? "raise the limit of the size of files (ulimit -f), then retry"
                                   : "raise the limit of open files (ulimit -n), then retry";
  } else if (code == errc::target_unusable) {
    parts.remedy = "mount the file system for writing";
  } else {
    parts.remedy = "look at the file system and the kernel's log";
  }
  return error(code, std::move(parts));
}

void keeper_of_warnings::add(const std::string& kind, std::string_view path, int number) {
  if (++counts_[kind] > 1) return;
  log(sink_, log_level::warning,
      kind + " cannot be kept" + (path.empty() ? "" : " for " + printable(path)) + ": " + errno_text(number));
}

void keeper_of_warnings::summarise() const {
  for (const auto& [kind, count] : counts_)
    if (count > 1) log(sink_, log_level::warning, kind + " was lost for " + std::to_string(count) + " entries in all");
}

metadata_keeper::metadata_keeper(bool keep_owner, const log_sink& sink)
    : keep_owner_(keep_owner && geteuid() == 0), warnings_(sink) {}

metadata metadata_keeper::read(archive_entry* entry) {
  const char* path = archive_entry_pathname(entry);
  metadata m;
  m.mode = static_cast<mode_t>(archive_entry_perm(entry)) & 07777;
  if (keep_owner_) {
    const la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
      throw refused_entry(path, "its owner is no number that a file can have", "build the package again",
                          errc::malformed);
    m.uid = static_cast<uid_t>(uid);
    m.gid = static_cast<gid_t>(gid);
  } else {
    m.mode &= ~special_bits;  // they would give the rights of another user than was meant
  }
  if (archive_entry_mtime_is_set(entry))
    m.mtime = {modification_time(entry), std::clamp(archive_entry_mtime_nsec(entry), 0L, 999'999'999L)};
  read_attributes(entry, m);
  for (const auto& [type, name] : {std::pair(ARCHIVE_ENTRY_ACL_TYPE_ACCESS, acl_access_name),
                                   std::pair(ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, acl_default_name)}) {
    std::string unknown;
    if (auto value = acl_of(entry, type, unknown)) m.attributes.push_back({name, std::move(*value)});
    if (!unknown.empty())
      warnings_.add("the ACL entry of '" + printable(unknown) + "', whom this machine does not know,", path, EINVAL);
  }
  std::sort(m.attributes.begin(), m.attributes.end());
  for (const attribute& a : m.attributes)
    if (a.name == acl_access_name) m.mode = (m.mode & ~permission_bits) | mode_of_acl(a.value, true);
  return m;
}

bool metadata_keeper::attribute_is_lost(const std::string& name) const {
  return std::find(lost_attributes_.begin(), lost_attributes_.end(), name) != lost_attributes_.end();
}

bool metadata_keeper::is_owner_given(const metadata& m) const noexcept {
  return m.uid != metadata::as_created && (m.uid != defaults_.uid || m.gid != defaults_.gid);
}

// @return whether the owner is what the metadata says
bool metadata_keeper::own(int fd, int parent, const char* name, const metadata& m, std::string_view path) {
  if (!is_owner_given(m)) return true;
  const int status = fd >= 0 ? fchown(fd, m.uid, m.gid) : fchownat(parent, name, m.uid, m.gid, AT_SYMLINK_NOFOLLOW);
  if (status == 0) return true;
  if (errno != EPERM && errno != EINVAL)
    throw disk_error("cannot set the owner of", errno, path, fd >= 0 ? fd : parent);
  warnings_.add("the owner", path, errno);
  return false;
}

// @return whether it is set; a failing disk throws
bool metadata_keeper::set_attribute(int fd, const attribute& a, std::string_view path) {
  if (fsetxattr(fd, a.name.c_str(), a.value.data(), a.value.size(), 0) == 0) return true;
  struct statvfs fs;
  // ext4 says ENOSPC also when one attribute is too large for it
  const bool too_large = errno == ENOSPC && fstatvfs(fd, &fs) == 0 && fs.f_bavail > 0;
  const int number = too_large ? E2BIG : errno;
  if (!means_unsupported(number))
    throw disk_error("cannot set the attribute " + printable(a.name) + " of", number, path, fd);
  warnings_.add("the extended attribute " + printable(a.name), path, number);
  if (!attribute_is_lost(a.name)) lost_attributes_.push_back(a.name);
  return false;
}

void metadata_keeper::apply(int fd, const metadata& m, mode_t created_mode, std::string_view path) {
  mode_t mode = m.mode;
  const bool chowned = is_owner_given(m);
  if (!own(fd, -1, nullptr, m, path)) mode &= ~special_bits;
  for (const attribute& a : m.attributes)
    if (!set_attribute(fd, a, path) && a.name == acl_access_name)
      mode = (mode & ~permission_bits) | mode_of_acl(a.value, false);
  const bool as_created = mode == (created_mode & ~defaults_.umask) && mode <= permission_bits;
  if (!as_created || (chowned && mode > permission_bits) || !m.attributes.empty())
    if (fchmod(fd, mode) != 0) throw disk_error("cannot set the mode of", errno, path, fd);
  if (m.mtime.tv_nsec != UTIME_OMIT) {
    const timespec times[2] = {{0, UTIME_OMIT}, m.mtime};
    if (futimens(fd, times) != 0) throw disk_error("cannot set the time of", errno, path, fd);
  }
}

void metadata_keeper::apply_to_link(int parent, const std::string& name, const metadata& m, std::string_view path) {
  own(-1, parent, name.c_str(), m, path);
  // There is no descriptor of a link that attributes could be set through, only a path that ends in it.
  const std::string by_path = "/proc/self/fd/" + std::to_string(parent) + "/" + name;
  for (const attribute& a : m.attributes)
    if (!is_acl(a.name) && lsetxattr(by_path.c_str(), a.name.c_str(), a.value.data(), a.value.size(), 0) != 0)
      warnings_.add("the extended attribute " + printable(a.name), path, errno);
  if (m.mtime.tv_nsec == UTIME_OMIT) return;
  const timespec times[2] = {{0, UTIME_OMIT}, m.mtime};
  if (utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    throw disk_error("cannot set the time of", errno, path, parent);
}

bool metadata_keeper::equal(int fd, const struct stat& st, const metadata& m) const {
  const bool ours = m.uid == metadata::as_created;
  if (st.st_uid != (ours ? defaults_.uid : m.uid) || st.st_gid != (ours ? defaults_.gid : m.gid)) return false;
  if ((st.st_mode & 07777) != m.mode) return false;
  const long nanoseconds = defaults_.nanoseconds ? m.mtime.tv_nsec : 0;
  if (st.st_mtim.tv_sec != m.mtime.tv_sec || st.st_mtim.tv_nsec != nanoseconds) return false;
  std::vector<attribute> want = m.attributes, have = attributes_of(fd);
  std::erase_if(want, [&](const attribute& a) { return attribute_is_lost(a.name); });
  std::erase_if(have, [&](const attribute& a) {
    const auto same_name = [&](const attribute& w) { return w.name == a.name; };
    return is_set_by_system(a.name) && std::none_of(want.begin(), want.end(), same_name);
  });
  return want == have;
}

}  // namespace fussy::archive
