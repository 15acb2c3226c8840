/// @file nbio/spawn.hpp  Starting a process: posix_spawn(3), or fork(2) where that cannot do what is asked.
/// Threads: safe from any thread; nothing global is changed.
/// Errors:  an errno in the return value; fussy::error for a user that does not exist.
#pragma once

#include <fussy/io.hpp>
#include <fussy/nbio/process.hpp>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

extern char** environ;

namespace fussy::nbio::detail {

/// Descriptors of ours stay clear of 0, 1 and 2: a host may have closed those, and a child gets its own there.
inline unique_fd above_stdio(unique_fd fd) {
  if (!fd || fd.get() > STDERR_FILENO) return fd;
  unique_fd higher(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!higher) throw system_error("cannot duplicate a descriptor", errno);
  return higher;
}

struct pipe_ends {
  unique_fd read, write;
};

/// Close-on-exec from the start, so no process that is started meanwhile can hold an end open.
inline pipe_ends make_pipe(std::size_t size = 0) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0)
    throw system_error("cannot create a pipe", errno, {}, "raise the limit on descriptors");
  pipe_ends ends{unique_fd(fds[0]), unique_fd(fds[1])};
  ends.read = above_stdio(std::move(ends.read));
  ends.write = above_stdio(std::move(ends.write));
  if (size != 0) (void)::fcntl(ends.write.get(), F_SETPIPE_SZ, static_cast<int>(size));
  return ends;
}

/// Only ever for an end of a pipe of our own: the flag belongs to the open description, which others may share.
inline void set_nonblocking(int fd) { (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

/// The strings of a vector as exec wants them; valid as long as the vector is.
inline std::vector<char*> c_strings(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& t : texts) pointers.push_back(const_cast<char*>(t.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

inline std::vector<std::string> child_environment(const process_spec& spec) {
  std::vector<std::string> env;
  if (!spec.clear_env)
    for (char** e = environ; e && *e; ++e) env.emplace_back(*e);
  for (const auto& [key, value] : spec.env) {
    const std::string assignment = key + "=";
    std::erase_if(env, [&](const std::string& e) { return e.starts_with(assignment); });
    if (value) env.push_back(assignment + *value);
  }
  return env;
}

inline std::string search_path(const std::vector<std::string>& env) {
  for (const std::string& e : env)
    if (e.starts_with("PATH=")) return e.substr(5);
  return "/usr/local/bin:/usr/bin:/bin";
}

/// Where the program is, absolute wherever the child changes directory first; searched in the PATH the child will have.
/// @return 0, or the errno that says why there is none.
inline int resolve_program(const process_spec& spec, const std::vector<std::string>& env, std::string& program) {
  const auto runnable = [](const std::string& path) {
    struct stat st;
    if (::stat(path.c_str(), &st) != 0) return errno;
    if (!S_ISREG(st.st_mode)) return EACCES;
    return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
  };
  const auto from_here = [&](std::string path) {
    return path[0] == '/' || spec.cwd.empty() ? path : std::filesystem::absolute(path).string();
  };
  const std::string& name = spec.argv[0];
  if (name.find('/') != std::string::npos) {
    program = from_here(name);
    return spec.user.empty() ? runnable(program) : 0;  // another user may see it where we do not
  }
  int why = ENOENT;
  const std::string path = search_path(env);
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string directory = end == at ? "." : path.substr(at, end - at);
    const std::string candidate = from_here(directory + "/" + name);
    const int error = runnable(candidate);
    if (error == 0) return program = candidate, 0;
    if (error == EACCES) why = EACCES;
    at = end + 1;
  }
  return why;
}

/// The groups of a user, looked up before the fork: afterwards only async-signal-safe calls are allowed.
struct identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;

  static identity of(const std::string& user) {
    std::vector<char> room(16384);
    passwd entry{};
    passwd* found = nullptr;
    const int error = ::getpwnam_r(user.c_str(), &entry, room.data(), room.size(), &found);
    if (!found)
      throw fussy::error(errc::not_found, {.what = "cannot run as user " + user,
                                           .why = error ? errno_text(error) : "there is no such user",
                                           .remedy = "create the user or name another",
                                           .system = error});
    identity id{entry.pw_uid, entry.pw_gid, std::vector<gid_t>(64)};
    int count = static_cast<int>(id.groups.size());
    if (::getgrouplist(user.c_str(), id.gid, id.groups.data(), &count) < 0) {
      id.groups.resize(static_cast<std::size_t>(count));
      ::getgrouplist(user.c_str(), id.gid, id.groups.data(), &count);
    }
    id.groups.resize(static_cast<std::size_t>(count));
    return id;
  }
};

/// All that starting a process needs, prepared so that the child has nothing left to decide.
struct launch_plan {
  std::string program;
  std::vector<std::string> env;
  std::vector<char*> argv, envp;
  int in = -1, out = -1, err = -1;  // our descriptors that become 0, 1 and 2; -1: what we have there
  std::vector<std::pair<int, int>>
      pass;  // child, ours: above all numbers in the child, so that no dup2 runs over another
  std::vector<unique_fd> lifted;
  sigset_t defaults, unblocked;
  identity who;
};

struct started {
  pid_t pid = -1;
  int error = 0;
};

inline bool needs_fork(const process_spec& s) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
  constexpr bool closes = true;
#else
  constexpr bool closes = false;
#endif
  return s.niceness || !s.user.empty() || !s.limits.empty() || (s.close_others && !closes);
}

inline int lift(launch_plan& plan, int fd, int target, int floor) {
  if (fd < 0 || fd == target || fd >= floor) return fd;
  unique_fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, floor));
  if (!copy) throw system_error("cannot duplicate descriptor " + std::to_string(fd), errno);
  plan.lifted.push_back(std::move(copy));
  return plan.lifted.back().get();
}

