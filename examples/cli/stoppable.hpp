/// @file stoppable.hpp  Waiting for octets that may never come, until they come or somebody asks to stop.
/// Threads: an object belongs to one thread; a stop may be asked for by any.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <fussy/io.hpp>

#include <functional>
#include <stop_token>
#include <string>
#include <utility>

namespace fussy::cli {

/// A descriptor that can be read as soon as a stop is asked for: for poll(2).
class stop_event {
public:
  explicit stop_event(const std::stop_token& stop)
      : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), tell_(stop, [this] { (void)::eventfd_write(fd_.get(), 1); }) {
    if (!fd_) throw system_error("cannot watch for a request to stop", errno);
  }
  stop_event(const stop_event&) = delete;
  stop_event& operator=(const stop_event&) = delete;
  int fd() const noexcept { return fd_.get(); }

private:
  unique_fd fd_;
  std::stop_callback<std::function<void()>> tell_;
};

/// Reads a descriptor as file_reader does. @throws cancelled  a stop is asked for, also while it waits
class stoppable_reader {
public:
  stoppable_reader(file_reader from, std::string what, std::stop_token stop)
      : from_(std::move(from)), what_(std::move(what)), stop_(std::move(stop)) {}

  std::size_t read(byte_span room) {
    const stop_event stopped(stop_);
    pollfd either[2] = {{from_.fd(), POLLIN, 0}, {stopped.fd(), POLLIN, 0}};
    retry_eintr([&] { return ::poll(either, 2, -1); });
    if (stop_.stop_requested())
      throw error(
          errc::cancelled,
          {.what = "reading " + what_, .why = "the caller asked to stop", .remedy = "start it again when it suits"});
    return from_.read(room);
  }

private:
  file_reader from_;
  std::string what_;
  std::stop_token stop_;
};

}  // namespace fussy::cli
