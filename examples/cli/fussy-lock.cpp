// fussy-lock: run a command that may run only once at a time, and only so long.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fussy/deadline.hpp>
#include <fussy/lock/guard.hpp>

#include <charconv>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "common.hpp"

namespace {

using namespace fussy;
using std::chrono::milliseconds;

// What flock(1) and timeout(1) end with; 128 + N for a signal as every shell does.
constexpr int exit_busy = 1, exit_timeout = 124, exit_own_failure = 125, exit_not_executable = 126,
              exit_not_found = 127;

struct options {
  std::string file, wait = "0", timeout = "0", kill_after = "5";
  bool quiet = false, close = false, foreground = false;
  int conflict_exit_code = exit_busy;
  std::vector<std::string> command;
};

/// "20", "1.5", "2m", "1h", "1d", "inf". @throws usage
milliseconds parse_duration(const std::string& option, const std::string& text) {
  const auto refuse = [&] {
    return error(errc::usage, {.what = option + " " + text,
                               .why = "this is no time",
                               .remedy = "give seconds, as in 20 or 1.5, or a number with s, m, h or d, or inf"});
  };
  if (text == "inf") return wait_forever;
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const std::string unit(end, text.data() + text.size());
  const double seconds = unit.empty() || unit == "s" ? 1
                         : unit == "m"               ? 60
                         : unit == "h"               ? 3600
                         : unit == "d"               ? 86400
                                                     : 0;
  if (problem != std::errc() || !(number >= 0) || seconds == 0) throw refuse();
  const double result = number * seconds * 1000;
  return result < 1e15 ? milliseconds(static_cast<std::int64_t>(std::ceil(result))) : wait_forever;
}

/// Signals that are passed on to the command, and the one that says that a child has changed.
sigset_t awaited_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int s : {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM}) ::sigaddset(&set, s);
  return set;
}

/// Signals as we need them; the command gets back what the caller had.
struct signals_of_caller {
  explicit signals_of_caller(const sigset_t& awaited) {
    ::sigprocmask(SIG_BLOCK, &awaited, &mask);
    // A caller may have SIGCHLD ignored: then nobody would tell us that the command has ended, nor with what status.
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &standard, &child_changed);
  }
  void restore() const {
    ::sigaction(SIGCHLD, &child_changed, nullptr);
    ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  }

  sigset_t mask{};
  struct sigaction child_changed {};
};

/// The command while it runs: in a process group of its own when its time is limited, so that all of it can be ended.
class running_command {
public:
  running_command(const options& o, const signals_of_caller& caller)
      : name_(o.command.front()), own_group_(!o.foreground) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw system_error("cannot run " + name_, errno);
    unique_fd failure(ends[0]), report(ends[1]);
    pid_ = ::fork();
    if (pid_ < 0) throw system_error("cannot run " + name_, errno, {}, "raise the limit on processes");
    if (pid_ == 0) become(o.command, caller, report.get());
    // Also here: whoever comes first, the group exists before a signal is sent to it.
    if (own_group_) ::setpgid(pid_, pid_);
    report.reset();
    if (retry_eintr([&] { return ::read(failure.get(), &exec_errno_, sizeof exec_errno_); }) != sizeof exec_errno_)
      exec_errno_ = 0;
  }

  /// Of execvp(3); 0 when the command was started.
  int exec_errno() const { return exec_errno_; }

  void send(int signal) const {
    ::kill(own_group_ ? -pid_ : pid_, signal);
    if (signal == SIGTERM) ::kill(own_group_ ? -pid_ : pid_, SIGCONT);  // a stopped process would not notice
  }

  /// A signal that the terminal sent has reached the command already when it is in our group.
  void pass_on(const siginfo_t& from) const {
    if (own_group_ || from.si_code != SI_KERNEL) send(from.si_signo);
  }

  /// Collects whoever has ended: the command, or descendants of it whose parents have ended.
  void reap() {
    int status = 0;
    for (pid_t p; (p = ::waitpid(-1, &status, WNOHANG)) > 0;)
      if (p == pid_) {
        ended_ = true;
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
  }
  bool ended() const { return ended_; }
  bool group_ended() const { return ended_ && (!own_group_ || (::kill(-pid_, 0) != 0 && errno == ESRCH)); }
  int status() const { return status_; }

private:
  [[noreturn]] void become(const std::vector<std::string>& command, const signals_of_caller& caller, int report) const {
    if (own_group_) ::setpgid(0, 0);
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    caller.restore();
    ::execvp(argv[0], argv.data());
    const int problem = errno;
    (void)!::write(report, &problem, sizeof problem);
    ::_exit(exit_not_executable);
  }

  std::string name_;
  bool own_group_, ended_ = false;
  pid_t pid_ = 0;
  int exec_errno_ = 0, status_ = 0;
};

/// Sleeps until a signal or the moment comes. @return the signal, 0 for none
int wait_for_signal(const sigset_t& set, deadline_clock::time_point until, siginfo_t& info) {
  const milliseconds left = time_left(until);
  const timespec limit{static_cast<std::time_t>(left.count() / 1000),
                       static_cast<long>(left.count() % 1000 * 1'000'000)};
  const int signal = ::sigtimedwait(&set, &info, &limit);
  return signal > 0 ? signal : 0;
}

