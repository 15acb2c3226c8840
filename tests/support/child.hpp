// A forked child that runs a function and ends with what it returns; killed and reaped at the latest with the object.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fussy/io.hpp>

#include <csignal>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace test {

class child {
public:
  /// The function gets the writing end of a pipe whose reading end is ready().
  explicit child(const std::function<int(int ready)>& run) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    ready_.reset(ends[0]);
    fussy::unique_fd write_end(ends[1]);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) {
      int status = 99;  // an exception
      try {
        status = run(write_end.get());
      } catch (...) {
      }
      ::_exit(status);
    }
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  /// Waits for the child to write an octet. False when it ended without.
  bool ready() {
    char c;
    return fussy::retry_eintr([&] { return ::read(ready_.get(), &c, 1); }) == 1;
  }
  void kill(int signal) const { ::kill(pid_, signal); }
  /// Exit status, or 128 plus the signal.
  int wait() {
    int status = 0;
    fussy::retry_eintr([&] { return ::waitpid(pid_, &status, 0); });
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  pid_t pid() const noexcept { return pid_; }

  /// Turns the child into another program. @return 127 when there is no such program, else not at all
  static int become(std::vector<std::string>& words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    return 127;
  }
  static void say_ready(int to) { (void)!::write(to, "r", 1); }
  /// For a child that is expected to complain.
  static void be_quiet() {
    fussy::unique_fd null = fussy::open_file("/dev/null", O_WRONLY);
    ::dup2(null.get(), STDERR_FILENO);
  }
  [[noreturn]] static void sleep_for_ever() {
    for (;;) ::pause();
  }

private:
  pid_t pid_ = 0;
  fussy::unique_fd ready_;
};

/// The code an expression fails with; `success` when it does not.
inline fussy::errc code_of(const std::function<void()>& run) {
  try {
    run();
    return fussy::errc::success;
  } catch (const fussy::error& e) {
    return e.code();
  }
}

/// The message it fails with; empty when it does not.
inline std::string message_of(const std::function<void()>& run) {
  try {
    run();
    return {};
  } catch (const fussy::error& e) {
    return e.what();
  }
}

}  // namespace test
