/// @file nbio/process.hpp  The description of a process: a value. Nothing is opened, truncated or started before a run.
/// Threads: a process is immutable (every setter returns a changed copy), so it may be shared between threads.
/// Errors:  std::invalid_argument for an argument vector that cannot be; everything else is found when it runs.
#pragma once

#include <fussy/nbio/result.hpp>

#include <sys/types.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace fussy::nbio {

class pipe;
class job;
class loop;
class chunks_range;
struct by_line;

using ms = std::chrono::milliseconds;

/// Where the error output of a process goes.
struct to_parent {};  ///< where ours goes (default)
struct to_null {};    ///< nowhere
struct to_stdout {};  ///< merged with its output, in the order it was written
struct capture {      ///< into stage_report::err, the first `max` octets; the rest is read and dropped
  std::size_t max = SIZE_MAX;
};
/// A path is truncated when the pipe runs. A function sees the chunks as they come, on the thread that drives the run.
using err_to = std::variant<to_parent, to_null, to_stdout, capture, std::filesystem::path, std::function<void(view)>>;

/// How far a kill goes, when a timeout, a cancellation or a failure in our process ends a run.
enum class reach {
  child,  ///< the process alone
  tree,   ///< and its descendants, as far as /proc shows them, and who else holds its pipes (default)
  group   ///< and its process group
};

namespace detail {

struct resource_limit {
  int resource;
  std::uint64_t soft, hard;
};

struct process_spec {
  std::vector<std::string> argv;
  bool shell = false;
  std::vector<int> good{0};
  bool any_exit = false;
  err_to err;
  bool capture_out = true;
  bool inherit_in = false;
  std::vector<std::pair<std::string, std::optional<std::string>>> env;
  bool clear_env = false;
  std::filesystem::path cwd;
  std::optional<int> niceness;
  std::string user;
  std::vector<resource_limit> limits;
  bool new_group = false;
  bool new_session = false;
  bool close_others = false;
  reach kills = reach::tree;
  ms grace{0};
  std::vector<std::pair<int, int>> pass;  // in the child, in our process
  std::size_t pipe_size = 0;

  std::string name() const {
    constexpr std::size_t longest = 100;
    std::string text;
    for (std::size_t i = shell ? 2 : 0; i < argv.size(); ++i) text.append(text.empty() ? "" : " ").append(argv[i]);
    if (text.size() > longest) text.replace(longest - 3, std::string::npos, "...");
    return text;
  }
  bool is_good(int code) const noexcept {
    if (any_exit) return true;
    for (int g : good)
      if (g == code) return true;
    return false;
  }
  bool leads_group() const noexcept { return new_group || new_session; }
};

}  // namespace detail

/// One process of a pipe: what to run and how. A text is run by `/bin/sh -c`, a list is the argument vector of a
/// program.
///
/// Its output goes to what follows, else it is collected; its error output goes where ours goes; when nothing feeds it,
/// its input is at its end from the start. SIGPIPE and SIGXFSZ have their default action in it and no signal is
/// blocked, whatever the host does. It inherits no descriptor that the library opened, and those of the host that lack
/// O_CLOEXEC.
class [[nodiscard]] process {
public:
  explicit process(view shell_command)
      : process(std::vector<std::string>{"/bin/sh", "-c", std::string(shell_command)}) {
    edit().shell = true;
  }
  /// @throws std::invalid_argument  no program, or a NUL inside an argument.
  process(std::initializer_list<std::string> argv) : process(std::vector<std::string>(argv)) {}
  explicit process(std::vector<std::string> argv) : spec_(std::make_shared<detail::process_spec>()) {
    if (argv.empty() || argv[0].empty()) throw std::invalid_argument("nbio: a process needs a program");
    for (const std::string& a : argv) refuse_nul(a);
    edit().argv = std::move(argv);
  }
  process(std::nullptr_t) = delete;

