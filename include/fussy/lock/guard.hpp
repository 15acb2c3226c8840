/// @file lock/guard.hpp  `flock_guard`: one holder of a lock file at a time. Includes neither time limits nor cron
/// locks.
///
/// What is promised: of all processes and threads on one machine that use this header on the same name in the same
/// directory, at most one holds the lock, also in containers and mount namespaces that share the directory, and also
/// when somebody deletes, renames or replaces the file, even while it is held. flock(1), flock(2) and anything else
/// that locks the file excludes us, and we exclude it, as long as the file stays. A process that ends, however it ends,
/// holds nothing; so a file left behind by a dead process never blocks, and nobody needs to delete lock files.
///
/// What is not promised: anything between machines (NFS and other network file systems); exclusion after the
/// *directory* was renamed or replaced; exclusion when only the file is mounted into a container and somebody then
/// deletes it outside; protection from those who may read the directory or the file and keep it locked to be a
/// nuisance.
///
/// The file has the holder's PID in its first line, then `since TIME` and `pidns ID`; it is emptied on release. A file
/// with other content (a script, say) is locked and left as it is.
///
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error: `busy`, `already_held`, `timeout`, `cancelled`, `usage`, `not_found`, `io`.
#pragma once

#include <fussy/deadline.hpp>
#include <fussy/error.hpp>
#include <fussy/lock/file.hpp>
#include <fussy/lock/wait.hpp>

#include <chrono>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>

namespace fussy {

/// For `lock_options::wait`: as long as it takes.
inline constexpr std::chrono::milliseconds wait_forever = std::chrono::milliseconds::max();

struct lock_options {
  /// Longest wait for a holder to release it; zero tries once. A `current_deadline()` that comes first ends it too.
  std::chrono::milliseconds wait{0};
  /// Ends the wait with `cancelled`.
  std::stop_token stop{};
  /// Of a file that has to be created; the umask applies. Who may read it may lock it.
  mode_t mode = 0644;
};

namespace detail {

/// Tries, waits, tries again. Anything but `taken` means that the wait is over.
/// @throws cancelled  the stop token asked for it    @throws timeout  the thread's deadline came before the end of the
/// wait
template <class Rules>
lock_attempt take_lock(lock_file<Rules>& file, std::chrono::milliseconds wait, const std::stop_token& stop) {
  lock_attempt attempt = file.try_take();
  if (wait <= std::chrono::milliseconds(0)) return attempt;
  const auto end_of_wait = wait == wait_forever ? no_deadline : deadline_after(wait);
  const auto until = std::min(end_of_wait, current_deadline());
  std::optional<lock_wait> waiting;
  // The thread that holds it would wait for itself.
  while (attempt != lock_attempt::taken && attempt != lock_attempt::held_by_this_thread) {
    if (!waiting) waiting.emplace(stop);
    if (waiting->stopped())
      throw error(errc::cancelled, {.what = "stopped waiting for lock " + file.path().string(),
                                    .why = "the caller asked for it",
                                    .path = file.path().string()});
    if (deadline_clock::now() >= until) {
      if (until == end_of_wait) break;
      throw error(errc::timeout, {.what = "stopped waiting for lock " + file.path().string(),
                                  .why = file.holder() + ", and the time limit is over",
                                  .remedy = "retry later, or give more time",
                                  .path = file.path().string()});
    }
    waiting->pause(until);
    waiting->watch(file.fd());
    attempt = file.try_take();
  }
  return attempt;
}

template <class Rules>
error lock_refused(const lock_file<Rules>& file, lock_attempt attempt, std::chrono::milliseconds wait) {
  const std::string path = file.path().string();
  if (attempt != lock_attempt::held_elsewhere)
    return error(errc::already_held, {.what = "lock " + path + " is already held",
                                      .why = "this process (PID " + std::to_string(::getpid()) + ") holds it",
                                      .remedy = "release it first",
                                      .path = path});
  std::string why = file.holder();
  if (wait > std::chrono::milliseconds(0))
    why += ", for longer than the wait of " + std::to_string(wait.count()) + " ms";
  return error(
      errc::busy,
      {.what = "lock " + path + " is busy", .why = why, .remedy = "retry when it has ended, or end it", .path = path});
}

}  // namespace detail

/// Holds a lock file from its construction to its destruction.
template <class Rules = lock_rules>
class basic_flock_guard {
public:
  /// Takes the lock on `file`, which is created when missing; its directory must exist.
  /// @throws busy          another process holds it and the wait is over; the message has its PID and since when
  /// @throws already_held  this process holds it, in whichever thread; the holding thread does not wait for itself
  /// @throws timeout, cancelled  see lock_options; not_found, io, usage  the file cannot be opened, or is none
  explicit basic_flock_guard(std::filesystem::path file, const lock_options& options = {})
      : file_(std::move(file), options.mode) {
    const detail::lock_attempt attempt = detail::take_lock(file_, options.wait, options.stop);
    if (attempt != detail::lock_attempt::taken) throw detail::lock_refused(file_, attempt, options.wait);
  }
  basic_flock_guard(std::filesystem::path file, std::chrono::milliseconds wait)
      : basic_flock_guard(std::move(file), lock_options{.wait = wait}) {}

  /// Tries once. Empty when somebody holds it, be it another process or this one; throws as the constructor does else.
  static std::optional<basic_flock_guard> try_lock(std::filesystem::path file, mode_t mode = 0644) {
    basic_flock_guard guard(detail::lock_file<Rules>(std::move(file), mode));
    if (guard.file_.try_take() != detail::lock_attempt::taken) return std::nullopt;
    return guard;
  }

  basic_flock_guard(basic_flock_guard&&) noexcept = default;

  /// Releases it, unless that has been done. In a child made by fork(2) it only closes the child's copy: the lock stays
  /// with the parent.
  void unlock() noexcept { file_.give_back(); }
  bool owns_lock() const noexcept { return file_.taken(); }
  const std::filesystem::path& path() const noexcept { return file_.path(); }

  /// Programs started from now on inherit the lock: it is free when we and the last of them have let go.
  void let_children_inherit() const { file_.let_children_inherit(); }
  /// Lets go without unlocking, so that children which inherited the lock keep it.
  void leave_to_children() noexcept { file_.leave(); }

private:
  explicit basic_flock_guard(detail::lock_file<Rules> file) : file_(std::move(file)) {}

  detail::lock_file<Rules> file_;
};

using flock_guard = basic_flock_guard<>;

}  // namespace fussy
