/// @file common.hpp  What all commands share: how they report errors, where they log, what they exit with.
#pragma once

#include <sys/time.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <fussy/error.hpp>
#include <fussy/io.hpp>
#include <fussy/log.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "progress_bar.hpp"
#include "system_log.hpp"
#include "terminal.hpp"

#ifndef FUSSY_VERSION
#error "the build defines FUSSY_VERSION"
#endif

namespace fussy::cli {

inline void print_line(std::FILE* to, std::string_view line) {
  std::fprintf(to, "%.*s\n", static_cast<int>(line.size()), line.data());
}

/// What was printed on stdout has arrived; a full disk or closed pipe there is an error, not a silent loss.
inline void flush_result() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw system_error("cannot write the result to standard output", errno);
}

inline void print_result(std::string_view line) {
  print_line(stdout, line);
  flush_result();
}

/// Holds those of the descriptors 0 to 2 that are closed, so that no file of ours gets the number of standard output.
/// Reading and writing there stays the error it was, and programs started from here find them closed.
inline void hold_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

/// A log to append to. Never waits, for the reader of a fifo to come or to go on, and never becomes our terminal.
inline unique_fd open_log(const std::string& path) {
  unique_fd fd(retry_eintr(
      [&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644); }));
  if (!fd && errno == ENXIO)
    throw error(errc::io, {.what = "cannot open the log " + path,
                           .why = "it is a fifo that nobody reads, or a socket",
                           .remedy = "start its reader first, or name a file",
                           .path = path,
                           .system = ENXIO});
  if (!fd) throw system_error("cannot open the log", errno, path);
  return fd;
}

/// Gets what there is to say instead of a person at stderr.
class listener {
public:
  virtual ~listener() = default;
  virtual void log(log_level level, std::string_view line) = 0;
  virtual void step(const progress& p) = 0;
  virtual void failure(const error& e) = 0;
};

/// Where a command says what it does. A log as the original wrote it (LEVEL name time message) to a file when one is
/// named, to journald or syslog when asked; and what matters to a person (warnings and errors, or all with `verbose`,
/// or errors alone with `quiet`) to stderr, or everything to a listener.
class logger {
public:
  explicit logger(std::string name) : name_(std::move(name)) {}

  void open(const std::string& path) {
    file_ = open_log(path);
    file_path_ = path;
  }
  void open_system_log() { system_.emplace(name_); }
  /// What journald gets beside each message from now on. @param field  its name there
  void note(std::string_view field, const std::string& value) {
    const std::lock_guard lock(mutex_);
    if (!value.empty()) noted_.emplace_back(field, value);
  }
  void be_verbose(bool verbose) { verbose_ = verbose; }
  void be_quiet(bool quiet) { quiet_ = quiet; }
  void tell(std::unique_ptr<listener> program) { listener_ = std::move(program); }
  /// Steps are shown from now on: a bar on a terminal, lines elsewhere. @param words  what a step is called
  void show_steps(std::string (*words)(phase)) {
    if (quiet_ || listener_) return;
    if (is_terminal(STDERR_FILENO))
      bar_ = std::make_unique<progress_bar>(words);
    else
      lines_.emplace(name_, words);
  }
  /// What is written to stdout after this stands alone.
  void end_steps() {
    const std::lock_guard lock(mutex_);
    bar_.reset(), lines_.reset();
  }
  /// The end of a command that succeeded.
  void succeed() {
    end_steps();
    const std::lock_guard lock(mutex_);
    tell_system(log_level::info, "done", {{"FUSSY_STATUS", "0"}});
    say_held();
  }

  /// May be called from any thread.
  void write(log_level level, std::string_view line) {
    const std::lock_guard lock(mutex_);
    const std::string text = printable(line);
    keep(level, text);
    if (listener_) return listener_->log(level, line);
    // What ends a command is logged first and thrown then: a person is told once.
    if (level >= log_level::error) return held_.push_back(text);
    if (verbose_ ? level >= log_level::info : !quiet_ && level >= log_level::warning) say(level, text);
  }

  /// What was done and is worth a line: in the logs, and on stderr unless quiet is wanted.
  void announce(const std::string& line) {
    write(log_level::info, line);
    if (!verbose_) remark(line);
  }

  /// For people only, on stderr, unless they want quiet.
  void remark(std::string_view line) {
    const std::lock_guard lock(mutex_);
    if (!quiet_ && !listener_) print_line(stderr, printable(line));
  }

  /// Tells the result of work that is done. Whoever does not get it has what was made or changed all the same: no
  /// failure, but a warning on stderr whatever was asked for.
  template <class Tell>
  void tell_done(Tell&& tell) {
    try {
      tell();
    } catch (const error& e) {
      const std::lock_guard lock(mutex_);
      const std::string text = "it is done; " + printable(e.what());
      keep(log_level::warning, text);
      say(log_level::warning, text);
    }
  }

