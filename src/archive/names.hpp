/// @file names.hpp  What an entry may be called, and where a link may lead. Text only, but for the one question to the
/// kernel.
#pragma once

#include <fussy/archive.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace fussy::archive {

/// The path without `.` and empty components and without a slash at its end; empty for the directory that holds the
/// root.
/// @throws entry_refused  absolute, a `..` component, too long, too deep.
std::string normal_path(std::string_view name, const limits& limit);

/// First component.
inline std::string_view root_of(std::string_view path) noexcept { return path.substr(0, path.find('/')); }
/// All but the last component; empty when there is one only.
inline std::string_view parent_of(std::string_view path) noexcept {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}
inline std::string_view last_of(std::string_view path) noexcept { return path.substr(path.rfind('/') + 1); }

/// @throws bad_root  a name that no version directory may have.
void check_root_name(std::string_view name);

enum class leads { inside, outside, unclear };
/// As `tar --exclude`: a pattern matches the whole name or any part of it behind a slash; `*` matches slashes too.
bool is_excluded(const std::vector<std::string>& patterns, const std::string& path);

/// Where a symbolic link at `path` with this text leads, by its text alone. Exact for links whose `..` all stand in
/// front; `unclear` when one follows a name, which may be a link itself. An absolute text is judged by the caller.
leads where_link_leads(std::string_view path, std::string_view text) noexcept;

/// Whether the link at `path` leads out of `root`, by whatever other links: asked of the kernel, or found out by hand
/// where it cannot be asked (before Linux 5.6). Nothing is opened that could have an effect.
bool link_leads_out(int root, const char* path);
/// The same without asking. For a tree that nobody else changes meanwhile.
bool link_leads_out_by_hand(int root, const char* path);

/// For messages: control characters and bytes that are no UTF-8 as \xNN, not more than 200 octets.
std::string printable(std::string_view name);

/// An error about one entry.
error refused_entry(std::string_view name, std::string why, std::string remedy = "build the package without it",
                    errc code = errc::entry_refused);

}  // namespace fussy::archive
