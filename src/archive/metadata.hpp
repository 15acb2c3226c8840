/// @file metadata.hpp  Mode, owner, times, extended attributes and ACLs of an entry: read from the archive, put on a
/// file, compared with a file.
#pragma once

#include <archive_entry.h>
#include <sys/stat.h>
#include <fussy/archive.hpp>

#include <map>
#include <string>
#include <vector>

namespace fussy::archive {

/// An extended attribute as the kernel has it; ACLs are such too (system.posix_acl_access).
struct attribute {
  std::string name, value;
  auto operator<=>(const attribute&) const = default;
};

struct metadata {
  static constexpr uid_t as_created = static_cast<uid_t>(-1);
  mode_t mode = 0;  ///< permission bits, setuid, setgid, sticky; with an ACL the group's bits are those of its mask
  uid_t uid = as_created;
  gid_t gid = as_created;
  timespec mtime = {0, UTIME_OMIT};
  std::vector<attribute> attributes = {};  ///< sorted by name
};

/// The mode to create a file with: attributes can only be set while its owner may write to it.
inline mode_t creation_mode(const metadata& m) noexcept { return m.attributes.empty() ? m.mode & 0777 : 0600; }

/// What cannot be kept is said once for each kind, and counted.
class keeper_of_warnings {
public:
  explicit keeper_of_warnings(const log_sink& sink) noexcept : sink_(sink) {}
  void add(const std::string& kind, std::string_view path, int number);
  /// One line for each kind that came more than once.
  void summarise() const;

private:
  const log_sink& sink_;
  std::map<std::string, std::uint64_t> counts_;
};

/// How files come out here without any chmod or chown: learnt from a directory that was just made.
struct fresh_defaults {
  mode_t umask = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  bool nanoseconds = true;  ///< whether the file system keeps them
};

/// Applies metadata to what was just made. Owner first, for chown drops capabilities and setuid; attributes next; then
/// the mode; times last.
class metadata_keeper {
public:
  metadata_keeper(bool keep_owner, const log_sink& sink);

  void set_defaults(const fresh_defaults& d) noexcept { defaults_ = d; }
  const fresh_defaults& defaults() const noexcept { return defaults_; }
  /// Whether files get the archive's owners; else they are ours.
  bool keeps_owner() const noexcept { return keep_owner_; }

  /// From the entry, as it is to be on disk: setuid and setgid only where the owner is kept.
  /// @throws malformed  an owner or time that no file can have.
  metadata read(archive_entry* entry);

  /// @param created_mode  what open(2) or mkdir(2) was asked for.
  void apply(int fd, const metadata& m, mode_t created_mode, std::string_view path);
  void apply_to_link(int parent, const std::string& name, const metadata& m, std::string_view path);

  /// Whether an open file has this mode, owner, time and these attributes, as far as the file system can keep them.
  bool equal(int fd, const struct stat& st, const metadata& m) const;

  void summarise() const { warnings_.summarise(); }

private:
  bool own(int fd, int parent, const char* name, const metadata& m, std::string_view path);
  bool set_attribute(int fd, const attribute& a, std::string_view path);
  bool attribute_is_lost(const std::string& name) const;

  bool keep_owner_;
  bool is_owner_given(const metadata& m) const noexcept;
  fresh_defaults defaults_;
  std::vector<std::string> lost_attributes_;  // names that this file system or process cannot keep
  keeper_of_warnings warnings_;
};

/// An errno with the path as the archive has it. no_space says what is free in the file system of `fd`.
/// @param needed  octets still to be written, 0 when not known.
error disk_error(std::string what, int number, std::string_view path, int fd, std::uint64_t needed = 0);

}  // namespace fussy::archive
