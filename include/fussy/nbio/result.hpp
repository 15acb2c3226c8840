/// @file nbio/result.hpp  What a run of a pipe reports, its output and each stage; and the exception that carries it.
/// Threads: values.
/// Errors:  result::check() throws what the run failed with.
#pragma once

#include <fussy/error.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fussy::nbio {

using bytes = std::string;      ///< octets, whatever they mean
using view = std::string_view;  ///< octets that somebody else owns; one handed to a callable is valid during the call

/// How a process ended.
struct exit_status {
  int code = 0;           ///< its exit status, when `signal` is 0
  int signal = 0;         ///< the signal that killed it, or 0
  std::int64_t pid = -1;  ///< its process id while it lived, -1 when it was never started
  bool known = true;      ///< false: somebody else reaped it (the host ignores SIGCHLD, or waits for any child)
};

/// What became of one stage.
struct stage_report {
  std::string name;  ///< the command, or what kind of stage it is
  bool is_process = false;
  exit_status st;          ///< of a process
  bytes err;               ///< its error output, where err(capture()) asked for it
  std::exception_ptr exc;  ///< what a stage in our process threw
  int spawn_errno = 0;     ///< errno of starting the process (of the exec itself), 0 when it started
  std::uint64_t
      in = 0,
      out = 0;  ///< octets, as far as they passed through our process; neighbours of a process join in the kernel
  bool sigpipe_upstream =
      false;  ///< it died of SIGPIPE since the stage behind it had enough: no failure when that one ended well
  bool killed_by_us = false;  ///< it was ended by a timeout, a cancellation, or the failure of another stage
  bool failed = false;        ///< it failed of its own
};

/// What a run reports. `if (result)` asks whether all went well.
struct result {
  bytes out;                         ///< what came out of the last stage and went nowhere else; partial after a failure
  std::vector<stage_report> stages;  ///< in the order of the pipe
  bool timed_out = false;
  bool cancelled = false;  ///< by the stop token or job::kill
  bool left_open = false;  ///< linger() was over: a process that we did not start still held an output pipe

  explicit operator bool() const noexcept { return !timed_out && !cancelled && culprit() == nullptr; }
  /// The first stage, in the order of the pipe, that failed of its own; null when none did. One that died of SIGPIPE
  /// since the stage behind it gave up is not blamed for that.
  const stage_report* culprit() const noexcept {
    const stage_report* follower = nullptr;
    for (const stage_report& s : stages) {
      if (s.failed && !s.sigpipe_upstream) return &s;
      if (s.failed && !follower) follower = &s;
    }
    return follower;
  }
  /// Throws what the run failed with: what a stage in our process threw, else a pipe_error. Nothing when all went well.
  void check() const&;
  void check() &&;

  const result& operator()() const noexcept { return *this; }  // so that `error.result().out` reads as well
};

/// The failure of a run: errc::process_failed, spawn_failed, timeout or cancelled, with all that was known about the
/// run.
class FUSSY_API pipe_error : public error {
  std::shared_ptr<const nbio::result> kept_;

public:
  pipe_error(errc code, failure_parts parts, std::shared_ptr<const nbio::result> r)
      : error(code, std::move(parts)), kept_(std::move(r)), result(*kept_) {}

  const nbio::result& result;  ///< partial output and the report of every stage; lives as long as a copy of this error
};

namespace detail {

inline std::string signal_text(int number) {
  const auto name = [&]() -> const char* {
    switch (number) {
      case 1:
        return "SIGHUP";
      case 2:
        return "SIGINT";
      case 3:
        return "SIGQUIT";
      case 4:
        return "SIGILL";
      case 6:
        return "SIGABRT";
      case 8:
        return "SIGFPE";
      case 9:
        return "SIGKILL";
      case 11:
        return "SIGSEGV";
      case 13:
        return "SIGPIPE";
      case 14:
        return "SIGALRM";
      case 15:
        return "SIGTERM";
      default:
        return nullptr;
    }
  }();
  std::string text = "signal " + std::to_string(number);
  if (name) text.append(" (").append(name).append(")");
  return text;
}

/// The last whole lines of `text`, at most `max` octets.
inline view last_lines(view text, std::size_t max = 2048) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (text.size() <= max) return text;
  text.remove_prefix(text.size() - max);
  const std::size_t line = text.find('\n');
  return line == view::npos ? text : text.substr(line + 1);
}

inline std::string how_it_ended(const stage_report& s) {
  std::string text = !s.st.known   ? "its status is unknown: the host ignores SIGCHLD or waits for any child"
                     : s.st.signal ? "it was killed by " + signal_text(s.st.signal)
                                   : "it ended with status " + std::to_string(s.st.code);
  const view said = last_lines(s.err);
  if (!said.empty()) {
    const std::size_t line = said.rfind('\n');
    text.append(", having said: ").append(line == view::npos ? said : said.substr(line + 1));
  }
  return text;
}

inline pipe_error failure_of_process(const stage_report& s, std::shared_ptr<const result> r) {
  failure_parts parts{.what = "process `" + s.name + "` failed", .why = how_it_ended(s)};
  parts.remedy = s.st.known ? "see what it wrote, or accept the status with good_exit()"
                            : "let nobody else wait for the children of nbio";
  parts.output = last_lines(s.err.empty() ? view(r->out) : view(s.err));
  return {errc::process_failed, std::move(parts), std::move(r)};
}

inline pipe_error failure_to_spawn(const stage_report& s, std::shared_ptr<const result> r) {
  failure_parts parts{.what = "process `" + s.name + "` could not be started", .why = errno_text(s.spawn_errno)};
  parts.remedy = "is the program installed and executable, and its directory there?";
  parts.system = s.spawn_errno;
  return {errc::spawn_failed, std::move(parts), std::move(r)};
}

inline std::string pipe_name(const result& r) {
  std::string text;
  for (const stage_report& s : r.stages) text.append(text.empty() ? "" : " | ").append(s.name);
  return text;
}

inline pipe_error failure_of_pipe(errc code, const char* why, const char* remedy, std::shared_ptr<const result> r) {
  failure_parts parts{.what = "pipe `" + pipe_name(*r) + "` was ended", .why = why, .remedy = remedy};
  parts.output = last_lines(r->out);
  return {code, std::move(parts), std::move(r)};
}

[[noreturn]] inline void throw_failure(std::shared_ptr<const result> r) {
  if (r->timed_out)
    throw failure_of_pipe(errc::timeout, "its time was over", "give more with timeout(), or find out what hangs", r);
  if (r->cancelled) throw failure_of_pipe(errc::cancelled, "the caller asked to stop", "", r);
  const stage_report& s = *r->culprit();
  if (s.exc) std::rethrow_exception(s.exc);
  if (s.spawn_errno) throw failure_to_spawn(s, r);
  throw failure_of_process(s, r);
}

}  // namespace detail

inline void result::check() const& {
  if (!*this) detail::throw_failure(std::make_shared<const result>(*this));
}
inline void result::check() && {
  if (!*this) detail::throw_failure(std::make_shared<const result>(std::move(*this)));
}

}  // namespace fussy::nbio
