/// @file installing.hpp  Options that the commands working on a target share.
#pragma once

#include <fussy/install.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include "policy.hpp"
#include "reporting.hpp"
#include "stoppable.hpp"

namespace fussy::cli {

class install_options {
public:
  explicit install_options(command& c) : reporting_(c) {}

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
        ->check(zero_or_more())
        ->capture_default_str();
    add_policy_to(app, options_.policy, allowed_);
  }
  void add_target_to(CLI::App& app) {
    app.add_option("-t,--target", options_.target, "Directory of the versions")
        ->type_name("DIR")
        ->capture_default_str();
    reporting_.add_logs();
    app.add_option("--wait", wait_seconds_, "Wait so many seconds for another command to finish (default: do not)")
        ->type_name("S")
        ->check(zero_or_more());
  }
  void add_to(CLI::App& app) {
    add_target_to(app);
    app.add_option("--hook-timeout", hook_seconds_, "End a hook that runs longer than so many seconds")
        ->type_name("S")
        ->check(more_than_zero());
  }

  /// What the library gets; logs are open and steps are shown from here on.
  install::options prepare(std::string (*words)(phase) = step_words) {
    options_.policy.allowed = fingerprints(allowed_);
    std::signal(SIGXFSZ, SIG_IGN);  // a log or file that may not get larger is an error with a remedy, not our end
    reporting_.catch_signals();
    reporting_.begin(words);
    reporting_.log().note("FUSSY_TARGET", options_.target.string());
    reporting_.log().note("FUSSY_PACKAGE", package_);
    options_.log = reporting_.log().sink();
    options_.progress = reporting_.log().steps();
    options_.stop = reporting_.stop();
    options_.lock_wait = milliseconds(wait_seconds_);
    if (hook_seconds_ > 0) options_.hook_timeout = milliseconds(hook_seconds_);
    return options_;
  }
  const std::string& package() const { return package_; }
  reporting& says() { return reporting_; }

  /// Calls `use` with the path, or with a reader on standard input.
  template <class Use>
  auto from_package(const install::options& how, Use&& use) const {
    constexpr const char* standard_input = "standard input";
    if (package_ == "-")
      return use(any_reader(stoppable_reader(file_reader(STDIN_FILENO, standard_input), standard_input, how.stop)),
                 how);
    return use(std::filesystem::path(package_), how);
  }

  /// The end of a command that made a version.
  void result(const install::report& done) {
    json fields{{"version", done.version},
                {"path", done.path.string()},
                {"previous", text_or_null(done.previous)},
                {"recovered", name(done.recovered.what)}};
    if (!done.signers.empty()) {
      fields["signers"] = signers_field(done.signers);
      fields["encrypted"] = done.encrypted;
      fields["files"] = done.unpacked.files;
      fields["shared_files"] = done.unpacked.shared;
      fields["bytes"] = done.unpacked.bytes;
      fields["written_bytes"] = done.unpacked.written;
    }
    reporting_.done(done.path.string(), fields);
  }

private:
  static std::chrono::milliseconds milliseconds(double seconds) {
    constexpr double a_year = 366 * 86400.0;  // as good as for ever, and no clock overflows
    return std::chrono::milliseconds(static_cast<std::int64_t>(std::min(seconds, a_year) * 1000));
  }

  reporting reporting_;
  install::options options_;
  std::string package_;
  std::vector<std::string> allowed_;
  double wait_seconds_ = 0, hook_seconds_ = 0;
};

}  // namespace fussy::cli