  /// The end of a command that failed.
  void fail(const error& e) {
    end_steps();
    const std::lock_guard lock(mutex_);
    system_log::fields parts{{"FUSSY_STATUS", std::to_string(exit_status(e.code()))},
                             {"FUSSY_ERROR", fussy::name(e.code())},
                             {"FUSSY_CAUSE", fussy::name(e.cause())}};
    if (!e.parts().output.empty()) parts.emplace_back("FUSSY_OUTPUT", e.parts().output);
    keep(log_level::error, printable(e.what()) + code_of(e), std::move(parts));
    if (listener_) return listener_->failure(e);
    const std::string text = printable(e.what());
    std::erase_if(held_, [&](const std::string& line) { return text.find(line) != text.npos; });
    say_held();
    print_output(e.parts().output);
    if (is_terminal(STDERR_FILENO)) return print_parts(e);
    say(log_level::error, text + code_of(e));
  }

  log_sink sink() {
    return [this](log_level level, std::string_view line) { write(level, line); };
  }
  progress_sink steps() {
    return [this](const progress& p) {
      note_step(p.at);
      if (listener_) listener_->step(p);
      if (bar_) bar_->show(p);
      if (lines_) lines_->show(p);
    };
  }

private:
  void note_step(phase p) {
    if (!system_) return;
    const std::lock_guard lock(mutex_);
    step_ = p;
  }

  /// In the logs. @param more  for journald alone
  void keep(log_level level, const std::string& text, system_log::fields more = {}) {
    if (file_) append(std::string(name(level)) + " " + name_ + " " + now() + " " + text + "\n");
    tell_system(level, text, std::move(more));
  }

  /// A log must not be what makes an install fail: that it cannot be written is told once, and the install goes on.
  void append(const std::string& entry) {
    try {
      file_writer(file_.get(), file_path_).write(as_bytes(entry));
    } catch (const error& e) {
      if (!std::exchange(log_is_lost_, true)) say(log_level::warning, "the log is incomplete: " + printable(e.what()));
    }
  }

  void tell_system(log_level level, const std::string& text, system_log::fields more) const {
    if (!system_) return;
    more.insert(more.end(), noted_.begin(), noted_.end());
    if (step_) more.emplace_back("FUSSY_PHASE", fussy::name(*step_));
    system_->write(priority_of(level), text, more);
  }

  /// What to look up.
  static std::string code_of(const error& e) {
    return " [" + std::string(fussy::name(e.code())) + " " + std::to_string(static_cast<int>(e.code())) + "]";
  }

  /// A person who reads gets the three parts one below the other.
  void print_parts(const error& e) const {
    const failure_parts& p = e.parts();
    print_line(stderr, name_ + ": " + word_for(log_level::error) + printable(p.what));
    const auto part = [&](const char* label, const std::string& text) {
      if (!text.empty()) print_line(stderr, "  " + paint_.bold(label) + " " + printable(text));
    };
    part(" why:", p.why);
    part("hint:", p.remedy);
    part("code:", std::string(fussy::name(e.code())) + " (" + std::to_string(static_cast<int>(e.code())) + ")" +
                      (e.cause() != e.code() ? ", because of " + std::string(fussy::name(e.cause())) : std::string()));
  }
  static void print_output(std::string_view output) {
    while (!output.empty()) {
      const std::size_t end = std::min(output.find('\n'), output.size());
      print_line(stderr, "  | " + printable(output.substr(0, end)));
      output.remove_prefix(std::min(end + 1, output.size()));
    }
  }

  void say(log_level level, const std::string& text) {
    const auto write = [&] { print_line(stderr, name_ + ": " + word_for(level) + text); };
    if (bar_)
      bar_->around(write);
    else
      write();
  }
  void say_held() {
    for (const std::string& line : std::exchange(held_, {})) say(log_level::error, line);
  }
  std::string word_for(log_level level) const {
    if (level >= log_level::error) return paint_.red("error:") + " ";
    return level >= log_level::warning ? paint_.yellow("warning:") + " " : "";
  }
  static int priority_of(log_level level) {
    return level >= log_level::error     ? LOG_ERR
           : level >= log_level::warning ? LOG_WARNING
           : level >= log_level::info    ? LOG_INFO
                                         : LOG_DEBUG;
  }
  static std::string now() {
    timeval tv{};
    ::gettimeofday(&tv, nullptr);
    std::tm parts{};
    ::localtime_r(&tv.tv_sec, &parts);
    char text[64];
    const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    std::snprintf(text + n, sizeof text - n, ",%03d", static_cast<int>(tv.tv_usec / 1000));
    return text;
  }

