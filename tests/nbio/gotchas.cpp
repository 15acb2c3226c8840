// What goes wrong with processes elsewhere, one test for each, by name. See docs/pipes.md.
#include "support.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <csignal>
#include <thread>

using namespace nbio_test;

namespace {

/// Changes what a signal does, while it lives.
struct disposition {
  disposition(int number, void (*handler)(int), int flags = 0) : number_(number) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    ::sigaction(number, &action, &before_);
  }
  ~disposition() { ::sigaction(number_, &before_, nullptr); }
  int number_;
  struct sigaction before_ {};
};

/// Runs a function in a process of its own, for what would spoil this one. @return its exit status, 128 + signal.
template <class F>
int in_a_child(F&& f) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    int status = 99;
    try {
      status = f();
    } catch (...) {
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const std::string mebibyte(1 << 20, 'x');

}  // namespace

TEST_SUITE_BEGIN("nbio gotchas");

TEST_CASE("gotcha 1: a grandchild that keeps the pipe open does not outlast a timeout, and does not live on") {
  nothing_left_behind check;
  const stopwatch w;
  const result r = P("sleep 98711 & echo x").timeout(300ms).run();
  CHECK(w.elapsed() < 3s);
  CHECK(r.timed_out);
  CHECK(r.out == "x\n");
  CHECK(soon([] { return processes_with("sleep\00098711"s) == 0; }));
}

TEST_CASE(
    "gotcha 1: with linger, a daemon that a process leaves behind holding the pipe is no failure, and is spared") {
  const stopwatch w;
  const result r = nbio::pipe(P("sleep 98712 & echo x")).linger(100ms).run();
  CHECK(w.elapsed() < 3s);
  CHECK(r);
  CHECK(r.left_open);
  CHECK(r.out == "x\n");
  CHECK(processes_with("sleep\00098712"s) == 1);
  kill_processes_with("sleep\00098712"s);
}

TEST_CASE("gotcha 1: a grandchild between two processes is found as well") {
  nothing_left_behind check;
  const result r = (P("sleep 98713 & echo x") | P("cat")).timeout(300ms).run();
  CHECK(r.timed_out);
  CHECK(soon([] { return processes_with("sleep\00098713"s) == 0; }));
}

TEST_CASE("gotcha 2: what is in the pipe when a process has ended is not lost, on a busy machine neither") {
  std::atomic<bool> stop{false};
  std::vector<std::jthread> load;
  for (int i = 0; i < 4; ++i)
    load.emplace_back([&] {
      while (!stop) {
      }
    });
  int complete = 0;
  for (int i = 0; i < 40; ++i) complete += P("head -c 60000 /dev/zero; exec true")().size() == 60000;
  stop = true;
  CHECK(complete == 40);
}

TEST_CASE("gotcha 3: a process that fills output and error output by turns does not deadlock") {
  const result r =
      P("i=0; while [ $i -lt 64 ]; do head -c 16384 /dev/zero; head -c 16384 /dev/zero >&2; i=$((i+1)); done")
          .err(capture{})
          .timeout(60s)
          .run();
  CHECK(r);
  CHECK(r.out.size() == 1 << 20);
  CHECK(r.stages[0].err.size() == 1 << 20);
}

TEST_CASE("gotcha 3: a process that answers while it is fed does not deadlock, however full the buffers") {
  const std::string much(8 << 20, 'x');
  CHECK((much | P("cat") | [](view v) { return std::string(v); } | P("cat")).timeout(60s)() == much);
  CHECK((much | P("sh -c 'head -c 4194304 /dev/zero; exec cat'")).timeout(60s)().size() == 12 << 20);
}

TEST_CASE("gotcha 4: no end is inherited by a process that another thread starts: all see the end of their input") {
  nothing_left_behind check;
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 12; ++i) good += ("x"s | P({"cat"}) | P({"cat"})).timeout(60s)() == "x";
      });
  }
  CHECK(good == 96);
}