  /// Exit statuses that are no failure; {0} unless said. A signal always is one.
  process good_exit(std::initializer_list<int> codes) const { return good_exit(std::vector<int>(codes)); }
  template <class R>
  requires requires(const R& r) {
    static_cast<int>(*std::begin(r));
    std::end(r);
  }
  process good_exit(const R& codes) const {
    return with([&](auto& s) { s.good.assign(std::begin(codes), std::end(codes)); });
  }
  /// Every exit status is good; a signal still is a failure.
  process any_exit() const {
    return with([](auto& s) { s.any_exit = true; });
  }
  process err(err_to where) const {
    return with([&](auto& s) { s.err = std::move(where); });
  }
  /// As the last stage: its output goes where ours goes instead of being collected.
  process no_capture() const {
    return with([](auto& s) { s.capture_out = false; });
  }
  /// As the first stage: it reads our standard input.
  process inherit_stdin() const {
    return with([](auto& s) { s.inherit_in = true; });
  }
  /// One variable of its environment, on top of ours (or of nothing, after clear_env); nullopt removes it.
  process env(std::string key, std::optional<std::string> value) const {
    if (key.empty() || key.find('=') != std::string::npos)
      throw std::invalid_argument("nbio: no name of a variable: " + key);
    refuse_nul(key);
    if (value) refuse_nul(*value);
    return with([&](auto& s) { s.env.emplace_back(std::move(key), std::move(value)); });
  }
  /// It sees only what env() gives, before or after this call.
  process clear_env() const {
    return with([](auto& s) { s.clear_env = true; });
  }
  /// Its working directory. A relative program is found from our directory first, as everybody expects.
  process cwd(std::filesystem::path directory) const {
    return with([&](auto& s) { s.cwd = std::move(directory); });
  }
  /// Added to our nice value (setpriority(2)). This, user() and limit() start the process by fork(2), which takes
  /// longer the more memory the host has; without them posix_spawn(3) is used, which does not.
  process nice(int increment) const {
    return with([&](auto& s) { s.niceness = increment; });
  }
  /// Runs as this user, with the user's groups. Needs privilege. @throws at the run: not_found for an unknown user.
  process user(std::string name) const {
    return with([&](auto& s) { s.user = std::move(name); });
  }
  /// A limit on what it may use: setrlimit(2), RLIMIT_*.
  process limit(int resource, std::uint64_t soft, std::uint64_t hard) const {
    return with([&](auto& s) { s.limits.push_back({resource, soft, hard}); });
  }
  /// It leads a process group of its own, which is killed whole. It then is no longer in the foreground of a terminal.
  process new_group() const {
    return with([](auto& s) { s.new_group = true; });
  }
  /// It leads a session of its own (setsid(2)), and so a process group.
  process new_session() const {
    return with([](auto& s) { s.new_session = true; });
  }
  /// It inherits nothing but 0, 1, 2 and what pass_fd() says, even if the host opened without O_CLOEXEC.
  process close_others() const {
    return with([](auto& s) { s.close_others = true; });
  }
  /// How far a kill goes; with a grace it is asked first by SIGTERM and killed when the grace is over.
  process kills(reach how_far, ms grace = ms(0)) const {
    return with([&](auto& s) { s.kills = how_far, s.grace = grace; });
  }
  /// It sees our descriptor `fd` as `child_fd` (3 or higher). `fd` must be open when the pipe runs; it stays the
  /// caller's.
  process pass_fd(int child_fd, int fd) const {
    if (child_fd < 3) throw std::invalid_argument("nbio: pass_fd is for descriptors from 3 on");
    return with([&](auto& s) { s.pass.emplace_back(child_fd, fd); });
  }
  /// Size of the pipe behind it (F_SETPIPE_SZ); what the kernel refuses is ignored.
  process pipe_size(std::size_t octets) const {
    return with([&](auto& s) { s.pipe_size = octets; });
  }

  // A process alone is a pipe of one; see there.
  bytes operator()() const;
  result run() const;
  job start() const;
  job start(loop& by) const;
  chunks_range chunks() const;
  chunks_range lines() const;
  chunks_range lines(by_line how) const;
  template <class Rep, class Period>
  pipe timeout(std::chrono::duration<Rep, Period> longest) const;
  template <class Rep, class Period>
  pipe linger(std::chrono::duration<Rep, Period> longest) const;
  pipe stop(std::stop_token token) const;
  pipe limit_output(std::size_t octets) const;

  const detail::process_spec& spec() const noexcept { return *spec_; }  ///< for the library's own use

private:
  static void refuse_nul(const std::string& text) {
    if (text.find('\0') != std::string::npos) throw std::invalid_argument("nbio: a NUL inside an argument or variable");
  }
  detail::process_spec& edit() { return const_cast<detail::process_spec&>(*spec_); }  // only while it is not shared
  template <class Change>
  process with(Change&& change) const {
    process changed = *this;
    changed.spec_ = std::make_shared<detail::process_spec>(*spec_);
    change(changed.edit());
    return changed;
  }
  std::shared_ptr<const detail::process_spec> spec_;
};

using P = process;

}  // namespace fussy::nbio
