#include "posix_acl.hpp"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

namespace fussy::archive {

namespace {

// Values of linux/posix_acl.h; the attribute is a little-endian version and then tag, permissions, id for each entry.
enum tag : std::uint16_t { user_obj = 1, user = 2, group_obj = 4, group = 8, mask = 16, other = 32 };
constexpr std::uint32_t version = 2, no_id = UINT32_MAX;
constexpr std::size_t header_size = 4, entry_size = 8;

struct acl_entry {
  std::uint16_t tag = 0;
  std::uint32_t id = no_id;
  std::uint16_t permissions = 0;
};

void put(std::string& out, std::uint32_t value, int octets) {
  for (; octets > 0; --octets, value >>= 8) out += static_cast<char>(value & 0xff);
}
std::uint32_t get(const std::string& in, std::size_t at, int octets) {
  std::uint32_t value = 0;
  for (int i = octets; i-- > 0;) value = value << 8 | static_cast<unsigned char>(in[at + static_cast<std::size_t>(i)]);
  return value;
}

std::optional<std::uint32_t> id_of_user(const char* name) {
  std::vector<char> room(16384);
  passwd entry, *found = nullptr;
  if (!name || getpwnam_r(name, &entry, room.data(), room.size(), &found) != 0 || !found) return std::nullopt;
  return found->pw_uid;
}
std::optional<std::uint32_t> id_of_group(const char* name) {
  std::vector<char> room(16384);
  ::group entry, *found = nullptr;
  if (!name || getgrnam_r(name, &entry, room.data(), room.size(), &found) != 0 || !found) return std::nullopt;
  return found->gr_gid;
}

std::uint16_t permissions_of(int set) {
  return static_cast<std::uint16_t>((set & ARCHIVE_ENTRY_ACL_READ ? 4 : 0) | (set & ARCHIVE_ENTRY_ACL_WRITE ? 2 : 0) |
                                    (set & ARCHIVE_ENTRY_ACL_EXECUTE ? 1 : 0));
}
int set_of(unsigned permissions) {
  return (permissions & 4 ? ARCHIVE_ENTRY_ACL_READ : 0) | (permissions & 2 ? ARCHIVE_ENTRY_ACL_WRITE : 0) |
         (permissions & 1 ? ARCHIVE_ENTRY_ACL_EXECUTE : 0);
}

std::uint16_t tag_of(int archive_tag) {
  switch (archive_tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
      return user_obj;
    case ARCHIVE_ENTRY_ACL_USER:
      return user;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
      return group_obj;
    case ARCHIVE_ENTRY_ACL_GROUP:
      return group;
    case ARCHIVE_ENTRY_ACL_MASK:
      return mask;
    case ARCHIVE_ENTRY_ACL_OTHER:
      return other;
    default:
      return 0;
  }
}
int archive_tag_of(std::uint32_t t) {
  switch (t) {
    case user_obj:
      return ARCHIVE_ENTRY_ACL_USER_OBJ;
    case user:
      return ARCHIVE_ENTRY_ACL_USER;
    case group_obj:
      return ARCHIVE_ENTRY_ACL_GROUP_OBJ;
    case group:
      return ARCHIVE_ENTRY_ACL_GROUP;
    case mask:
      return ARCHIVE_ENTRY_ACL_MASK;
    case other:
      return ARCHIVE_ENTRY_ACL_OTHER;
    default:
      return 0;
  }
}

}  // namespace

std::optional<std::string> acl_of(archive_entry* entry, int type, std::string& unknown) {
  std::vector<acl_entry> entries;
  bool extended = false;
  archive_entry_acl_reset(entry, type);
  int found_type = 0, permset = 0, archive_tag = 0, id = 0;
  const char* name = nullptr;
  while (archive_entry_acl_next(entry, type, &found_type, &permset, &archive_tag, &id, &name) == 0) {
    acl_entry e{.tag = tag_of(archive_tag), .permissions = permissions_of(permset)};
    if (e.tag == 0) continue;  // of NFSv4
    if (e.tag == user || e.tag == group) {
      const auto known = id >= 0         ? std::optional(static_cast<std::uint32_t>(id))
                         : e.tag == user ? id_of_user(name)
                                         : id_of_group(name);
      if (!known) {
        unknown = name ? name : "";
        return std::nullopt;
      }
      e.id = *known;
    }
    extended |= e.tag == user || e.tag == group || e.tag == mask;
    entries.push_back(e);
  }
  // Owner, group and others alone say no more than the mode does.
  if (entries.empty() || (type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS && !extended)) return std::nullopt;
  std::sort(entries.begin(), entries.end(),
            [](const acl_entry& a, const acl_entry& b) { return std::tie(a.tag, a.id) < std::tie(b.tag, b.id); });
  std::string value;
  put(value, version, 4);
  for (const acl_entry& e : entries) {
    put(value, e.tag, 2);
    put(value, e.permissions, 2);
    put(value, e.id, 4);
  }
  return value;
}

unsigned mode_of_acl(const std::string& value, bool masked) noexcept {
  unsigned of_user = 0, of_group = 0, of_mask = 7, of_other = 0;
  bool has_mask = false;
  for (std::size_t at = header_size; at + entry_size <= value.size(); at += entry_size) {
    const unsigned permissions = get(value, at + 2, 2) & 7;
    switch (get(value, at, 2)) {
      case user_obj:
        of_user = permissions;
        break;
      case group_obj:
        of_group = permissions;
        break;
      case mask:
        of_mask = permissions, has_mask = true;
        break;
      case other:
        of_other = permissions;
        break;
    }
  }
  const unsigned shown = has_mask ? (masked ? of_mask : of_group & of_mask) : of_group;
  return of_user << 6 | shown << 3 | of_other;
}

bool add_acl(archive_entry* entry, int type, const std::string& value) {
  if (value.size() < header_size || (value.size() - header_size) % entry_size != 0 || get(value, 0, 4) != version)
    return false;
  for (std::size_t at = header_size; at < value.size(); at += entry_size) {
    const std::uint32_t t = get(value, at, 2), id = get(value, at + 4, 4);
    if (archive_tag_of(t) == 0) return false;
    const bool named = t == user || t == group;
    archive_entry_acl_add_entry(entry, type, set_of(get(value, at + 2, 2)), archive_tag_of(t),
                                named ? static_cast<int>(id) : -1, named ? std::to_string(id).c_str() : "");
  }
  return true;
}

}  // namespace fussy::archive
