/// @file nbio/segment.hpp  Neighbouring native stages at work: from a descriptor or source into a descriptor or memory.
/// Threads: a segment belongs to the thread that drives its run.
/// Errors:  what its stages throw.
#pragma once

#include <fussy/nbio/link.hpp>
#include <fussy/nbio/spawn.hpp>

#include <limits.h>
#include <signal.h>
#include <time.h>

#include <memory>
#include <string>
#include <vector>

namespace fussy::nbio::detail {

/// While it lives, a write to a pipe that nobody reads gives EPIPE and no signal: neither the action nor, afterwards,
/// the mask or what was pending of the host is changed.
class no_sigpipe {
public:
  no_sigpipe() noexcept {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    was_blocked_ = ::sigismember(&before_, SIGPIPE) == 1;
    if (!was_blocked_) return;
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
  }
  ~no_sigpipe() {
    if (!was_blocked_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  no_sigpipe(const no_sigpipe&) = delete;
  no_sigpipe& operator=(const no_sigpipe&) = delete;

  /// After EPIPE: takes the signal that came with it.
  void swallow() const noexcept {
    const timespec none{};
    if (!was_pending_) retry_eintr([&] { return ::sigtimedwait(&pipe_, nullptr, &none); });
  }

private:
  sigset_t pipe_, before_;
  bool was_blocked_ = false, was_pending_ = false;
};

/// Appends. What collecting much costs is growing, not the loop: so a large text grows in few steps. Memory that is
/// reserved and not used is address space only; where that is scarce (32 bits, strict overcommit) the steps are
/// smaller.
inline void append_growing(bytes& to, view chunk) {
  constexpr std::size_t large = 1 << 20;
  const std::size_t need = to.size() + chunk.size();
  if (need > to.capacity() && need >= large) {
    std::size_t factor = sizeof(void*) > 4 ? 16 : 2;
    for (;; factor /= 2) try {
        to.reserve(factor > 1 ? need * factor : need + need / 4);
        break;
      } catch (const std::bad_alloc&) {
        if (factor <= 1) throw;
      }
  }
  to.append(chunk);
}

/// A descriptor in the epoll set of a run, in one direction.
struct watch {
  int fd = -1;
  bool on = false;
  bool always_ready = false;  ///< epoll refuses files and some devices, which never block
};

class segment {
public:
  enum class wants { input, output, turn, caller, nothing };
  enum class target { memory, descriptor, caller };

  std::vector<std::unique_ptr<link>> chain;  ///< in the order of the pipe; the first is the source
  fd_link* reader = nullptr;                 ///< the first, when it reads a descriptor
  unique_fd in, out;
  watch in_watch, out_watch;
  bool out_is_own_pipe = true;
  bool out_ready = false;
  target into = target::memory;
  std::size_t first_stage = no_stage;  ///< of the stages it works for; no_stage when it only collects
  std::size_t thrower = no_stage;
  std::size_t number = 0;  ///< in its run
  bool done = false, failed = false;
  bool turn_due = false;  ///< has work that no descriptor will announce

  void add(std::unique_ptr<link> l, std::size_t stage) {
    l->up = chain.empty() ? nullptr : chain.back().get();
    l->stage = stage;
    l->thrower = &thrower;
    chain.push_back(std::move(l));
  }

  /// Moves at most `turns` chunks. Never blocks. @return what it waits for.
  wants pump(bytes& collected, std::size_t limit, int turns) {
    turn_due = false;
    if (chain.empty()) return wants::nothing;  // its run failed before it was put together
    while (turns-- > 0) {
      if (!pending_.empty()) {
        const wants w = write_pending();
        if (w != wants::turn) return w;
        continue;
      }
      view chunk;
      switch (chain.back()->next(chunk)) {
        case got::blocked:
          return wants::input;
        case got::end:
          return wants::nothing;
        case got::data:
          break;
      }
      if (into == target::memory)
        collect(collected, chunk, limit);
      else
        pending_ = chunk;
    }
    turn_due = true;
    return wants::turn;
  }
  /// For target::caller.
  got pull(view& chunk) { return chain.empty() ? got::end : chain.back()->next(chunk); }
  /// Its source was read to the end, not left because what follows had enough.
  bool had_all() const noexcept { return !chain.empty() && chain.front()->ended(); }
  std::uint64_t taken() const noexcept { return chain.empty() ? 0 : chain.front()->moved(); }
  std::uint64_t given() const noexcept { return chain.empty() ? 0 : chain.back()->moved(); }

private:
  static void collect(bytes& collected, view chunk, std::size_t limit) {
    if (chunk.size() > limit - std::min(limit, collected.size()))
      throw error(errc::too_large, {.what = "the output of a pipe is too large",
                                    .why = "it has more than " + std::to_string(limit) + " bytes",
                                    .remedy = "raise limit_output(), or let a callable or a file take it"});
    append_growing(collected, chunk);
  }
  // Somebody else's descriptor may block: it is written in pieces that fit after poll said so.
  wants write_pending() {
    const bool careful = !out_is_own_pipe && !out_watch.always_ready;
    if (careful && !out_ready) return wants::output;
    const view piece = careful ? pending_.substr(0, PIPE_BUF) : pending_;
    const no_sigpipe quiet;
    const ssize_t n = retry_eintr([&] { return ::write(out_watch.fd, piece.data(), piece.size()); });
    const int why = errno;
    if (careful) out_ready = false;
    if (n < 0 && why == EPIPE) {  // enough: a consumer that stops reading is not a failure
      quiet.swallow();
      return wants::nothing;
    }
    if (n < 0 && (why == EAGAIN || why == EWOULDBLOCK)) return wants::output;
    if (n < 0) throw system_error("cannot write the output of the pipe", why);
    pending_.remove_prefix(static_cast<std::size_t>(n));
    written_ += static_cast<std::uint64_t>(n);
    grow_pipe();
    return out_is_own_pipe && !pending_.empty() ? wants::output : wants::turn;
  }
  void grow_pipe() {
    if (!out_is_own_pipe || grown_ || written_ < much_data) return;
    grown_ = true;
    (void)::fcntl(out_watch.fd, F_SETPIPE_SZ, static_cast<int>(large_pipe));
  }

  view pending_;
  std::uint64_t written_ = 0;
  bool grown_ = false;
};

}  // namespace fussy::nbio::detail