/// @return 0 or the errno that says why the program cannot be started.
inline int prepare(launch_plan& plan, const process_spec& spec, int in, int out, int err) {
  plan.env = child_environment(spec);
  if (const int error = resolve_program(spec, plan.env, plan.program)) return error;
  plan.argv = c_strings(spec.argv);
  plan.envp = c_strings(plan.env);
  plan.in = lift(plan, in, STDIN_FILENO, 3);
  plan.out = lift(plan, out, STDOUT_FILENO, 3);
  plan.err = err == STDOUT_FILENO ? err : lift(plan, err, STDERR_FILENO, 3);
  int floor = 3;
  for (const auto& p : spec.pass) floor = std::max(floor, p.first + 1);
  for (const auto& [child, ours] : spec.pass) plan.pass.emplace_back(child, lift(plan, ours, -1, floor));
  ::sigemptyset(&plan.unblocked);
  ::sigemptyset(&plan.defaults);
  ::sigaddset(&plan.defaults, SIGPIPE);
  ::sigaddset(&plan.defaults, SIGXFSZ);
  if (!spec.user.empty()) plan.who = identity::of(spec.user);
  return 0;
}

inline int last_passed(const launch_plan& plan) {
  int last = STDERR_FILENO;
  for (const auto& p : plan.pass) last = std::max(last, p.first);
  return last;
}
inline bool is_passed(const launch_plan& plan, int fd) {
  return std::any_of(plan.pass.begin(), plan.pass.end(), [fd](const auto& p) { return p.first == fd; });
}

class spawn_actions {
public:
  spawn_actions() { ::posix_spawn_file_actions_init(&actions_); }
  ~spawn_actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  spawn_actions(const spawn_actions&) = delete;
  spawn_actions& operator=(const spawn_actions&) = delete;

  void duplicate(int from, int to) {
    if (from >= 0) check(::posix_spawn_file_actions_adddup2(&actions_, from, to));
  }
  void change_directory(const char* path) { check(::posix_spawn_file_actions_addchdir_np(&actions_, path)); }
  void close(int fd) { check(::posix_spawn_file_actions_addclose(&actions_, fd)); }
  void close_from([[maybe_unused]] int fd) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    check(::posix_spawn_file_actions_addclosefrom_np(&actions_, fd));
#endif
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

private:
  static void check(int error) {
    if (error != 0) throw system_error("cannot describe a process", error);
  }
  posix_spawn_file_actions_t actions_;
};

inline started spawn_posix(const process_spec& spec, const launch_plan& plan) {
  spawn_actions actions;
  actions.duplicate(plan.in, STDIN_FILENO);
  actions.duplicate(plan.out, STDOUT_FILENO);
  actions.duplicate(plan.err, STDERR_FILENO);
  for (const auto& [child, ours] : plan.pass) actions.duplicate(ours, child);
  if (!spec.cwd.empty()) actions.change_directory(spec.cwd.c_str());
  if (spec.close_others) {
    const int last = last_passed(plan);
    for (int fd = STDERR_FILENO + 1; fd < last; ++fd)
      if (!is_passed(plan, fd)) actions.close(fd);
    actions.close_from(last + 1);
  }
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
  if (spec.new_session)
    flags = static_cast<short>(flags | POSIX_SPAWN_SETSID);
  else if (spec.new_group)
    flags = static_cast<short>(flags | POSIX_SPAWN_SETPGROUP);
  ::posix_spawnattr_setflags(&attributes, flags);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setsigdefault(&attributes, &plan.defaults);
  ::posix_spawnattr_setsigmask(&attributes, &plan.unblocked);
  started child;
  child.error =
      ::posix_spawn(&child.pid, plan.program.c_str(), actions.get(), &attributes, plan.argv.data(), plan.envp.data());
  ::posix_spawnattr_destroy(&attributes);
  return child;
}

