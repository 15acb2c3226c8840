/// @file nbio/child.hpp  A started process: waiting for its end, reaping and signalling it, without SIGCHLD and without
/// waiting for any child but our own.
/// Threads: one child belongs to one run.
/// Errors:  none: what cannot be known is reported as not known.
#pragma once

#include <fussy/io.hpp>
#include <fussy/nbio/result.hpp>

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

namespace fussy::nbio::detail {

/// Set by tests: behave as on a kernel before 5.3, or in a sandbox that refuses pidfd_open(2).
inline std::atomic<bool> without_pidfd{false};

inline unique_fd open_pidfd(pid_t pid) noexcept {
  if (without_pidfd.load(std::memory_order_relaxed)) return errno = ENOSYS, unique_fd();
  return unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

/// Blocks every signal in this thread while it lives, so that a thread started meanwhile takes none from the host's.
class signals_blocked {
public:
  signals_blocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;

private:
  sigset_t before_;
};

/// A process of ours, from its start until it is reaped. As long as it is not reaped, its pid (and its process group,
/// when it leads one) cannot belong to anybody else, so signalling it is safe.
class child {
public:
  explicit child(pid_t pid) : pid_(pid), end_(open_pidfd(pid)), by_pidfd_(static_cast<bool>(end_)) {
    if (by_pidfd_) return;
    if (errno == ESRCH)
      status_lost();
    else
      watch_by_thread();
  }
  child(child&&) = delete;
  ~child() {
    if (waiter_.joinable()) waiter_.join();
  }

  /// Readable when the process has ended; -1 after that was noticed.
  int fd() const noexcept { return end_.get(); }
  pid_t pid() const noexcept { return pid_; }
  bool ended() const noexcept { return ended_; }
  bool reaped() const noexcept { return reaped_; }
  const exit_status& status() const noexcept { return status_; }

  /// Notices the end, if it has come. @param keep  leave it a zombie, which holds its pid and process group.
  bool notice_end(bool keep) {
    if (ended_) return true;
    siginfo_t info{};
    const int r = wait_for(info, WEXITED | WNOHANG | (keep ? WNOWAIT : 0));
    if (r == 0 && info.si_pid == 0) return false;
    if (r == 0) {
      take(info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : info.si_status);
      reaped_ = !keep;
    } else {
      taken_by_somebody_else();
    }
    ended_ = true;
    release();
    return true;
  }
  /// Reaps one that notice_end(true) kept.
  void reap() noexcept {
    if (!ended_ || reaped_) return;
    siginfo_t info{};
    retry_eintr([&] { return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED); });
    reaped_ = true;
  }

  /// Kills and reaps it, whatever it does, without needing memory.
  void end_now() noexcept {
    (void)signal(SIGKILL);
    if (!reaped_) {
      siginfo_t info{};
      retry_eintr([&] { return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED); });
    }
    ended_ = reaped_ = true;
    release();
  }

  bool signal(int number) const noexcept {
    if (reaped_ || ended_) return false;
    if (by_pidfd_) return ::syscall(SYS_pidfd_send_signal, end_.get(), number, nullptr, 0) == 0;
    return ::kill(pid_, number) == 0;
  }
  bool signal_group(int number) const noexcept { return !reaped_ && ::kill(-pid_, number) == 0; }

private:
  int wait_for(siginfo_t& info, int flags) const noexcept {
    constexpr auto by_descriptor = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4
    if (by_pidfd_) {
      const int r = retry_eintr([&] { return ::waitid(by_descriptor, static_cast<id_t>(end_.get()), &info, flags); });
      if (r == 0 || errno != EINVAL) return r;
    }
    return retry_eintr([&] { return ::waitid(P_PID, static_cast<id_t>(pid_), &info, flags); });
  }
  void take(int wait_status) noexcept {
    status_.pid = pid_;
    if (WIFSIGNALED(wait_status))
      status_.signal = WTERMSIG(wait_status);
    else
      status_.code = WEXITSTATUS(wait_status);
  }
  /// The host ignores SIGCHLD, or waits for any child. Linux 6.15 and later still tell the status through the pidfd.
  void taken_by_somebody_else() noexcept {
    struct {  // struct pidfd_info of <linux/pidfd.h>, which older headers lack
      std::uint64_t mask = 8 /* PIDFD_INFO_EXIT */, cgroup = 0;
      std::uint32_t pid = 0, tgid = 0, ppid = 0, ids[8] = {};
      std::int32_t exit_code = 0;
    } info;
    static_assert(sizeof info == 64);
    status_lost();
    if (by_pidfd_ && ::ioctl(end_.get(), _IOWR(0xFF, 11, decltype(info)), &info) == 0 && (info.mask & 8) != 0) {
      status_.known = true;
      take(info.exit_code);
    }
  }
  void status_lost() noexcept {
    status_.pid = pid_;
    status_.known = false;
    ended_ = reaped_ = true;
  }
  /// One thread that blocks until the end, and leaves the zombie for notice_end().
  void watch_by_thread() {
    end_ = unique_fd(::eventfd(0, EFD_CLOEXEC));
    const signals_blocked quiet;
    waiter_ = std::thread([pid = pid_, fd = end_.get()] {
      siginfo_t info{};
      retry_eintr([&] { return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT); });
      const std::uint64_t one = 1;
      (void)!::write(fd, &one, sizeof one);
    });
  }
  void release() noexcept {
    if (waiter_.joinable()) waiter_.join();
    end_.reset();
  }

  pid_t pid_;
  unique_fd end_;
  bool by_pidfd_;
  bool ended_ = false, reaped_ = false;
  exit_status status_;
  std::thread waiter_;
};

}  // namespace fussy::nbio::detail
