/// @file lock/wait.hpp  Waiting for a lock without a busy loop, with a time limit and a stop token. Internal.
///
/// flock(2) itself can wait, but only a signal ends that wait, and a library may not take one from its host. So who
/// waits sleeps in poll(2) and is woken by inotify(7) when a descriptor of the lock file is closed, which is what every
/// release and every death of a holder ends with, then tries again. A process that dies closes the file a few
/// microseconds before it loses the lock, and flock(2) can be undone without closing; so naps that grow from one
/// millisecond to one second follow: one wake-up a second while nothing happens. Where inotify is not to be had, naps
/// grow to a tenth of a second only.
///
/// Threads: one object per waiting thread. Waiters are not served in the order in which they came.
/// Errors:  resource_limit or io when there is no descriptor left for a stop token; nothing else.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <fussy/deadline.hpp>
#include <fussy/error.hpp>
#include <fussy/io.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

namespace fussy::detail {

class lock_wait {
public:
  explicit lock_wait(std::stop_token stop)
      : stop_(std::move(stop)), inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    if (!stop_.stop_possible()) return;
    wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw system_error("cannot wait for a lock", errno, {}, "raise the limit on open files");
    on_stop_.emplace(stop_, [fd = wake_.get()] { (void)!::eventfd_write(fd, 1); });
  }
  lock_wait(const lock_wait&) = delete;
  lock_wait& operator=(const lock_wait&) = delete;

  /// To be called before the lock is tried: what happens from here on ends the next pause.
  void watch(int fd) {
    watching_ = inotify_ && fd >= 0 &&
                ::inotify_add_watch(inotify_.get(), ("/proc/self/fd/" + std::to_string(fd)).c_str(), IN_CLOSE) >= 0;
  }

  /// Sleeps until it is worth while to try again, at most to `until`.
  void pause(deadline_clock::time_point until) {
    std::array<pollfd, 2> wait{pollfd{inotify_.get(), POLLIN, 0}, pollfd{wake_.get(), POLLIN, 0}};  // -1 is skipped
    const int woken = ::poll(wait.data(), wait.size(), static_cast<int>(time_left(until, nap_).count()));
    if (woken > 0 && wait[0].revents != 0) {
      forget_events();
      nap_ = shortest;
    } else {
      nap_ = std::min(nap_ * 2, watching_ ? longest : longest_unwatched);
    }
  }

  bool stopped() const noexcept { return stop_.stop_requested(); }

private:
  static constexpr std::chrono::milliseconds shortest{1}, longest_unwatched{100}, longest{1000};

  void forget_events() const noexcept {
    alignas(inotify_event) std::array<std::byte, 4096> events;
    while (::read(inotify_.get(), events.data(), events.size()) > 0) {
    }
  }

  std::stop_token stop_;
  unique_fd inotify_, wake_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;  // after wake_, which it uses
  std::chrono::milliseconds nap_ = shortest;
  bool watching_ = false;
};

}  // namespace fussy::detail
