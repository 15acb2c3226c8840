/// @file deadline.hpp  The moment by which the work of this thread must have ended, known to all that may wait.
///
/// Whoever sets a time limit (a cron lock, a host) opens a `deadline_scope`; whatever waits for something on the same
/// thread (an nbio pipe, most of all) asks `current_deadline()` when it starts and ends with `errc::timeout` at that
/// moment at the latest, also when a longer time limit of its own was given. So the two need not know each other.
///
/// A scope belongs to the thread that opened it. A thread that works for another one takes the limit over:
///
///     const auto until = fussy::current_deadline();
///     std::thread helper([until] { fussy::deadline_scope limit(until); … });
///
/// The clock is CLOCK_MONOTONIC (std::chrono::steady_clock). Setting the wall clock, by hand or by NTP, moves no
/// deadline. Time the machine sleeps is not counted: a job that was suspended half-way has not hung, and gets the rest
/// of its time after waking up.
///
/// Threads: all functions may be called from any thread; one scope object needs outside locking.
/// Errors:  std::bad_alloc when a scope is opened; nothing else.
#pragma once

#include <fussy/error.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

namespace fussy {

using deadline_clock = std::chrono::steady_clock;

/// What current_deadline() says when there is none.
inline constexpr deadline_clock::time_point no_deadline = deadline_clock::time_point::max();

/// `limit` from now; `no_deadline` when that is further away than the clock can say.
template <class Rep, class Period>
deadline_clock::time_point deadline_after(std::chrono::duration<Rep, Period> limit) noexcept {
  using seconds = std::chrono::duration<double>;
  const auto now = deadline_clock::now();
  // Compared as floating point: hours::max() in nanoseconds would overflow.
  if (!(seconds(limit) < seconds(no_deadline - now) - std::chrono::hours(1))) return no_deadline;
  return now + std::chrono::ceil<deadline_clock::duration>(limit);
}

/// Time left until `until`, never negative, rounded up to whole milliseconds and to at most `longest`: as the time-out
/// of poll(2) and its like want it, so that who waits that long has not woken up too early.
inline std::chrono::milliseconds time_left(deadline_clock::time_point until,
                                           std::chrono::milliseconds longest = std::chrono::hours(24 * 20)) noexcept {
  const auto now = deadline_clock::now();
  if (until <= now) return std::chrono::milliseconds(0);
  if (until - now >= longest) return longest;
  return std::chrono::ceil<std::chrono::milliseconds>(until - now);
}

namespace detail {
/// The moments set by the scopes of one thread. Shared with the scopes, because a scope may end on another thread.
using deadline_cell = std::atomic<deadline_clock::rep>;
FUSSY_API inline std::vector<std::shared_ptr<deadline_cell>>& deadlines_of_this_thread() {
  static thread_local std::vector<std::shared_ptr<deadline_cell>> cells;
  return cells;
}
}  // namespace detail

/// The earliest moment of the scopes open on this thread; `no_deadline` without one.
inline deadline_clock::time_point current_deadline() noexcept {
  auto earliest = no_deadline.time_since_epoch().count();
  for (const auto& cell : detail::deadlines_of_this_thread())
    earliest = std::min(earliest, cell->load(std::memory_order_acquire));
  return deadline_clock::time_point(deadline_clock::duration(earliest));
}

/// From its construction to its end, `current_deadline()` on the constructing thread is at most `until`. Scopes may end
/// in any order and on any thread.
class deadline_scope {
public:
  explicit deadline_scope(deadline_clock::time_point until)
      : cell_(std::make_shared<detail::deadline_cell>(until.time_since_epoch().count())) {
    auto& cells = detail::deadlines_of_this_thread();
    std::erase_if(cells, [](const auto& cell) { return cell.use_count() == 1; });  // of scopes that ended elsewhere
    cells.push_back(cell_);
  }
  deadline_scope(deadline_scope&& other) noexcept = default;
  deadline_scope& operator=(deadline_scope&& other) noexcept {
    if (this != &other) {
      end();
      cell_ = std::move(other.cell_);
    }
    return *this;
  }
  ~deadline_scope() { end(); }

private:
  void end() noexcept {
    if (!cell_) return;
    cell_->store(no_deadline.time_since_epoch().count(), std::memory_order_release);
    std::erase(detail::deadlines_of_this_thread(), cell_);
    cell_.reset();
  }

  std::shared_ptr<detail::deadline_cell> cell_;
};

/// While it lives, no scope that was open before counts on this thread: for work that must come to its end. It ends on
/// the thread that made it.
class deadline_pause {
public:
  deadline_pause() noexcept { before_.swap(detail::deadlines_of_this_thread()); }
  ~deadline_pause() { before_.swap(detail::deadlines_of_this_thread()); }
  deadline_pause(const deadline_pause&) = delete;
  deadline_pause& operator=(const deadline_pause&) = delete;

private:
  std::vector<std::shared_ptr<detail::deadline_cell>> before_;
};

}  // namespace fussy
