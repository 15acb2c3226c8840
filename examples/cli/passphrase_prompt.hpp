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

/// While it lives, the terminal shows nothing that is typed, and signals that end programs come to wait().
class quiet_terminal {
public:
  explicit quiet_terminal(int tty) : tty_(tty) {
    ::sigemptyset(&ending_);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP}) ::sigaddset(&ending_, number);
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

  /// Waits for a line. @return false: a signal came instead, and is used up; or somebody else took it and asks to stop.
  bool wait(const std::stop_token& stop) const {
    const unique_fd signals(::signalfd(-1, &ending_, SFD_CLOEXEC | SFD_NONBLOCK));
    const stop_event stopped(stop);
    pollfd all[3] = {{tty_, POLLIN, 0}, {signals.get(), POLLIN, 0}, {stopped.fd(), POLLIN, 0}};
    retry_eintr([&] { return ::poll(all, 3, -1); });
    signalfd_siginfo signal{};
    return ::read(signals.get(), &signal, sizeof signal) < 0 && !stop.stop_requested();
  }

private:
  int tty_;
  termios before_{};
  sigset_t ending_{}, mask_before_{};
  bool is_quiet_ = false;
};

/// Asks on the terminal itself, as gpg and ssh do: stdin and stdout may be pipes. Nothing when there is no terminal.
/// @throws cancelled  Ctrl-C instead of an answer: an error, so that nothing half-done is left behind.
inline std::optional<std::string> ask_on_terminal(const std::string& question, const std::stop_token& stop) {
  const unique_fd tty(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!tty) return std::nullopt;
  file_writer screen(tty.get());
  const quiet_terminal quiet(tty.get());
  if (!quiet) return std::nullopt;
  screen.write(as_bytes(question));
  const bool answered = quiet.wait(stop);
  const std::string line = answered ? first_line(file_reader(tty.get(), "terminal")) : std::string();
  screen.write(as_bytes("\n"));
  if (answered) return line;
  throw error(errc::cancelled, {.what = "cannot open the secret key",
                                .why = "a signal came instead of its passphrase",
                                .remedy = "try again when you have it"});
}

}  // namespace fussy::cli
