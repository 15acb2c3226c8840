// Helpers of the tests of nbio.
#pragma once
#include <doctest/doctest.h>
#include <fussy/nbio.hpp>

#include <dirent.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace nbio_test {

using namespace fussy::nbio;
using namespace std::chrono_literals;
using namespace std::string_literals;
using fussy::errc;
namespace nbio = fussy::nbio;  // nbio::pipe is written out: pipe(2) has the same name

struct temporary_directory {
  temporary_directory() {
    char name[] = "/tmp/nbio-test-XXXXXX";
    if (!::mkdtemp(name)) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~temporary_directory() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::filesystem::path path;
};

inline std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}
inline void write_file(const std::string& path, const std::string& text, mode_t mode = 0644) {
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
}

inline std::size_t open_descriptors() {
  std::size_t n = 0;
  fussy::nbio::detail::each_number("/proc/self/fd", [&](int) { ++n; });
  return n;
}

/// Children of this process, zombies included.
inline std::size_t children() {
  std::size_t n = 0;
  fussy::nbio::detail::each_number("/proc",
                                   [&](pid_t pid) { n += fussy::nbio::detail::state_of(pid).parent == ::getpid(); });
  return n;
}

/// Alive: there, and no zombie (of a foreign parent, which may be slow to reap).
inline bool alive(pid_t pid) {
  const char state = fussy::nbio::detail::state_of(pid).state;
  return state != '?' && state != 'Z' && state != 'X';
}
/// Calls f(pid) for living processes whose command line holds this text.
template <class F>
void each_process_with(const std::string& text, F&& f) {
  fussy::nbio::detail::each_number("/proc", [&](pid_t pid) {
    if (pid == ::getpid() || !alive(pid)) return;
    if (content_of("/proc/" + std::to_string(pid) + "/cmdline").find(text) != std::string::npos) f(pid);
  });
}
inline std::size_t processes_with(const std::string& text) {
  std::size_t n = 0;
  each_process_with(text, [&](pid_t) { ++n; });
  return n;
}
inline void kill_processes_with(const std::string& text) {
  each_process_with(text, [](pid_t pid) { ::kill(pid, SIGKILL); });
}
template <class Condition>
bool soon(Condition&& c, std::chrono::milliseconds longest = 5s) {
  const auto until = std::chrono::steady_clock::now() + longest;
  while (!c())
    if (std::chrono::steady_clock::now() > until)
      return false;
    else
      ::usleep(2000);
  return true;
}

struct stopwatch {
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::chrono::milliseconds elapsed() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  }
};

/// A test leaves what it found: no descriptor, no child.
struct nothing_left_behind {
  std::size_t descriptors = open_descriptors(), processes = children();
  ~nothing_left_behind() {
    CHECK(open_descriptors() == descriptors);
    CHECK(children() == processes);
  }
};

/// The error a run fails with; FAILs when it succeeds.
template <class Run>
pipe_error failure_of(Run&& run) {
  try {
    (void)run();
  } catch (const pipe_error& e) {
    return e;
  }
  throw std::runtime_error("the run was expected to fail and did not");
}

inline std::string sequence(int n) {
  std::string s;
  for (int i = 1; i <= n; ++i) s += std::to_string(i) + "\n";
  return s;
}

}  // namespace nbio_test
