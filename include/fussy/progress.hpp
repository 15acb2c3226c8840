/// @file progress.hpp  How far an operation is, for a bar or a display. Monotone: no phase goes back, no count falls.
/// Threads: called from the thread that runs the operation, at most some hundred times in an operation.
/// Errors:  a sink should not throw; what it throws cancels the operation.
#pragma once

#include <cstdint>
#include <functional>

namespace fussy {

/// What an install does, in its order, and then what others do. Numbers are frozen.
enum class phase : int {
  waiting = 0,    ///< for the lock on the target
  recovering = 1, ///< finishing or undoing what a crash left
  verifying = 2,  ///< reading the package once for its proof
  unpacking = 3,  ///< writing below TARGET/.fussy/staging
  syncing = 4,    ///< making it durable
  publishing = 5, ///< renaming it to its version name
  pre_install = 6,
  switching = 7,
  post_install = 8,
  restoring = 9,  ///< going back, after a failure
  done = 10,
  packing = 11,   ///< writing a package, of a tree (the total is not known) or of an archive or package to be signed
};

constexpr const char* name(phase p) noexcept {
  switch (p) {
    case phase::waiting: return "waiting";
    case phase::recovering: return "recovering";
    case phase::verifying: return "verifying";
    case phase::unpacking: return "unpacking";
    case phase::syncing: return "syncing";
    case phase::publishing: return "publishing";
    case phase::pre_install: return "pre-install";
    case phase::switching: return "switching";
    case phase::post_install: return "post-install";
    case phase::restoring: return "restoring";
    case phase::done: return "done";
    case phase::packing: return "packing";
  }
  return "unknown";
}

struct progress {
  phase at = phase::waiting;
  std::uint64_t done = 0;   ///< bytes of the package read in this phase; of the archive, when packing
  std::uint64_t total = 0;  ///< bytes it has, 0 when not known (a stream) or not counted (other phases)
};

using progress_sink = std::function<void(const progress&)>;

}  // namespace fussy
