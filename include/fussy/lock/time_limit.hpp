/// @file lock/time_limit.hpp  A time limit that works in three steps, without a signal.
///
/// C++ cannot throw out of a signal handler into whatever code is running, so a time limit cannot simply raise an
/// exception in the program. It does this instead:
///  1. When the time is over, a `std::stop_token` asks the work to stop, and wakes what waits on it.
///  2. At the same moment everything that was started under the limit and honours `current_deadline()` ends with
///     `errc::timeout`: each nbio pipe, each wait for a lock.
///  3. Work that goes on for another grace period has hung. Then the last resort is called; by default it ends the
///     process with exit status 124, so that a hung cron job does end.
///
/// The clock is the one of deadline.hpp: neither a change of the wall clock nor a suspended machine ends the time.
/// No signal is used, no handler replaced, no mask changed; the two threads of a limit have all signals blocked, so
/// that they are never the ones that handle a signal of the host.
///
/// Threads: distinct limits are independent, any number may run at once. Step 2 reaches the thread that made the limit,
/// and threads that take its deadline over (see deadline.hpp). After fork(2) the child has no limit.
/// Errors:  timeout from check(); resource_limit or io when a limit cannot be set.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <fussy/deadline.hpp>
#include <fussy/error.hpp>
#include <fussy/io.hpp>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace fussy {

/// Of a process that a time limit ended as its last resort; timeout(1) uses the same.
inline constexpr int time_limit_exit_status = 124;

/// The default last resort: a line on stderr, then _exit(2): handlers of exit(3) might hang as well.
[[noreturn]] inline void end_process_at_time_limit() noexcept {
  constexpr std::string_view line = "fussy: the time limit and its grace period are over: ending the process\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(time_limit_exit_status);
}

struct time_limit_options {
  /// From the end of the time to the last resort.
  std::chrono::milliseconds grace{5000};
  /// Called on a thread of the limit's own, once. Must not throw. Empty: there is no third step.
  std::function<void()> last_resort = end_process_at_time_limit;
};

namespace detail {

/// All signals blocked while it lives, on this thread and on those that it starts meanwhile.
class all_signals_blocked {
public:
  all_signals_blocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;
  ~all_signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
  sigset_t before_;
};

/// Calls a function at a moment, on a thread of its own, unless it is called off before. poll(2) counts on
/// CLOCK_MONOTONIC with every C library; not every condition variable does.
class alarm_clock {
public:
  alarm_clock(deadline_clock::time_point at, std::function<void()> ring)
      : called_off_(std::make_shared<unique_fd>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))), process_(::getpid()) {
    if (!*called_off_) throw system_error("cannot set a time limit", errno, {}, "raise the limit on open files");
    all_signals_blocked quiet;
    try {
      thread_ = std::make_unique<std::thread>([at, ring = std::move(ring), off = called_off_] {
        if (sleep_until(at, off->get())) ring();
      });
    } catch (const std::system_error& e) {
      throw error(errc::resource_limit, {.what = "cannot set a time limit",
                                         .why = std::string("no thread for it: ") + e.what(),
                                         .remedy = "raise the limit on processes"});
    }
  }
  alarm_clock(const alarm_clock&) = delete;
  alarm_clock& operator=(const alarm_clock&) = delete;
  /// Waits for the function, if it is running, unless it is the function that destroys us.
  ~alarm_clock() {
    if (process_ != ::getpid()) {
      // In a forked child: the thread stayed behind in the parent, its handle can be neither joined nor detached.
      (void)thread_.release();
      return;
    }
    if (thread_->get_id() == std::this_thread::get_id()) {
      thread_->detach();
      return;
    }
    (void)::eventfd_write(called_off_->get(), 1);
    thread_->join();
  }

private:
  /// False when it was called off.
  static bool sleep_until(deadline_clock::time_point at, int called_off) {
    for (;;) {
      pollfd off{called_off, POLLIN, 0};
      const auto left = time_left(at);
      if (::poll(&off, 1, static_cast<int>(left.count())) > 0) return false;
      if (deadline_clock::now() >= at) return true;
    }
  }

  std::shared_ptr<unique_fd> called_off_;  // shared: a detached thread outlives us
  pid_t process_;
  std::unique_ptr<std::thread> thread_;
};

}  // namespace detail

/// Starts when it is made, ends when it is destroyed.
class time_limit {
public:
  /// @throws resource_limit, io  there is no thread or descriptor for it
  template <class Rep, class Period>
  explicit time_limit(std::chrono::duration<Rep, Period> limit, const time_limit_options& options = {})
      : until_(deadline_after(limit)), scope_(until_) {
    if (until_ == no_deadline) return;
    if (options.last_resort && options.grace < no_deadline - until_)
      last_resort_ = std::make_unique<detail::alarm_clock>(until_ + options.grace, options.last_resort);
    stop_ = std::make_unique<detail::alarm_clock>(until_, [source = source_]() mutable { source.request_stop(); });
  }
  time_limit(const time_limit&) = delete;
  time_limit& operator=(const time_limit&) = delete;
  /// Waits for a callback of the stop token or a last resort that is running. While it waits for the former, the latter
  /// still stands by: a callback that hangs does not keep the process alive.
  ~time_limit() {
    stop_.reset();
    last_resort_.reset();
  }

  /// Asked to stop when the time is over.
  std::stop_token token() const noexcept { return source_.get_token(); }
  deadline_clock::time_point until() const noexcept { return until_; }
  bool over() const noexcept { return deadline_clock::now() >= until_; }
  /// For loops that have no use for a token. @throws timeout  when the time is over
  void check() const {
    if (over())
      throw error(errc::timeout, {.what = "the work did not end in its time",
                                  .why = "the time limit is over",
                                  .remedy = "give it more time, or find out what takes so long"});
  }

private:
  deadline_clock::time_point until_;
  deadline_scope scope_;
  std::stop_source source_;
  std::unique_ptr<detail::alarm_clock> last_resort_, stop_;
};

}  // namespace fussy