TEST_CASE("gotcha 5: a host that ignores or blocks SIGPIPE does not hand that on") {
  const disposition ignored(SIGPIPE, SIG_IGN);
  CHECK((P("yes") | P("head -1")).timeout(20s)() == "y\n");
  CHECK(P("grep SigIgn /proc/self/status")().find("1000") == std::string::npos);
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const std::string mask = P({"grep", "SigBlk", "/proc/self/status"})();
  const std::string forked = P({"grep", "SigBlk", "/proc/self/status"}).nice(0)();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  CHECK(mask == "SigBlk:\t0000000000000000\n");
  CHECK(forked == mask);
}

TEST_CASE("gotcha 6: SIGPIPE never reaches the host, and its handlers, dispositions and mask stay as they are") {
  static std::atomic<int> delivered;
  delivered = 0;
  const disposition counting(SIGPIPE, [](int) { ++delivered; });
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  struct sigaction actions_before[32], actions_after[32];
  for (int s = 1; s < 32; ++s) ::sigaction(s, nullptr, &actions_before[s]);
  for (int i = 0; i < 5; ++i) CHECK((std::string(4 << 20, 'x') | P("true"))() == "");
  CHECK((std::string(4 << 20, 'x') | P("head -c 3"))() == "xxx");
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int s = 1; s < 32; ++s) {
    ::sigaction(s, nullptr, &actions_after[s]);
    const bool same = actions_before[s].sa_handler == actions_after[s].sa_handler;
    CHECK(same);
  }
  for (int s = 1; s < 64; ++s) CHECK(::sigismember(&before, s) == ::sigismember(&after, s));
  CHECK(delivered == 0);
}

