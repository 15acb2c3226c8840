/// @file reporting.hpp  How a command speaks to people, to programs and to logs; options for that; being interrupted.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstring>
#include <initializer_list>
#include <stop_token>
#include <thread>

#include "events.hpp"

namespace fussy::cli {

/// The first SIGINT, SIGTERM or SIGHUP asks the work to stop and clean up; the second ends the process as ever. One
/// that was ignored before (nohup) stays so; one that comes when the work has ended changes nothing of how it ended.
/// Constructed before any other thread.
class interrupts {
public:
  explicit interrupts(logger& log) : log_(log) {
    sigemptyset(&signals_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction now {};
      if (::sigaction(number, nullptr, &now) != 0 || now.sa_handler == SIG_IGN) continue;
      sigaddset(&signals_, number);
      wake_ = number;
    }
    ::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    if (wake_ != 0) waiter_ = std::thread([this] { wait(); });
  }
  ~interrupts() {
    over_ = true;
    if (waiter_.joinable()) {
      ::pthread_kill(waiter_.native_handle(), wake_);
      waiter_.join();
    }
    forget_pending();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  interrupts(const interrupts&) = delete;
  interrupts& operator=(const interrupts&) = delete;

  std::stop_token token() const { return source_.get_token(); }

private:
  void wait() {
    for (int number = 0; ::sigwait(&signals_, &number) == 0;) {
      if (over_) return;
      if (source_.stop_requested()) die(number);
      source_.request_stop();  // first: who reads the log may keep us waiting
      log_.write(log_level::warning, std::string("told to end (") + ::strsignal(number) +
                                         "), cleaning up; a second time ends this at once");
    }
  }
  // Ctrl-C ends a child as well, and its end may be known here before the waiter got to run.
  void forget_pending() const {
    static constexpr timespec at_once{};
    while (retry_eintr([this] { return ::sigtimedwait(&signals_, nullptr, &at_once); }) > 0) continue;
  }
  static void die(int number) {
    ::signal(number, SIG_DFL);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    ::raise(number);
    ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  }

  logger& log_;
  sigset_t signals_{}, before_{};
  int wake_ = 0;  // one of them
  std::atomic<bool> over_ = false;
  std::stop_source source_;
  std::thread waiter_;
};

/// What an install's steps are called.
inline std::string step_words(phase p) { return name(p); }

/// Options about what is said, and the saying.
class reporting {
public:
  explicit reporting(command& c) : command_(c) {
    auto* quiet = c.app.add_flag("-q,--quiet", quiet_, "Say nothing on stderr but errors");
    c.app.add_flag("-v,--verbose", verbose_, "Say what is done on stderr")->excludes(quiet);
    c.app.add_flag("--json", json_, "Print events on stdout, a JSON object on each line, and nothing on stderr");
    // A bad command line is told as an event, too, when it asks for events.
    c.before_parsing = [&c](const std::string& argument) {
      if (argument == "--json") c.log.tell(std::make_unique<event_writer>());
    };
  }
  void add_logs() {
    command_.app.add_option("-l,--logfile", logfile_, "Append a log to this file")->type_name("FILE");
    command_.app.add_flag("--syslog", syslog_, "Send the log to journald (or syslog) as well");
  }

  /// Once the command line is known.
  void begin(std::string (*words)(phase) = step_words) {
    logger& log = command_.log;
    log.be_quiet(quiet_);
    log.be_verbose(verbose_);
    if (json_) log.tell(std::make_unique<event_writer>());
    if (!logfile_.empty()) log.open(logfile_);
    if (syslog_) log.open_system_log();
    log.show_steps(words);
  }
  /// Signals ask the work to stop from now on. For work that obeys stop(), before begin().
  void catch_signals() {
    ::signal(SIGPIPE, SIG_IGN);  // who reads the result may leave: an error of the write then
    interrupts_.emplace(command_.log);
  }
  bool json() const { return json_; }
  bool verbose() const { return verbose_; }
  std::stop_token stop() const { return interrupts_ ? interrupts_->token() : std::stop_token(); }
  logger& log() { return command_.log; }

  /// result() for when something has been made or changed.
  void done(std::string_view line, const cli::json& fields) {
    command_.log.tell_done([&] { result(line, fields); });
  }

  /// What the command was called for: a line for scripts, or an event. @param line  nothing is printed when it is empty
  void result(std::string_view line, const cli::json& fields) {
    command_.log.end_steps();
    for (const auto& [field, journals] :
         {std::pair("version", "FUSSY_VERSION"), std::pair("previous", "FUSSY_PREVIOUS")})
      if (const auto found = fields.find(field); found != fields.end() && found->is_string())
        command_.log.note(journals, found->get<std::string>());
    if (!json_) {
      if (!line.empty()) print_result(line);
    } else if (!event_writer::result(fields)) {
      throw system_error("cannot write the result to standard output", errno);
    }
  }

private:
  command& command_;
  bool quiet_ = false, verbose_ = false, json_ = false, syslog_ = false;
  std::string logfile_;
  std::optional<interrupts> interrupts_;
};

}  // namespace fussy::cli