/// What the child of a fork does until its exec: only async-signal-safe calls. @return errno of what failed.
inline int become(const process_spec& spec, const launch_plan& plan) {
  const auto duplicate = [](int from, int to) {
    if (from < 0) return true;
    if (from == to) return ::fcntl(to, F_SETFD, 0) == 0;
    return ::dup2(from, to) >= 0;
  };
  if (spec.new_session ? ::setsid() < 0 : spec.new_group && ::setpgid(0, 0) != 0) return errno;
  if (!duplicate(plan.in, STDIN_FILENO) || !duplicate(plan.out, STDOUT_FILENO) || !duplicate(plan.err, STDERR_FILENO))
    return errno;
  for (const auto& [child, ours] : plan.pass)
    if (!duplicate(ours, child)) return errno;
  if (!spec.cwd.empty() && ::chdir(spec.cwd.c_str()) != 0) return errno;
  for (const resource_limit& l : spec.limits) {
    const rlimit value{static_cast<rlim_t>(l.soft), static_cast<rlim_t>(l.hard)};
    if (::setrlimit(static_cast<decltype(RLIMIT_CPU)>(l.resource), &value) != 0) return errno;
  }
  errno = 0;
  if (spec.niceness && ::nice(*spec.niceness) == -1 && errno != 0) return errno;
  if (!spec.user.empty() && (::setgroups(plan.who.groups.size(), plan.who.groups.data()) != 0 ||
                             ::setgid(plan.who.gid) != 0 || ::setuid(plan.who.uid) != 0))
    return errno;
#ifdef SYS_close_range
  if (spec.close_others) {  // marked, not closed: the report of a failure still needs its pipe
    const int last = last_passed(plan);
    for (int fd = STDERR_FILENO + 1; fd < last; ++fd)
      if (!is_passed(plan, fd)) (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)::syscall(SYS_close_range, last + 1, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
  }
#endif
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) {  // a handler of the host must not run in here
    struct sigaction now {};
    if (::sigaction(s, nullptr, &now) != 0) continue;
    if (::sigismember(&plan.defaults, s) == 1 || (now.sa_handler != SIG_IGN && now.sa_handler != SIG_DFL))
      ::sigaction(s, &standard, nullptr);
  }
  ::sigprocmask(SIG_SETMASK, &plan.unblocked, nullptr);
  ::execve(plan.program.c_str(), plan.argv.data(), plan.envp.data());
  return errno;
}

inline started spawn_fork(const process_spec& spec, const launch_plan& plan) {
  pipe_ends report = make_pipe();  // the exec closes it; else it carries the errno
  unique_fd high(::fcntl(report.write.get(), F_DUPFD_CLOEXEC, 64));
  const int report_to = high ? high.get() : report.write.get();
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int error = become(spec, plan);
    const ssize_t n = ::write(report_to, &error, sizeof error);
    ::_exit(n == sizeof error ? 127 : 126);
  }
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return {-1, fork_error};
  report.write.reset();
  high.reset();
  int error = 0;
  const ssize_t n = retry_eintr([&] { return ::read(report.read.get(), &error, sizeof error); });
  if (n != sizeof error) return {pid, 0};
  retry_eintr([&] { return ::waitpid(pid, nullptr, 0); });
  return {-1, error};
}

/// Starts the process. ETXTBSY is tried again: while another thread forks, its child may hold a program open that was
/// just written.
inline started spawn(const process_spec& spec, int in, int out, int err) {
  launch_plan plan;
  if (const int error = prepare(plan, spec, in, out, err)) return {-1, error};
  for (int attempt = 0;; ++attempt) {
    const started child = needs_fork(spec) ? spawn_fork(spec, plan) : spawn_posix(spec, plan);
    if (child.error != ETXTBSY || attempt == 3) return child;
    const timespec pause{0, 2'000'000L << (2 * attempt)};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace fussy::nbio::detail