  std::string name_;
  std::mutex mutex_;
  unique_fd file_;
  std::string file_path_;
  bool log_is_lost_ = false;
  std::optional<system_log> system_;
  system_log::fields noted_;
  std::optional<phase> step_;
  bool verbose_ = false, quiet_ = false;
  paint paint_{STDERR_FILENO};
  std::vector<std::string> held_;  // errors, until it is known whether the last one says the same
  std::unique_ptr<listener> listener_;
  std::unique_ptr<progress_bar> bar_;
  std::optional<progress_lines> lines_;
};

/// Checks for numbers; CLI11's own answer with a range of three hundred digits.
inline CLI::Validator number_check(std::function<bool(double)> fits, const char* why) {
  return CLI::Validator(
      [fits = std::move(fits), why](const std::string& text) {
        char* end = nullptr;
        const double number = std::strtod(text.c_str(), &end);
        return !text.empty() && *end == '\0' && fits(number) ? std::string() : text + " " + why;
      },
      "");
}
inline CLI::Validator zero_or_more() {
  return number_check([](double n) { return n >= 0; }, "is no number of 0 or more");
}
inline CLI::Validator more_than_zero() {
  return number_check([](double n) { return n > 0; }, "is no number above 0");
}

/// What to do where the library knows nothing better.
inline const char* usual_remedy(errc code) {
  switch (code) {
    case errc::io:
      return "look at the path and at what the system says";
    case errc::not_found:
      return "check the path";
    case errc::no_space:
      return "free some space and try again";
    case errc::resource_limit:
      return "raise the limit (ulimit) and try again";
    case errc::cancelled:
      return "run it again";
    default:
      return "";
  }
}

/// The frame of every command.
/// @param name  of the command, as it is installed.
/// @param what  it does, one sentence for --help.
/// @param example  printed at the end of --help.
class command {
public:
  command(std::string name, const std::string& what, const std::string& example)
      : app(what, name), log(name), name_(std::move(name)) {
    hold_standard_descriptors();
    app.set_version_flag("--version", name_ + " " FUSSY_VERSION, "Print the version and exit");
    app.footer(example);
    app.get_formatter()->column_width(36);
  }

  /// Parses, runs `body`, and turns whatever happens into a message on stderr and the documented exit status.
  int run(int argc, char** argv, const std::function<void()>& body) {
    if (before_parsing) std::for_each(argv + std::min(argc, 1), argv + argc, before_parsing);
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
      return app.exit(asked);
    } catch (const CLI::ParseError& e) {
      return refuse(error(
          errc::usage, {.what = "cannot use this command line", .why = why(e), .remedy = "see " + name_ + " --help"}));
    }
    try {
      body();
      log.succeed();
      return 0;
    } catch (const error& e) {
      failure_parts parts = e.parts();
      if (parts.remedy.empty()) parts.remedy = usual_remedy(e.code());
      return refuse(error(e.code(), std::move(parts)));
    } catch (const std::bad_alloc&) {
      return refuse(error(errc::no_memory, {.what = "out of memory",
                                            .why = "the system gave no more",
                                            .remedy = "close other programs or add swap, then retry"}));
    } catch (const std::exception& e) {
      return refuse(error(errc::failure,
                          {.what = "something unforeseen happened", .why = e.what(), .remedy = "please report it"}));
    }
  }

  CLI::App app;
  logger log;
  std::function<void(const std::string& argument)> before_parsing;

private:
  /// CLI11 calls what may stand alone by its option.
  std::string why(const CLI::ParseError& e) const {
    for (const std::string& argument : app.remaining())
      if (argument.starts_with("-") && argument != "-") return "there is no option " + argument;
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError))
      for (const CLI::Option* option : app.get_options())
        if (option->get_required() && option->get_positional() && option->count() == 0)
          return option->get_type_name() + " is missing";
    return e.what();
  }
  int refuse(const error& e) {
    log.fail(e);
    return exit_status(e.code());
  }

  std::string name_;
};

/// SOURCE_DATE_EPOCH (reproducible-builds.org): seconds, when it is set.
inline std::optional<std::int64_t> source_date_epoch() {
  const char* text = std::getenv("SOURCE_DATE_EPOCH");
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const long long seconds = std::strtoll(text, &end, 10);
  if (errno != 0 || *end != '\0' || seconds < 0) {
    throw error(errc::usage,
                {.what = "cannot use SOURCE_DATE_EPOCH",
                 .why = "\"" + printable(text) + "\" is no number of seconds",
                 .remedy = "unset it, or set it to the date of the newest source (git log -1 --format=%ct)"});
  }
  if (seconds > UINT32_MAX) {
    throw error(errc::usage, {.what = "cannot use SOURCE_DATE_EPOCH",
                              .why = "\"" + printable(text) + "\" is beyond 2106, where the times of signatures end",
                              .remedy = "give it in seconds, not in milliseconds"});
  }
  return seconds;
}

}  // namespace fussy::cli
