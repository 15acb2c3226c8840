/// @file store.hpp  What the install transaction asks of a file system: the calls it makes, and nothing else.
/// The real one is posix_store; the tests have one on a simulated disk that loses power at every call.
/// Threads: a store is used by one thread at a time.
/// Errors:  every call throws fussy::error; parts().system is the errno where the system refused.
#pragma once

#include <fussy/error.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fussy::install {

/// What a directory entry is, links not followed.
enum class entry_type { none, directory, link, file, other };

/// How rename treats an entry that has the new name already.
enum class rename_mode {
  replace,    ///< atomically takes its place, rename(2)
  exclusive,  ///< EEXIST, RENAME_NOREPLACE
  exchange,   ///< both names swap what they name, RENAME_EXCHANGE; EINVAL where the file system cannot
};

/// A file system seen from one target directory. Names are single components; no call follows a symbolic link but
/// `version_behind`, which says where one leads.
///
/// `directory` is a handle of an open directory, movable. `proof` is what a staged package must carry to be published.
template <class S>
concept store = requires(S& s, typename S::directory& d, const std::string& name, std::string_view text,
                         std::size_t max) {
  typename S::proof;
  requires std::movable<typename S::directory>;
  requires std::movable<typename S::proof>;
  { s.root() } -> std::same_as<typename S::directory&>;                    // the target directory
  { s.path() } -> std::convertible_to<std::string>;                        // of the target, for hooks and messages
  { s.type(d, name) } -> std::same_as<entry_type>;                         // fstatat
  { s.list(d) } -> std::same_as<std::vector<std::string>>;                 // readdir, without . and ..
  { s.open(d, name) } -> std::same_as<typename S::directory>;              // openat(O_DIRECTORY | O_NOFOLLOW)
  { s.read_link(d, name) } -> std::same_as<std::string>;                   // readlinkat
  { s.read_file(d, name, max) } -> std::same_as<std::string>;              // openat, read: at most max octets
  { s.version_behind(name) } -> std::same_as<std::optional<std::string>>;  // directory of the target a name leads to
  { s.leads_somewhere(name) } -> std::same_as<bool>;                       // fstatat, following: a directory anywhere
  s.make_directory(d, name);                                               // mkdirat(0700)
  s.make_link(text, d, name);                                              // symlinkat
  s.write_file(d, name, text);                                             // openat(O_CREAT | O_EXCL), write
  s.rename(d, name, d, name, rename_mode::replace);                        // renameat2
  s.remove_file(d, name);                                                  // unlinkat
  s.remove_directory(d, name);                                             // unlinkat(AT_REMOVEDIR)
  s.make_accessible(d, name);  // fchmodat(0700) where we are not root: to empty it
  s.sync_file(d, name);        // fsync of the file
  s.sync_directory(d);         // fsync of the directory
  s.sync_all();                // syncfs
};

/// True for an error of a system call that failed with this errno.
inline bool failed_with(const error& e, int number) noexcept { return e.parts().system == number; }

}  // namespace fussy::install