/// Runs the command to its end, or to the end of its time: SIGTERM, after the grace period SIGKILL.
int run(const options& o, cli::logger& log) {
  const milliseconds timeout = parse_duration("--timeout", o.timeout),
                     grace = parse_duration("--kill-after", o.kill_after);
  const bool limited = timeout > milliseconds(0) && timeout != wait_forever;
  options how = o;
  how.foreground = o.foreground || !limited;  // without a limit there is no group to end
  // Orphans of the command become our children: only so is it known when the last one of its group has ended.
  if (!how.foreground) ::prctl(PR_SET_CHILD_SUBREAPER, 1);

  const sigset_t awaited = awaited_signals();
  const signals_of_caller caller(awaited);
  running_command command(how, caller);
  if (const int problem = command.exec_errno()) {
    log.write(log_level::error,
              system_error("cannot run", problem, o.command.front(), "check its name, PATH and mode").what());
    return problem == ENOENT ? exit_not_found : exit_not_executable;
  }

  auto until = limited ? deadline_after(timeout) : no_deadline;
  enum { in_time, terminated, killed } stage = in_time;
  for (;;) {
    siginfo_t info{};
    const int signal = wait_for_signal(awaited, until, info);
    if (signal != 0 && signal != SIGCHLD) command.pass_on(info);
    command.reap();
    if (stage == in_time ? command.ended() : command.group_ended()) break;
    if (deadline_clock::now() < until) continue;
    if (stage == in_time) {
      log.write(log_level::error, o.command.front() + " is being ended: it did not end by itself within --timeout " +
                                      o.timeout + "; give it more time, or find out what takes so long");
      command.send(SIGTERM);
      stage = terminated;
      until = deadline_after(grace);
    } else if (stage == terminated) {
      command.send(SIGKILL);
      stage = killed;
      until = deadline_after(std::chrono::seconds(5));  // what cannot be killed does not keep us
    } else {
      break;
    }
  }
  return stage == in_time ? command.status() : stage == terminated ? exit_timeout : 128 + SIGKILL;
}

/// The command line is ours up to `--`, or to the first word behind FILE.
void add_options(CLI::App& app, options& o) {
  app.add_option("FILE", o.file, "The lock file, created when missing")->type_name("FILE")->required();
  app.add_option("-t,--timeout", o.timeout, "End the command, with its whole process group, after that time")
      ->type_name("S");
  app.add_option("-w,--wait", o.wait, "Wait that long for the lock (default: not at all)")->type_name("S");
  app.add_option("-k,--kill-after", o.kill_after, "After a time-out, SIGKILL follows SIGTERM by that (default: 5)")
      ->type_name("S");
  app.add_option("-E,--conflict-exit-code", o.conflict_exit_code, "Exit status when the lock is busy (default: 1)")
      ->type_name("N")
      ->check(CLI::Range(0, 255));
  app.add_flag("-q,--quiet", o.quiet, "Say nothing when the lock is busy");
  app.add_flag("-o,--close", o.close, "Do not let the command inherit the lock");
  app.add_flag("--foreground", o.foreground,
               "Leave the command in our process group: it may use the terminal, "
               "and only itself is ended by --timeout");
  app.prefix_command();
}

/// What CLI11 left over: COMMAND, behind a `--` or not, or an option that is none of ours.
std::vector<std::string> command_of(std::vector<std::string> rest) {
  if (!rest.empty() && rest.front() == "--")
    rest.erase(rest.begin());
  else if (!rest.empty() && rest.front().starts_with("-"))
    throw error(errc::usage, {.what = "unknown option " + rest.front(), .remedy = "see fussy-lock --help"});
  return rest;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  cli::command command("fussy-lock", "Run COMMAND while holding a lock file, so that it runs only once at a time.",
                       "In full: fussy-lock [OPTIONS] FILE -- COMMAND [ARGUMENT...]\n"
                       "Exit status: that of COMMAND; 1 the lock is busy, 124 time-out, 125 fussy-lock failed,\n"
                       "126 COMMAND cannot be run, 127 COMMAND not found, 128+N COMMAND ended by signal N.\n"
                       "Example:\n  fussy-lock --timeout 20m /run/backup.lock -- backup --all");
  add_options(command.app, o);
  int status = 0;
  const int failure = command.run(argc, argv, [&] {
    o.command = command_of(command.app.remaining());
    if (o.command.empty()) throw error(errc::usage, {.what = "no command given", .remedy = "see fussy-lock --help"});
    const milliseconds wait = parse_duration("--wait", o.wait);
    try {
      flock_guard guard(o.file, wait);
      if (!o.close) guard.let_children_inherit();
      status = run(o, command.log);
      if (!o.close) guard.leave_to_children();
    } catch (const error& e) {
      if (e.code() != errc::busy) throw;
      if (!o.quiet) command.log.write(log_level::error, e.what());
      status = o.conflict_exit_code;
    }
  });
  return failure != 0 ? exit_own_failure : status;
}
