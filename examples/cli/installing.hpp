/// @file installing.hpp  Options that the commands working on a target share.
#pragma once

#include <fussy/install.hpp>

#include <chrono>
#include <csignal>
#include <utility>

#include "common.hpp"

namespace fussy::cli {

class install_options {
public:
  void add_package_to(CLI::App& app) {
    app.add_option("-f,--file,file", package_, "The package; - reads it from standard input")
        ->type_name("FILE")
        ->required();
    app.add_option("-k,--keyring", options_.keyring, "Directory or file of the trusted keys")
        ->type_name("DIR")
        ->capture_default_str();
    app.add_option("--max-ratio", options_.limits.max_ratio,
                   "Refuse more than 64 MiB that unpack from less than one part in N; 0: never")
        ->type_name("N")
        ->capture_default_str();
  }
  void add_target_to(CLI::App& app) {
    app.add_option("-t,--target", options_.target, "Directory of the versions")
        ->type_name("DIR")
        ->capture_default_str();
    app.add_option("-l,--logfile", logfile_, "Append a log to this file")->type_name("FILE");
    app.add_option("--wait", wait_seconds_, "Wait so many seconds for another command to finish (default: do not)")
        ->type_name("S")
        ->check(CLI::NonNegativeNumber);
    add_verbose_to(app);
  }
  void add_verbose_to(CLI::App& app) { app.add_flag("-v,--verbose", verbose_, "Say what is done on stderr"); }
  void add_to(CLI::App& app) {
    add_target_to(app);
    app.add_option("--hook-timeout", hook_seconds_, "End a hook that runs longer than so many seconds")
        ->type_name("S")
        ->check(CLI::PositiveNumber);
  }

  /// What the library gets; the log is open from here on.
  install::options prepare(logger& log) {
    std::signal(SIGXFSZ, SIG_IGN);  // a log or file that may not get larger is an error with a remedy, not our end
    log.be_verbose(verbose_);
    if (!logfile_.empty()) log.open(logfile_);
    options_.log = log.sink();
    options_.lock_wait = milliseconds(wait_seconds_);
    if (hook_seconds_ > 0) options_.hook_timeout = milliseconds(hook_seconds_);
    return options_;
  }
  const std::string& package() const { return package_; }

  /// Calls `use` with the path, or with a reader on standard input.
  template <class Use>
  auto from_package(const install::options& how, Use&& use) const {
    if (package_ == "-") return use(any_reader(file_reader(STDIN_FILENO, "standard input")), how);
    return use(std::filesystem::path(package_), how);
  }

private:
  static std::chrono::milliseconds milliseconds(double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
  }

  install::options options_;
  std::string package_, logfile_;
  double wait_seconds_ = 0, hook_seconds_ = 0;
  bool verbose_ = false;
};

}  // namespace fussy::cli
