// Runs a program to its end: input from memory, output to memory, nothing left behind.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fussy/io.hpp>

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace test {

struct outcome {
  int status = 0;  ///< exit status, or 128 plus the signal; 127: there is no such program
  std::string out, err;
  bool ok() const noexcept { return status == 0; }
};

namespace detail {

inline fussy::unique_fd memory_file(std::string_view content = {}) {
  fussy::unique_fd fd(::memfd_create("test", MFD_CLOEXEC));
  if (!fd) throw fussy::system_error("cannot create memory file", errno);
  fussy::file_writer(fd.get()).write(fussy::as_bytes(content));
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

inline std::string content_of(int fd) {
  ::lseek(fd, 0, SEEK_SET);
  const fussy::byte_vector all = fussy::read_all(fussy::file_reader(fd));
  return std::string(fussy::as_text(all));
}

}  // namespace detail

/// @param environment  added to (or replacing in) ours.
inline outcome run(const std::vector<std::string>& arguments, std::string_view input = {},
                   const std::map<std::string, std::string>& environment = {}) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);

  std::vector<std::string> variables;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view variable(*e);
    if (environment.count(std::string(variable.substr(0, variable.find('=')))) == 0) variables.emplace_back(variable);
  }
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (std::string& v : variables) envp.push_back(v.data());
  envp.push_back(nullptr);

  const fussy::unique_fd in = detail::memory_file(input), out = detail::memory_file(), err = detail::memory_file();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.get(), 2);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return {127, {}, arguments[0] + ": " + fussy::errno_text(failed)};
  int status = 0;
  fussy::retry_eintr([&] { return ::waitpid(pid, &status, 0); });
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), detail::content_of(out.get()),
          detail::content_of(err.get())};
}

/// As run(), for what has to succeed. @return its standard output.
inline std::string output_of(const std::vector<std::string>& arguments, std::string_view input = {},
                             const std::map<std::string, std::string>& environment = {}) {
  outcome o = run(arguments, input, environment);
  if (o.ok()) return std::move(o.out);
  std::string text;
  for (const std::string& a : arguments) text += a + " ";
  throw std::runtime_error(text + "ended with status " + std::to_string(o.status) + ":\n" + o.err);
}

}  // namespace test
