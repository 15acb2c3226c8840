/// @file posix_acl.hpp  POSIX ACLs between libarchive's entries and the kernel's extended attributes
/// (linux/posix_acl_xattr.h).
#pragma once

#include <archive_entry.h>

#include <optional>
#include <string>

namespace fussy::archive {

inline constexpr const char* acl_access_name = "system.posix_acl_access";
inline constexpr const char* acl_default_name = "system.posix_acl_default";

/// The attribute's value for the ACL of this type (ARCHIVE_ENTRY_ACL_TYPE_ACCESS or _DEFAULT); nothing when the entry
/// has none. A user or group that is given by name only is looked up on this machine.
/// @param unknown  set to the first name that was not found; the ACL is not usable then.
std::optional<std::string> acl_of(archive_entry* entry, int type, std::string& unknown);

/// Permission bits of a file with this access ACL: what chmod and stat call the group's are the mask's. The group's own
/// where `masked` is false: for a file that cannot have the ACL.
unsigned mode_of_acl(const std::string& value, bool masked) noexcept;

/// The other way: adds the ACL in an attribute's value to the entry. @return false when it is no ACL.
bool add_acl(archive_entry* entry, int type, const std::string& value);

}  // namespace fussy::archive
