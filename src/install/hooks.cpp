#include "hooks.hpp"

#include <fussy/nbio.hpp>

#include <deque>
#include <utility>

namespace fussy::install {

namespace {

/// What a hook wrote last, for the error: the reader of an error rarely has the log at hand.
class last_words {
public:
  void add(std::string_view line) {
    lines_.emplace_back(line.substr(0, 500));
    if (lines_.size() > 20) lines_.pop_front();
  }
  std::string text() const {
    std::string all;
    for (const std::string& line : lines_) all.append(line).append("\n");
    return all;
  }
  std::string last() const { return lines_.empty() ? std::string() : lines_.back(); }

private:
  std::deque<std::string> lines_;
};

/// Nothing of who called us is in it, so a hook sees the same at boot, from a console and from a web server.
nbio::process hook_process(const hook_call& call) {
  return nbio::process({call.version_path + "/" + call.hook, call.version_path, call.recovery ? "True" : "False"})
      .clear_env()
      .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
      .env("LANG", "C.UTF-8")
      .env("FUSSY_HOOK", call.hook)
      .env("FUSSY_TARGET", call.target)
      .env("FUSSY_VERSION", call.version)
      .env("FUSSY_PREVIOUS", call.previous)
      .env("FUSSY_RECOVERY", call.recovery ? "True" : "False")
      .cwd("/")
      .err(nbio::to_stdout{})
      .new_group()
      .close_others()
      .kills(nbio::reach::group);
}

std::string remedy_for(const error& e, std::chrono::milliseconds timeout) {
  switch (e.code()) {
    case errc::timeout:
      return "make it faster, or give it more than " + std::to_string(timeout.count() / 1000) + " s";
    case errc::spawn_failed:
      if (failed_with(e, EACCES)) return "make it executable (chmod 755) and pack it again";
      if (failed_with(e, ENOEXEC)) return "its first line must name its interpreter, as #!/bin/sh does";
      if (failed_with(e, ENOENT)) return "install the interpreter that its first line names";
      return "see the system error";
    case errc::cancelled:
      return "install again when it suits";
    default:
      return "see what it wrote";
  }
}

error hook_failed(const hook_call& call, const error& e, const last_words& words, std::chrono::milliseconds timeout) {
  failure_parts parts = e.parts();
  parts.what = call.hook + " of " + call.version_path + " failed";
  if (!words.last().empty()) parts.why += ", having said: " + words.last();
  parts.remedy = remedy_for(e, timeout);
  parts.path = call.version_path + "/" + call.hook;
  parts.output = words.text();
  return error(e.code(), std::move(parts));
}

}  // namespace

hook_runner run_hooks(std::chrono::milliseconds timeout, log_sink sink) {
  return [timeout, sink = std::move(sink)](const hook_call& call, std::stop_token stop) {
    last_words words;
    try {
      // A service that a hook started may keep the pipe open: the hook is over when the hook is, not when that ends.
      nbio::pipe run = nbio::pipe(hook_process(call)).linger(std::chrono::milliseconds(300)).stop(std::move(stop));
      if (timeout.count() > 0) run = std::move(run).timeout(timeout);
      for (const std::string_view line : std::move(run).lines()) {
        words.add(line);
        log(sink, log_level::info, call.hook + ": " + std::string(line));
      }
    } catch (const error& e) {
      throw hook_failed(call, e, words, timeout);
    }
  };
}

}  // namespace fussy::install
