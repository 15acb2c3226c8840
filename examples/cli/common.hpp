/// @file common.hpp  What all commands share: how they report errors, where they log, what they exit with.
#pragma once

#include <sys/time.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <fussy/error.hpp>
#include <fussy/io.hpp>
#include <fussy/log.hpp>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#ifndef FUSSY_VERSION
#error "the build defines FUSSY_VERSION"
#endif

namespace fussy::cli {

/// One line, even when a file name in it has control characters: a terminal must not be told what to do by a package.
inline std::string printable(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u != 0x7f) {
      safe += c;
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", u);
      safe += escaped;
    }
  }
  return safe;
}

inline void print_line(std::FILE* to, std::string_view line) {
  std::fprintf(to, "%.*s\n", static_cast<int>(line.size()), line.data());
}

/// Prints a result on stdout; a full disk or closed pipe there is an error, not a silent loss.
inline void print_result(std::string_view line) {
  print_line(stdout, line);
  if (std::fflush(stdout) != 0) throw system_error("cannot write the result to standard output", errno);
}

/// Log lines as the original wrote them: LEVEL name time message. To a file when one is named, and what matters to a
/// person (warnings and errors, or all with `verbose`) to stderr.
class logger {
public:
  explicit logger(std::string name) : name_(std::move(name)) {}

  void open(const std::string& path) {
    file_ = open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    path_ = path;
  }
  void be_verbose(bool verbose) { verbose_ = verbose; }

  void write(log_level level, std::string_view line) {
    const std::string text = printable(line);
    if (file_) {
      const std::string entry = std::string(name(level)) + " " + name_ + " " + now() + " " + text + "\n";
      // The log must not be what makes an install fail: a full disk is reported once, by the install itself.
      (void)!::write(file_.get(), entry.data(), entry.size());
    }
    if (level >= log_level::warning || (verbose_ && level >= log_level::info)) {
      print_line(stderr,
                 name_ + ": " + (level >= log_level::warning ? std::string(level_word(level)) + ": " : "") + text);
    }
  }
  log_sink sink() {
    return [this](log_level level, std::string_view line) { write(level, line); };
  }

private:
  static const char* level_word(log_level level) { return level == log_level::error ? "error" : "warning"; }
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

  std::string name_, path_;
  unique_fd file_;
  bool verbose_ = false;
};

/// The frame of every command.
/// @param name  of the command, as it is installed.
/// @param what  it does, one sentence for --help.
/// @param example  printed at the end of --help.
class command {
public:
  command(std::string name, const std::string& what, const std::string& example)
      : app(what, name), log(name), name_(std::move(name)) {
    app.set_version_flag("--version", name_ + " " FUSSY_VERSION, "Print the version and exit");
    app.footer(example);
    app.get_formatter()->column_width(36);
  }

  /// Parses, runs `body`, and turns whatever happens into a message on stderr and the documented exit status.
  int run(int argc, char** argv, const std::function<void()>& body) {
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
      return app.exit(asked);
    } catch (const CLI::ParseError& e) {
      return refuse(errc::usage, std::string(e.what()) + "; see " + name_ + " --help");
    }
    try {
      body();
      return 0;
    } catch (const error& e) {
      if (!e.parts().output.empty()) report_output(e.parts().output);
      return refuse(e.code(), e.what());
    } catch (const std::bad_alloc&) {
      return refuse(errc::no_memory, "out of memory; close other programs or add swap, then retry");
    } catch (const std::exception& e) {
      return refuse(errc::failure, std::string(e.what()) + "; this was not foreseen, please report it");
    }
  }

  CLI::App app;
  logger log;

private:
  int refuse(errc code, std::string_view message) {
    log.write(log_level::error, message);
    return exit_status(code);
  }
  void report_output(std::string_view output) {
    while (!output.empty()) {
      const std::size_t end = std::min(output.find('\n'), output.size());
      print_line(stderr, "  | " + printable(output.substr(0, end)));
      output.remove_prefix(std::min(end + 1, output.size()));
    }
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
  return seconds;
}

}  // namespace fussy::cli
