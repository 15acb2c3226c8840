/// @file entry_time.hpp  The modification time of an archive entry.
///
/// Our time_t has 64 bits everywhere. That of a 32-bit distribution of before 2024, and so of its libarchive, has 32:
/// its functions are called with the type they were compiled with, or the other half would be chance. Threads:
/// functions without state. Errors: none.
#pragma once

#include <archive_entry.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "archive/library_time.hpp"

namespace fussy::archive {

/// As the distribution's own programs have it; the build asks the compiler.
using library_time = FUSSY_LIBRARY_TIME_T;

inline std::int64_t modification_time(archive_entry* entry) noexcept {
  using getter = library_time (*)(archive_entry*);
  return reinterpret_cast<getter>(reinterpret_cast<void*>(&archive_entry_mtime))(entry);
}

/// Whole seconds; what the library's time cannot hold becomes the nearest that it can.
inline void set_modification_time(archive_entry* entry, std::int64_t seconds) noexcept {
  using setter = void (*)(archive_entry*, library_time, long);
  constexpr std::int64_t first = std::numeric_limits<library_time>::min(),
                         last = std::numeric_limits<library_time>::max();
  const auto time = static_cast<library_time>(std::clamp(seconds, first, last));
  reinterpret_cast<setter>(reinterpret_cast<void*>(&archive_entry_set_mtime))(entry, time, 0);
}

}  // namespace fussy::archive