TEST_CASE("gotcha 6: a SIGPIPE that was pending in the host before a run is pending after it") {
  sigset_t pipe_only, before, pending;
  ::sigemptyset(&pipe_only);
  ::sigaddset(&pipe_only, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  (void)(std::string(4 << 20, 'x') | P("true"))();
  ::sigpending(&pending);
  CHECK(!::sigismember(&pending, SIGPIPE));
  ::pthread_kill(::pthread_self(), SIGPIPE);
  (void)(std::string(4 << 20, 'x') | P("true"))();
  ::sigpending(&pending);
  CHECK(::sigismember(&pending, SIGPIPE));
  const timespec none{};
  ::sigtimedwait(&pipe_only, nullptr, &none);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("gotcha 7: a process that stops reading is no failure, and nobody spins") {
  nothing_left_behind check;
  rusage before, after;
  ::getrusage(RUSAGE_SELF, &before);
  CHECK((std::string(64 << 20, 'y') | P("head -c 1; exec <&-; sleep 0.5")).timeout(20s)() == "y");
  ::getrusage(RUSAGE_SELF, &after);
  const auto cpu_ms = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
  };
  CHECK(cpu_ms(after) - cpu_ms(before) < 400);
  auto endless = []() -> std::optional<std::string> { return std::string(1000, 'x'); };
  CHECK((endless | P("head -c 5")).timeout(20s)() == "xxxxx");
}

TEST_CASE("gotcha 8: SIGPIPE of a stage is forgiven when the stage behind it had enough and ended well") {
  const result good = (P("yes") | P("head -1")).run();
  CHECK(good);
  CHECK(good.stages[0].sigpipe_upstream);
  CHECK((P({"yes"}) | P({"head", "-1"}))() == "y\n");
  CHECK((P({"yes"}) | P("cat") | P({"head", "-1"}))() == "y\n");
  const result left = (P({"yes"}) | P("read x; exec <&-; sleep 0.3")).run();
  CHECK(left);
}

TEST_CASE("gotcha 8: it is a failure in the last stage, and where the reader was still there") {
  CHECK(!P("kill -PIPE $$").run());
  CHECK(!(P("true") | P("kill -PIPE $$")).run());
  const result elsewhere = (P("echo x; kill -PIPE $$") | P("cat; sleep 0.2")).run();
  CHECK(!elsewhere);
  CHECK(elsewhere.culprit() == &elsewhere.stages[0]);
  CHECK(!(P("echo x; exit 141") | P("cat; sleep 0.2")).run());
}

TEST_CASE("gotcha 8: when the stage behind gave up badly, that one is named") {
  const result r = (P("yes") | P("exit 3")).run();
  CHECK(!r);
  CHECK(r.culprit() == &r.stages[1]);
}

TEST_CASE("gotcha 9: the status of a stage in the middle is known, and the output up to the failure") {
  const result r = (P("seq 3") | P("cat; exit 5") | P("cat")).run();
  CHECK(r.out == sequence(3));
  CHECK(r.stages[0].st.code == 0);
  CHECK(r.stages[1].st.code == 5);
  CHECK(r.stages[2].st.code == 0);
}

TEST_CASE("gotcha 10: a host with its own SIGCHLD handler keeps it, and gets along") {
  static std::atomic<int> seen;
  seen = 0;
  const disposition own(
      SIGCHLD, [](int) { ++seen; }, SA_RESTART);
  for (int i = 0; i < 20; ++i) CHECK(P("echo x; exit 0")() == "x\n");
  CHECK(seen > 0);
  CHECK(P("exit 3").run().stages[0].st.code == 3);
}

TEST_CASE("gotcha 10: a host that ignores SIGCHLD gets the output; the status is known or said not to be") {
  const disposition ignored(SIGCHLD, SIG_IGN);
  for (int i = 0; i < 20; ++i) {
    const result r = (P("echo x; exit 3") | P("cat")).timeout(20s).run();
    CHECK(r.out == "x\n");
    CHECK(!r.timed_out);
    CHECK((!r.stages[0].st.known || r.stages[0].st.code == 3));
    CHECK(!r);
  }
}

TEST_CASE("gotcha 10: a rival that waits for any child does not hang or crash a run") {
  std::atomic<bool> stop{false};
  std::jthread rival([&] {
    while (!stop)
      if (::waitpid(-1, nullptr, WNOHANG) <= 0) ::usleep(200);
  });
  for (int i = 0; i < 30; ++i) {
    const result r = (P("echo x; exit 3") | P("cat")).timeout(20s).run();
    CHECK(r.out == "x\n");
    CHECK(!r.timed_out);
    CHECK((!r.stages[0].st.known || r.stages[0].st.code == 3));
  }
  stop = true;
}

TEST_CASE("gotcha 10: a child of the host is never reaped by us") {
  const pid_t mine = ::fork();
  if (mine == 0) ::_exit(42);
  CHECK(P("echo x; sleep 0.05")() == "x\n");
  int status = 0;
  CHECK(::waitpid(mine, &status, 0) == mine);
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("gotcha 11: killing after the end is harmless, and a death by signal is known as such") {
  job j = nbio::pipe(P("exit 0")).start();
  while (!j.step()) ::usleep(1000);
  j.kill();
  CHECK(j.pids().empty());
  CHECK(j.wait());
  CHECK(P("kill -TERM $$").run().stages[0].st.signal == SIGTERM);
}

TEST_CASE("gotcha 12: without pidfds (an old kernel, a sandbox) all works the same") {
  nothing_left_behind check;
  fussy::nbio::detail::without_pidfd = true;
  CHECK((P("echo x") | P("cat"))() == "x\n");
  CHECK(P("exit 3").run().stages[0].st.code == 3);
  CHECK(P("sleep 30").timeout(100ms).run().timed_out);
  CHECK((P("yes") | P("head -1")).timeout(20s)() == "y\n");
  CHECK(P("sleep 98715 & echo x").new_group().timeout(100ms).run().out == "x\n");
  fussy::nbio::detail::without_pidfd = false;
}

TEST_CASE("gotcha 13: a thousand programs that cannot be started leave no process and no descriptor") {
  nothing_left_behind check;
  for (int i = 0; i < 500; ++i) {
    CHECK(P({"/nonexistent/program"}).run().stages[0].spawn_errno == ENOENT);
    CHECK(P({"/etc/passwd"}).nice(0).run().stages[0].spawn_errno == EACCES);
  }
}

TEST_CASE("gotcha 13: a program without an interpreter fails in the exec, and that is known") {
  temporary_directory dir;
  write_file(dir / "junk",
             "\x7f"
             "ELF but not really",
             0755);
  CHECK(P({dir / "junk"}).run().stages[0].spawn_errno == ENOEXEC);
  CHECK(P({dir / "junk"}).nice(0).run().stages[0].spawn_errno == ENOEXEC);
  write_file(dir / "lost", "#!/nonexistent/interpreter\n", 0755);
  CHECK(P({dir / "lost"}).run().stages[0].spawn_errno == ENOENT);
}

TEST_CASE("gotcha 13: a directory that does not exist is a failure to start") {
  CHECK(P("pwd").cwd("/nonexistent").run().stages[0].spawn_errno == ENOENT);
  CHECK(P("pwd").cwd("/nonexistent").nice(0).run().stages[0].spawn_errno == ENOENT);
}

TEST_CASE("gotcha 14: starting a process does not take longer with a high limit on descriptors") {
  rlimit before;
  ::getrlimit(RLIMIT_NOFILE, &before);
  const auto time_of_twenty = [] {
    const stopwatch w;
    for (int i = 0; i < 20; ++i) (void)P({"true"})();
    return w.elapsed();
  };
  rlimit low = before;
  low.rlim_cur = 256;
  ::setrlimit(RLIMIT_NOFILE, &low);
  const auto few = time_of_twenty();
  ::setrlimit(RLIMIT_NOFILE, &before);
  const auto many = time_of_twenty();
  CHECK(many < 5 * few + 200ms);
}

TEST_CASE("gotcha 15: every descriptor is closed once") {
  nothing_left_behind check;
  // A descriptor that is opened right when one of ours is closed would be hit by a second close.
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::jthread other([&] {
    while (!stop) {
      const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      ::sched_yield();
      if (::close(fd) != 0) ++bad;
    }
  });
  for (int i = 0; i < 100; ++i) (void)("x"s | P({"cat"}) | [](view) {} | P({"cat"}))();
  stop = true;
  other.join();
  CHECK(bad == 0);
}

TEST_CASE("gotcha 16: the flags of 0, 1 and 2 are the host's and stay, whatever these are") {
  temporary_directory dir;
  int sockets[2], pipes[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  REQUIRE(::pipe2(pipes, O_CLOEXEC) == 0);
  const fussy::unique_fd file = fussy::open_file(dir / "f", O_RDWR | O_CREAT, 0600);
  const fussy::unique_fd tty(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  std::vector<int> kinds{sockets[0], pipes[1], file.get()};
  if (tty) kinds.push_back(tty.get());
  for (const int kind : kinds) {
    const int saved = ::dup(1);
    ::dup2(kind, 1);
    const int before = ::fcntl(1, F_GETFL);
    (void)(P("echo direct") | "-")();
    (void)(P("echo through") | [](view) {} | "-")();
    (void)P("echo inherited").no_capture()();
    const int after = ::fcntl(1, F_GETFL);
    ::dup2(saved, 1);
    ::close(saved);
    CHECK(before == after);
  }
  CHECK(content_of(dir / "f") == "direct\nthrough\ninherited\n");
  char text[100];
  CHECK(::read(sockets[1], text, sizeof text) == 25);
  CHECK(::read(pipes[0], text, sizeof text) == 25);
  for (const int fd : {sockets[0], sockets[1], pipes[0], pipes[1]}) ::close(fd);
}

TEST_CASE("gotcha 16: so do those of an input and an error output of the host that processes share") {
  temporary_directory dir;
  write_file(dir / "in", "from the host\n");
  int sockets[2], pipes[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  REQUIRE(::pipe2(pipes, O_CLOEXEC) == 0);
  const fussy::unique_fd file = fussy::open_file(dir / "in", O_RDWR);
  const fussy::unique_fd log = fussy::open_file(dir / "log", O_RDWR | O_CREAT, 0600);
  for (const int end : {sockets[1], pipes[1]}) REQUIRE(::write(end, "from the host\n", 14) == 14);
  ::shutdown(sockets[1], SHUT_WR);
  ::close(pipes[1]);
  for (const int kind : {sockets[0], pipes[0], file.get()}) {
    const int input = ::dup(0), error = ::dup(2);
    ::dup2(kind, 0);
    ::dup2(kind == sockets[0] ? kind : log.get(), 2);
    const int before[] = {::fcntl(0, F_GETFL), ::fcntl(2, F_GETFL)};
    const std::string direct = P("head -c 5").inherit_stdin()();
    const std::string rest = (fd(0) | by_line() | [](view) {})();
    (void)(P("echo said >&2") | P("cat; echo said >&2"))();
    const int after[] = {::fcntl(0, F_GETFL), ::fcntl(2, F_GETFL)};
    ::dup2(input, 0);
    ::dup2(error, 2);
    ::close(input);
    ::close(error);
    CHECK(direct == "from ");
    CHECK(rest == "the host\n");
    CHECK(before[0] == after[0]);
    CHECK(before[1] == after[1]);
  }
  for (const int fd : {sockets[0], sockets[1], pipes[0]}) ::close(fd);
}

TEST_CASE("gotcha 16: an output of the host that is full makes the run wait, not fail or spin") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  std::string got;
  std::jthread slow([&] {
    char text[4096];
    for (ssize_t n; (n = ::read(ends[0], text, sizeof text)) > 0; ::usleep(200))
      got.append(text, static_cast<std::size_t>(n));
  });
  (void)(mebibyte | P("cat") | [](view) {} | fd(ends[1])).timeout(60s)();
  ::close(ends[1]);
  slow.join();
  CHECK(got == mebibyte);
  ::close(ends[0]);
}

TEST_CASE("gotcha 17: files and devices that epoll refuses are served all the same") {
  temporary_directory dir;
  write_file(dir / "in", mebibyte);
  CHECK((P("cat") < "/dev/null")() == "");
  CHECK((fd(fussy::open_file("/dev/null", O_RDONLY)) | P("cat"))() == "");
  CHECK((fd(fussy::open_file(dir / "in", O_RDONLY)) | P("cat"))() == mebibyte);
  const auto same = [](view v) { return std::string(v); };
  CHECK((fd(fussy::open_file(dir / "in", O_RDONLY)) | P("cat") | same | to_file(dir / "out"))() == "");
  CHECK(content_of(dir / "out") == mebibyte);
  CHECK((P("echo x") | same | to_file("/dev/null"))() == "");
  CHECK((P("echo x") > "/dev/null")() == "");
}

TEST_CASE("gotcha 17: a full device surfaces as a failure, from a process and from our own end") {
  CHECK(!(P("echo x").err(to_null{}) > "/dev/full").run());
  try {
    (void)(P("echo x") | [](view) {} | to_file("/dev/full"))();
    FAIL("wrote to a full device");
  } catch (const fussy::error& e) {
    CHECK(e.code() == errc::no_space);
  }
}

TEST_CASE("gotcha 18: output in append mode works, and lands behind what is there") {
  temporary_directory dir;
  write_file(dir / "log", "old\n");
  (void)(P("echo new") >> (dir / "log"))();
  (void)(P("echo newer") | [](view) {} | append_to(dir / "log"))();
  CHECK(content_of(dir / "log") == "old\nnew\nnewer\n");
}

TEST_CASE("gotcha 19: a program that was just written runs, although other threads fork meanwhile") {
  temporary_directory dir;
  std::atomic<bool> stop{false};
  std::vector<std::jthread> forking;
  for (int i = 0; i < 2; ++i)
    forking.emplace_back([&] {
      while (!stop) (void)P({"true"}).nice(0)();
    });
  int good = 0;
  const std::string program = content_of("/bin/true");
  for (int i = 0; i < 30; ++i) {
    const std::string path = dir / ("program" + std::to_string(i));
    write_file(path, program, 0755);
    good += static_cast<bool>(P({path}).run());
  }
  stop = true;
  CHECK(good == 30);
}

TEST_CASE("gotcha 20: a process stays in our process group unless it is to lead one") {
  CHECK(std::stoi(P("cut -d' ' -f5 /proc/$$/stat")()) == ::getpgrp());
  CHECK(P("[ $(cut -d' ' -f5 /proc/$$/stat) = $$ ] && echo leads").new_group()() == "leads\n");
  CHECK(P("[ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo leads").new_session()() == "leads\n");
  CHECK(P("[ $(cut -d' ' -f5 /proc/$$/stat) = $$ ] && echo leads").new_group().nice(0)() == "leads\n");
}

TEST_CASE("gotcha 21: the output of a process is a pipe, never a terminal") {
  CHECK(P("[ -t 1 ] || [ -t 0 ] || echo none")() == "none\n");
}

TEST_CASE("gotcha 22: no stage writes before its reader is there") {
  for (int i = 0; i < 50; ++i) CHECK((P({"echo", "x"}) | P({"cat"}) | P({"head", "-1"}))() == "x\n");
}

TEST_CASE("gotcha 23: a relative program is found from our directory, whatever directory the process gets") {
  temporary_directory dir;
  write_file(dir / "tool", "#!/bin/sh\npwd\n", 0755);
  std::filesystem::create_directory(dir / "sub");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(dir.path);
  CHECK(P({"./tool"}).cwd(dir / "sub")() == dir / "sub\n");
  CHECK(P({"./tool"}).cwd("sub")() == dir / "sub\n");
  CHECK(P({"tool"}).env("PATH", ".:/bin:/usr/bin").cwd("sub")() == dir / "sub\n");
  std::filesystem::current_path(before);
}

TEST_CASE("gotcha 24: descriptors above 1024 are served like any other") {
  rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  rlimit wide = limit;
  wide.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
  REQUIRE(wide.rlim_cur >= 2000);
  ::setrlimit(RLIMIT_NOFILE, &wide);
  {
    std::vector<fussy::unique_fd> many;
    for (int i = 0; i < 1100; ++i) many.push_back(fussy::open_file("/dev/null", O_RDONLY));
    CHECK((mebibyte | P("cat") | [](view v) { return std::string(v); } | P("cat"))() == mebibyte);
  }
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_CASE("gotcha 25: many runs at once do not use up the pipe memory of an ordinary user") {
  const int status = in_a_child([] {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 1;
    std::vector<job> jobs;
    for (int i = 0; i < 60; ++i) jobs.push_back((std::string(4 << 20, 'x') | P({"cat"})).open_output().start());
    std::vector<std::size_t> taken(jobs.size());
    for (std::size_t i = 0; i < jobs.size(); ++i)  // all are past the size at which the library enlarges its pipes
      while (taken[i] < 2 << 20) {
        jobs[i].step();
        if (const auto chunk = jobs[i].read()) taken[i] += chunk->size();
      }
    std::vector<fussy::nbio::detail::pipe_ends> fresh(60);  // of the host, say: no smaller than usual
    for (auto& ends : fresh) {
      ends = fussy::nbio::detail::make_pipe();
      if (::fcntl(ends.read.get(), F_GETPIPE_SZ) < 65536) return 3;
    }
    for (std::size_t i = 0; i < jobs.size(); ++i)
      if (taken[i] + jobs[i].wait().out.size() != 4 << 20) return 2;
    return 0;
  });
  CHECK(status == 0);
}

TEST_CASE("gotcha 26: the end of the output and the end of the process count in any order") {
  const stopwatch w;
  CHECK(P("echo x; exec >&-; sleep 0.3; exit 3").any_exit()() == "x\n");
  CHECK(w.elapsed() >= 300ms);
  CHECK(P("(sleep 0.2; echo late) & exit 0")() == "late\n");
  const stopwatch quick;
  for (int i = 0; i < 100; ++i) (void)P({"true"})();
  CHECK(quick.elapsed() < 10s);
}

TEST_CASE("gotcha 27: a stage that throws does not look like a clean end to what is behind it") {
  nothing_left_behind check;
  temporary_directory dir;
  struct broken {};
  auto bad = [n = 0](view v) mutable -> std::string {
    if (++n == 2) throw broken{};
    return std::string(v);
  };
  const auto run = [&](auto&& p) { CHECK_THROWS_AS(p(), broken); };
  run((std::string(4 << 20, 'x') | P("cat") | bad | P("cat")) > (dir / "f"));
  CHECK(!std::filesystem::exists(dir / "f"));
  write_file(dir / "kept", "old");
  run((std::string(4 << 20, 'x') | P("cat") | bad | P("cat")) > (dir / "kept"));
  CHECK(content_of(dir / "kept") == "old");
  run(std::string(4 << 20, 'x') | P("cat") | bad | P("cat > /dev/null; touch " + (dir / "committed")));
  CHECK(!std::filesystem::exists(dir / "committed"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path), {}) == 1);  // no temporary file is left
}

TEST_CASE("gotcha 27: a file at the tail appears when all has succeeded, with the mode of the one it replaces") {
  temporary_directory dir;
  write_file(dir / "f", "old", 0640);
  std::filesystem::create_symlink(dir / "f", dir / "link");
  (void)(P("echo new") > (dir / "link"))();
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(content_of(dir / "f") == "new\n");
  struct stat st;
  ::stat((dir / "f").c_str(), &st);
  CHECK((st.st_mode & 07777) == 0640);
  CHECK(!(P("echo half; exit 1") > (dir / "f")).run());
  CHECK(content_of(dir / "f") == "new\n");
  CHECK(!(P("echo half; sleep 30") > (dir / "g")).timeout(100ms).run());
  CHECK(!std::filesystem::exists(dir / "g"));
}

TEST_CASE("gotcha 28: a thousand signals in a second interrupt nothing") {
  static std::atomic<int> ticks;
  ticks = 0;
  const disposition ticking(SIGALRM, [](int) { ++ticks; });  // without SA_RESTART: every call may fail with EINTR
  const itimerval fast{{0, 1000}, {0, 1000}}, off{};
  ::setitimer(ITIMER_REAL, &fast, nullptr);
  const std::string all = (std::string(16 << 20, 'x') | P("cat") | [](view v) { return std::string(v); } | P("cat"))();
  for (int i = 0; i < 20; ++i) CHECK(P({"true"}).nice(0).run());
  CHECK(P("sleep 0.2; echo x").timeout(10s)() == "x\n");
  ::setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(all.size() == 16 << 20);
  CHECK(ticks > 100);
}

TEST_CASE("gotcha 28: a host that closed 0, 1 and 2 can run pipes") {
  const int status = in_a_child([] {
    ::close(0), ::close(1), ::close(2);
    if ((std::string("x") | P("cat") | P("cat"))() != "x") return 1;
    if ((P("echo y") | [](view v) { return std::string(v); } | P("cat"))() != "y\n") return 2;
    if (P("echo z >&2").err(capture{}).run().stages[0].err != "z\n") return 3;
    if (P("echo z").nice(0)() != "z\n") return 4;
    if (::fcntl(0, F_GETFD) != -1 || ::fcntl(1, F_GETFD) != -1 || ::fcntl(2, F_GETFD) != -1) return 5;
    return 0;
  });
  CHECK(status == 0);
}

TEST_CASE("gotcha 29: cutting into lines is not slower than reading them") {
  const std::string line(79, 'x');
  std::string text;
  for (int i = 0; i < 200'000; ++i) text.append(line).push_back('\n');
  std::size_t n = 0;
  const stopwatch w;
  (void)(borrow(text) | P({"cat"}) | by_line() | [&](view l) { n += l.size() == 79; })();
  CHECK(n == 200'000);
  CHECK(w.elapsed() < 5s);
}

TEST_CASE("gotcha 30: a run that captures nothing waits for its processes, and reports how they ended") {
  const stopwatch w;
  const result r = P("sleep 0.3; exit 3").no_capture().run();
  CHECK(w.elapsed() >= 300ms);
  CHECK(r.stages[0].st.code == 3);
  CHECK(!r);
  CHECK(!r.stages[0].killed_by_us);
}

TEST_CASE("gotcha 30: processes side by side share one pipe of the kernel, and none of it is ours") {
  const auto end = [](const char* number) {
    return P("exec 3>&1; readlink /proc/self/fd/"s + number + " >&2").err(capture{});
  };
  const result r = (end("3") | end("0")).run();
  CHECK(r.stages[0].err.starts_with("pipe:["));
  CHECK(r.stages[0].err == r.stages[1].err);
  rusage before, after;
  ::getrusage(RUSAGE_SELF, &before);
  CHECK((P({"head", "-c", "256M", "/dev/zero"}) | P({"cat"}) | P({"wc", "-c"}))() == "268435456\n");
  ::getrusage(RUSAGE_SELF, &after);
  CHECK(after.ru_nvcsw - before.ru_nvcsw < 50);
}

TEST_CASE("gotcha 30: a stage added between two processes changes nothing but what it does") {
  CHECK((P("printf 'a\\n\\nb\\n'") | by_line() | P("cat -A"))() == "a$\n$\nb$\n");
}

TEST_CASE("an idle run does not wake up: no timer polls") {
  rusage before, after;
  ::getrusage(RUSAGE_THREAD, &before);
  CHECK((P("sleep 1; echo x") | [](view v) { return std::string(v); } | P("cat")).timeout(30s)() == "x\n");
  ::getrusage(RUSAGE_THREAD, &after);
  CHECK(after.ru_nvcsw - before.ru_nvcsw < 30);  // a few for the start and the end; polling every 10 ms would be 100
}

TEST_CASE("a copy of the host that is forked during a run, and holds its descriptors, does not make the run spin") {
  job j = (P("echo x >&2; sleep 0.1").err(capture{}) | P("sleep 0.8")).start();
  const pid_t copy = ::fork();
  if (copy == 0) {
    ::sleep(20);
    ::_exit(0);
  }
  rusage before, after;
  ::getrusage(RUSAGE_THREAD, &before);
  CHECK(j.wait());
  ::getrusage(RUSAGE_THREAD, &after);
  CHECK(after.ru_nvcsw - before.ru_nvcsw < 30);
  CHECK(after.ru_utime.tv_sec * 1000000 + after.ru_utime.tv_usec + after.ru_stime.tv_sec * 1000000 +
            after.ru_stime.tv_usec - before.ru_utime.tv_sec * 1000000 - before.ru_utime.tv_usec -
            before.ru_stime.tv_sec * 1000000 - before.ru_stime.tv_usec <
        300000);
  ::kill(copy, SIGKILL);
  ::waitpid(copy, nullptr, 0);
}

TEST_CASE("descriptors above 2 that the library opened are not in a child") {
  std::vector<std::string> inherited{"3"};  // where ls itself opens the directory, or the first free number
  fussy::nbio::detail::each_number("/proc/self/fd", [&](int fd) {
    if ((::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) inherited.push_back(std::to_string(fd));
  });
  (void)(
      P({"ls", "/proc/self/fd"}) | [](view) {} | P("cat") | by_line() |
      [&](view number) { CHECK(std::count(inherited.begin(), inherited.end(), number) == 1); })();
}

TEST_CASE("output larger than memory streams through a callable") {
  rusage before, after;
  ::getrusage(RUSAGE_SELF, &before);
  std::uint64_t n = 0;
  (void)(P({"head", "-c", "1G", "/dev/zero"}) | [&](view v) { n += v.size(); } | to_file("/dev/null"))();
  ::getrusage(RUSAGE_SELF, &after);
  CHECK(n == 1 << 30);
  CHECK(after.ru_maxrss - before.ru_maxrss < 100 * 1024);
}

TEST_CASE("an exception of a callable arrives as it was thrown, and nothing is left") {
  nothing_left_behind check;
  struct mine {
    int number;
  };
  try {
    (void)(P("yes") | by_line() | [](view) { throw mine{7}; })();
    FAIL("the exception was lost");
  } catch (const mine& m) {
    CHECK(m.number == 7);
  }
  const result r = (P("yes") | by_line() | [](view) { throw mine{7}; } | P("cat")).run();
  CHECK(!r);
  REQUIRE(r.stages.size() == 4);
  CHECK(r.culprit() == &r.stages[2]);
  CHECK(r.stages[2].exc != nullptr);
  CHECK(r.stages[0].killed_by_us);
  auto source = []() -> std::optional<std::string> { throw mine{8}; };
  CHECK_THROWS_AS((source | P("cat"))(), mine);
  CHECK_THROWS_AS(P("echo x >&2; sleep 30").err([](view) { throw mine{9}; })(), mine);
}

TEST_CASE("a pipe destroyed half-way leaves no zombie, no orphan, no descriptor") {
  nothing_left_behind check;
  {
    job j = (P("sleep 98714 & sleep 98714") | P("sleep 98714; true") | by_line() | [](view) {}).start();
    j.step();
    CHECK(j.pids().size() == 2);
  }
  CHECK(soon([] { return processes_with("sleep\00098714"s) == 0; }));
  for (auto line : (P("yes") | P("cat")).lines()) {
    CHECK(line == "y");
    break;
  }
}

TEST_CASE("two hundred stages") {
  nothing_left_behind check;
  nbio::pipe p = "through all of them"s | P({"cat"});
  for (int i = 1; i < 200; ++i) p = std::move(p) | P({"cat"});
  CHECK(p() == "through all of them");
}

TEST_SUITE_END();
