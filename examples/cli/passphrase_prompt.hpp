/// @file passphrase_prompt.hpp  A secret line from a file, a descriptor, or the terminal.
#pragma once

#include <poll.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <fussy/io.hpp>

#include <csignal>
#include <optional>
#include <stop_token>
#include <string>

#include "stoppable.hpp"

namespace fussy::cli {

/// Up to the first line end, which is not part of it; never reads beyond.
template <class Reader>
std::string first_line(Reader&& from) {
  std::string line;
  std::byte one[1];
  while (line.size() < 4096 && from.read(one) == 1 && static_cast<char>(one[0]) != '\n')
    line += static_cast<char>(one[0]);
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

/// While it lives, the terminal shows nothing that is typed, and signals that end programs come to read().
class quiet_terminal {
public:
  /// @param tty  that never blocks; it stays the caller's
  quiet_terminal(int tty, const std::stop_token& stop) : tty_(tty), stopped_(stop) {
    ::sigemptyset(&ending_);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP}) ::sigaddset(&ending_, number);
    signals_ = unique_fd(::signalfd(-1, &ending_, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) throw system_error("cannot watch for signals", errno);
    ::pthread_sigmask(SIG_BLOCK, &ending_, &mask_before_);
    if (::tcgetattr(tty_, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    is_quiet_ = ::tcsetattr(tty_, TCSAFLUSH, &quiet) == 0;
  }
  quiet_terminal(const quiet_terminal&) = delete;
  quiet_terminal& operator=(const quiet_terminal&) = delete;
  ~quiet_terminal() {
    if (is_quiet_) ::tcsetattr(tty_, TCSAFLUSH, &before_);
    ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }
  explicit operator bool() const noexcept { return is_quiet_; }

  /// Reads what was typed, a line at a time. @throws cancelled  a signal came instead, and is used up; or somebody else
  /// took it and asks to stop
  std::size_t read(byte_span room) {
    for (;;) {
      const ssize_t n = ::read(tty_, room.data(), room.size());
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EAGAIN && errno != EINTR) throw system_error("cannot read from the terminal", errno);
      wait();
    }
  }

private:
  // What woke it may be gone when it looks: a signal that the waiter of `interrupts` was faster to take, which has not
  // come to ask for the stop yet; a line that Ctrl-C took away. So nobody but the stop itself or a signal in hand ends
  // it.
  void wait() const {
    pollfd all[3] = {{tty_, POLLIN, 0}, {signals_.get(), POLLIN, 0}, {stopped_.fd(), POLLIN, 0}};
    retry_eintr([&] { return ::poll(all, 3, -1); });
    signalfd_siginfo signal{};
    if (::read(signals_.get(), &signal, sizeof signal) < 0 && all[2].revents == 0) return;
    throw error(errc::cancelled, {.what = "cannot open the secret key",
                                  .why = "a signal came instead of its passphrase",
                                  .remedy = "try again when you have it"});
  }

  int tty_;
  stop_event stopped_;
  unique_fd signals_;
  termios before_{};
  sigset_t ending_{}, mask_before_{};
  bool is_quiet_ = false;
};

/// What nobody saw typed needs a line end, too, whatever came of it.
class end_of_line {
public:
  explicit end_of_line(int screen) : screen_(screen) {}
  end_of_line(const end_of_line&) = delete;
  end_of_line& operator=(const end_of_line&) = delete;
  ~end_of_line() { (void)!::write(screen_, "\n", 1); }

private:
  int screen_;
};

/// Asks on the terminal itself, as gpg and ssh do: stdin and stdout may be pipes. Nothing when there is no terminal.
/// @throws cancelled  Ctrl-C instead of an answer: an error, so that nothing half-done is left behind.
inline std::optional<std::string> ask_on_terminal(const std::string& question, const std::stop_token& stop) {
  const unique_fd tty(::open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  const unique_fd screen(::open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (!tty || !screen) return std::nullopt;
  quiet_terminal quiet(tty.get(), stop);
  if (!quiet) return std::nullopt;
  file_writer(screen.get()).write(as_bytes(question));
  const end_of_line at_the_end(screen.get());
  return first_line(quiet);
}

}  // namespace fussy::cli
