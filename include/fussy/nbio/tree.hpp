/// @file nbio/tree.hpp  Killing what our processes have started: descendants, and those that hold a pipe of a run after
/// their parent is gone.
/// Threads: safe from any thread.
/// Errors:  none: without /proc, or without the permission, there is nothing more to kill.
#pragma once

#include <fussy/io.hpp>
#include <fussy/nbio/child.hpp>

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace fussy::nbio::detail {

struct close_directory {
  void operator()(DIR* d) const noexcept { ::closedir(d); }
};

/// Calls f(number) for every entry of a directory of /proc whose name is a number.
template <class F>
void each_number(const std::string& directory, F&& f) {
  const std::unique_ptr<DIR, close_directory> dir(::opendir(directory.c_str()));
  if (!dir) return;
  while (const dirent* e = ::readdir(dir.get())) {
    int number = -1;
    const char* end = e->d_name + std::strlen(e->d_name);
    if (std::from_chars(e->d_name, end, number).ptr == end) f(number);
  }
}

struct process_state {
  pid_t parent = -1;
  char state = '?';
};

inline process_state state_of(pid_t pid) {
  const unique_fd fd(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  char text[512];
  const ssize_t n = fd ? retry_eintr([&] { return ::read(fd.get(), text, sizeof text - 1); }) : -1;
  process_state s;
  if (n <= 0) return s;
  text[n] = '\0';
  const char* after_name = std::strrchr(text, ')');  // the name may itself hold blanks and parentheses
  if (!after_name || after_name[1] == '\0' || after_name[2] == '\0' || after_name[3] == '\0') return s;
  s.state = after_name[2];
  const char* from = after_name + 4;
  std::from_chars(from, text + n, s.parent);
  return s;
}

/// A process held by a pidfd, so that it cannot be mistaken for a later one with the same number.
struct held_process {
  pid_t pid;
  unique_fd fd;
  bool signal(int number) const noexcept { return ::syscall(SYS_pidfd_send_signal, fd.get(), number, nullptr, 0) == 0; }
};

/// All descendants of `roots`. With `freeze`, each is stopped as it is found, so that none can start another unseen.
inline std::vector<held_process> descendants(const std::vector<pid_t>& roots, bool freeze) {
  std::vector<pid_t> family = roots;
  std::vector<held_process> found;
  const auto in_family = [&](pid_t pid) { return std::find(family.begin(), family.end(), pid) != family.end(); };
  for (bool more = true; more;) {
    more = false;
    each_number("/proc", [&](pid_t pid) {
      const process_state before = state_of(pid);
      if (before.state == 'Z' || !in_family(before.parent) || in_family(pid)) return;
      held_process held{pid, unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
      if (!held.fd || !in_family(state_of(pid).parent)) return;
      if (freeze) held.signal(SIGSTOP);
      family.push_back(pid);
      found.push_back(std::move(held));
      more = true;
    });
  }
  return found;
}

/// Signals descendants of `roots`, not the roots themselves.
inline void signal_descendants(const std::vector<pid_t>& roots, int number) {
  const std::vector<held_process> found = descendants(roots, number == SIGKILL);
  for (const held_process& p : found) p.signal(number);
}

/// How a process holds these pipes.
struct hold {
  bool any = false;        ///< an end of one of them
  bool both_ends = false;  ///< both ends of the same one: only a copy of our own process does
};
inline hold holds_pipe(pid_t pid, const std::vector<ino_t>& pipes) {
  enum : unsigned char { reads = 1, writes = 2 };
  std::vector<unsigned char> ends(pipes.size());
  const std::string directory = "/proc/" + std::to_string(pid) + "/fd";
  each_number(directory, [&](int number) {
    const std::string entry = directory + "/" + std::to_string(number);
    char target[64];
    const ssize_t n = ::readlink(entry.c_str(), target, sizeof target - 1);
    if (n <= 6 || std::strncmp(target, "pipe:[", 6) != 0) return;
    std::uint64_t inode = 0;
    std::from_chars(target + 6, target + n, inode);
    const auto at = std::find(pipes.begin(), pipes.end(), static_cast<ino_t>(inode));
    struct stat st;  // the permission bits of the link are the mode of the descriptor: proc(5)
    if (at == pipes.end() || ::lstat(entry.c_str(), &st) != 0) return;
    unsigned char& end = ends[static_cast<std::size_t>(at - pipes.begin())];
    if (st.st_mode & S_IRUSR) end |= reads;
    if (st.st_mode & S_IWUSR) end |= writes;
  });
  hold total;
  for (const unsigned char end : ends) {
    total.any |= end != 0;
    total.both_ends |= end == (reads | writes);
  }
  return total;
}

/// Kills whoever holds an end of one of these pipes although its parent is gone: a grandchild left behind. Spared are
/// this process, and copies of it made by a fork of the host without an exec: these are children of ours, or hold both
/// ends.
inline void kill_holders(const std::vector<ino_t>& pipes) {
  int subreaper = 0;
  ::prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  const bool adopts_orphans = subreaper != 0 || ::getpid() == 1;
  std::vector<pid_t> roots;
  std::vector<held_process> found;
  each_number("/proc", [&](pid_t pid) {
    if (pid == ::getpid()) return;
    if (!holds_pipe(pid, pipes).any) return;
    held_process held{pid, unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
    const hold how = holds_pipe(pid, pipes);
    if (!held.fd || !how.any || how.both_ends) return;
    if (!adopts_orphans && state_of(pid).parent == ::getpid()) return;
    held.signal(SIGSTOP);
    roots.push_back(pid);
    found.push_back(std::move(held));
  });
  if (roots.empty()) return;
  signal_descendants(roots, SIGKILL);
  for (const held_process& p : found) p.signal(SIGKILL);
}

}  // namespace fussy::nbio::detail
