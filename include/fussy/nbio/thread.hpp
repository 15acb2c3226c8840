/// @file nbio/thread.hpp  What a stage on a thread of its own reads from and writes to.
/// Threads: a reader and a writer belong to the thread of their stage.
/// Errors:  fussy::error with the errno of a descriptor.
#pragma once

#include <fussy/io.hpp>
#include <fussy/nbio/result.hpp>

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <span>
#include <thread>

namespace fussy::nbio {

namespace detail {
struct downstream_closed {};  // leaves a stage whose output nobody wants any more: a good end
struct run_was_ended {};      // leaves a stage whose run was killed

/// In a thread of a run: the descriptor that becomes readable when that run is killed, for runs inside of it.
inline int& outer_cancel() noexcept {
  thread_local int fd = -1;
  return fd;
}

/// Waits until `fd` is ready or the run is killed, which it throws.
inline void wait_ready(int fd, short events, int cancel) {
  pollfd both[2] = {{fd, events, 0}, {cancel, POLLIN, 0}};
  retry_eintr([&] { return ::poll(both, 2, -1); });
  if (both[1].revents != 0) throw run_was_ended{};
}
}  // namespace detail

/// The input of a stage on a thread. Blocks; 0 is the end. Also a fussy::reader.
class stage_reader {
public:
  stage_reader(int fd, int cancel, std::uint64_t& count) noexcept : fd_(fd), cancel_(cancel), count_(&count) {}
  std::size_t read(std::span<char> room) { return read(std::as_writable_bytes(room)); }
  std::size_t read(byte_span room) {
    for (;;) {
      const ssize_t n = ::read(fd_, room.data(), room.size());
      if (n >= 0) {
        *count_ += static_cast<std::uint64_t>(n);
        return static_cast<std::size_t>(n);
      }
      if (errno == EAGAIN)
        detail::wait_ready(fd_, POLLIN, cancel_);
      else if (errno != EINTR)
        throw system_error("cannot read from the stage before", errno);
    }
  }

private:
  int fd_, cancel_;
  std::uint64_t* count_;
};

/// The output of a stage on a thread. Blocks; leaves the stage when what follows has had enough. Also a fussy::writer.
class stage_writer {
public:
  stage_writer(int fd, int cancel, std::uint64_t& count) noexcept : fd_(fd), cancel_(cancel), count_(&count) {}
  void write(view text) { write(as_bytes(text)); }
  void write(byte_view octets) {
    while (!octets.empty()) {
      const ssize_t n = ::write(fd_, octets.data(), octets.size());
      if (n >= 0) {
        *count_ += static_cast<std::uint64_t>(n);
        octets = octets.subspan(static_cast<std::size_t>(n));
      } else if (errno == EAGAIN) {
        detail::wait_ready(fd_, POLLOUT, cancel_);
      } else if (errno == EPIPE) {
        throw detail::downstream_closed{};
      } else if (errno != EINTR) {
        throw system_error("cannot write to the stage behind", errno);
      }
    }
  }

private:
  int fd_, cancel_;
  std::uint64_t* count_;
};

namespace detail {

using thread_body = std::function<void(stage_reader&, stage_writer&)>;

/// A stage at work on its thread. Its ends are pipes of the run, so its neighbours see no difference to a process.
class stage_thread {
public:
  stage_thread(std::size_t stage, unique_fd in, unique_fd out, thread_body body, int cancel, int wake)
      : stage_(stage), in_(std::move(in)), out_(std::move(out)), body_(std::move(body)), cancel_(cancel), wake_(wake) {}
  ~stage_thread() {
    if (thread_.joinable()) thread_.join();
  }
  stage_thread(const stage_thread&) = delete;
  stage_thread& operator=(const stage_thread&) = delete;

  void start() {
    thread_ = std::thread([this] { work(); });  // the caller blocks all signals meanwhile
  }
  std::size_t stage() const noexcept { return stage_; }
  bool ended() const noexcept { return ended_.load(std::memory_order_acquire); }
  /// After ended(): what it threw, or null.
  const std::exception_ptr& failure() const noexcept { return failure_; }
  std::uint64_t in() const noexcept { return read_; }
  std::uint64_t out() const noexcept { return written_; }
  /// After ended(): closes the ends that a failure left open.
  void close() noexcept {
    if (thread_.joinable()) thread_.join();
    in_.reset();
    out_.reset();
  }

private:
  // A failure leaves the output open: the run kills what is behind before that can take the end for a good one.
  void work() noexcept {
    outer_cancel() = cancel_;
    try {
      stage_reader from(in_.get(), cancel_, read_);
      stage_writer to(out_.get(), cancel_, written_);
      body_(from, to);
    } catch (const downstream_closed&) {
    } catch (const run_was_ended&) {
    } catch (...) {
      failure_ = std::current_exception();
    }
    body_ = nullptr;
    if (!failure_) out_.reset(), in_.reset();
    ended_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
  }

  std::size_t stage_;
  unique_fd in_, out_;
  thread_body body_;
  int cancel_, wake_;
  std::uint64_t read_ = 0, written_ = 0;
  std::exception_ptr failure_;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace detail
}  // namespace fussy::nbio
