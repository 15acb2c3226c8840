// Pipes of nbio against what one would do otherwise: pairs, interleaved in one run, medians, wall and CPU time (of this
// process and its children). usage: bench [--scale N] [--rounds N] [NAME...]; a scale of 1 is the full size.
#include "peers.hpp"

#include <fussy/nbio.hpp>

#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

extern char** environ;

using namespace fussy::nbio;
using fussy::retry_eintr;

namespace {

std::uint64_t scaled = 1;  // divisor of the sizes
int rounds = 5;

struct cost {
  double wall = 0, cpu = 0;
};

double cpu_seconds() {
  double total = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage r;
    ::getrusage(who, &r);
    total += static_cast<double>(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
             static_cast<double>(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
  }
  return total;
}
cost measure(const std::function<void()>& work) {
  const double cpu = cpu_seconds();
  const auto start = std::chrono::steady_clock::now();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), cpu_seconds() - cpu};
}
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

struct contender {
  const char* name;
  std::function<void()> work;
  double cpu_goal = 0, wall_goal = 0;  // of the first one's; 0: none
};

/// The first contender is the base. Rounds are interleaved, so that all see the same machine.
void compare(const char* title, const std::vector<contender>& all) {
  std::vector<std::vector<cost>> costs(all.size());
  for (int r = 0; r < rounds; ++r)
    for (std::size_t i = 0; i < all.size(); ++i) costs[i].push_back(measure(all[i].work));
  std::printf("\n%s\n", title);
  cost base;
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<double> wall, cpu, wall_ratio, cpu_ratio;
    for (std::size_t r = 0; r < costs[i].size(); ++r) {
      wall.push_back(costs[i][r].wall);
      cpu.push_back(costs[i][r].cpu);
      wall_ratio.push_back(costs[i][r].wall / costs[0][r].wall);
      cpu_ratio.push_back(costs[i][r].cpu / costs[0][r].cpu);
    }
    std::printf("  %-44s wall %8.4f s  %5.2f x   CPU %8.4f s  %5.2f x", all[i].name, median(wall), median(wall_ratio),
                median(cpu), median(cpu_ratio));
    if (all[i].cpu_goal > 0)
      std::printf("   goal CPU %.2f%s", all[i].cpu_goal, median(cpu_ratio) <= all[i].cpu_goal ? "" : " MISSED");
    if (all[i].wall_goal > 0)
      std::printf("   goal wall %.2f%s", all[i].wall_goal, median(wall_ratio) <= all[i].wall_goal ? "" : " MISSED");
    std::printf("\n");
  }
  std::fflush(stdout);
}

void dash(const std::string& line) {
  const char* argv[] = {"dash", "-c", line.c_str(), nullptr};
  pid_t pid;
  if (::posix_spawn(&pid, "/bin/dash", nullptr, nullptr, const_cast<char**>(argv), environ) != 0) std::abort();
  ::waitpid(pid, nullptr, 0);
}

void expect(bool good) {
  if (!good) {
    std::fprintf(stderr, "a contender gave a wrong result\n");
    std::exit(1);
  }
}

pid_t spawn_cat(int in, int out) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, 1);
  const char* argv[] = {"cat", nullptr};
  pid_t pid = -1;
  if (::posix_spawn(&pid, "/bin/cat", &actions, nullptr, const_cast<char**>(argv), environ) != 0) std::abort();
  ::posix_spawn_file_actions_destroy(&actions);
  return pid;
}
struct two_ends {
  pid_t pid;
  fussy::unique_fd to, from;
};
two_ends cat_between() {
  auto in = fussy::nbio::detail::make_pipe(), out = fussy::nbio::detail::make_pipe();
  const pid_t pid = spawn_cat(in.read.get(), out.write.get());
  fussy::nbio::detail::set_nonblocking(in.write.get());
  fussy::nbio::detail::set_nonblocking(out.read.get());
  return {pid, std::move(in.write), std::move(out.read)};
}
/// The plain prototype: poll, write, read, append.
std::string append_prototype(std::uint64_t size) {
  two_ends cat = cat_between();
  generator g{size};
  std::string out, buffer(65536, '\0');
  view rest;
  for (;;) {
    pollfd fds[2] = {{cat.from.get(), POLLIN, 0}, {cat.to.get(), POLLOUT, 0}};
    ::poll(fds, 2, -1);
    if (cat.to && fds[1].revents != 0) {
      if (rest.empty()) {
        const auto more = g();
        if (more)
          rest = *more;
        else
          cat.to.reset();
      }
      if (!rest.empty()) {
        const ssize_t n = ::write(cat.to.get(), rest.data(), rest.size());
        if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
      }
    }
    if (fds[0].revents != 0) {
      const ssize_t n = ::read(cat.from.get(), buffer.data(), buffer.size());
      if (n == 0) break;
      if (n > 0) out.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
  ::waitpid(cat.pid, nullptr, 0);
  return out;
}
/// The least that both ends in one process can cost: a bare loop over the same three pipes.
void bare_loop_through_two_cats(std::uint64_t size) {
  auto in = fussy::nbio::detail::make_pipe(262144), middle = fussy::nbio::detail::make_pipe(),
       out = fussy::nbio::detail::make_pipe(262144);
  const pid_t first = spawn_cat(in.read.get(), middle.write.get());
  const pid_t second = spawn_cat(middle.read.get(), out.write.get());
  for (auto* end : {&in.read, &middle.read, &middle.write, &out.write}) end->reset();
  fussy::nbio::detail::set_nonblocking(in.write.get());
  fussy::nbio::detail::set_nonblocking(out.read.get());
  generator g{size};
  std::string buffer(128 * 1024, '\0');
  std::uint64_t got = 0;
  for (view rest = *g();;) {
    pollfd fds[2] = {{out.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}};
    ::poll(fds, 2, -1);
    if (in.write && fds[1].revents != 0) {
      const ssize_t n = ::write(in.write.get(), rest.data(), rest.size());
      if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
      if (rest.empty()) rest = g().value_or(view());
      if (rest.empty()) in.write.reset();
    }
    if (fds[0].revents == 0) continue;
    const ssize_t n = ::read(out.read.get(), buffer.data(), buffer.size());
    if (n == 0) break;
    if (n > 0) got += static_cast<std::uint64_t>(n);
  }
  ::waitpid(first, nullptr, 0);
  ::waitpid(second, nullptr, 0);
  expect(got == size);
}

void kernel_joined() {
  const std::uint64_t octets = (UINT64_C(4) << 30) / scaled;
  const std::string size = std::to_string(octets), line = "head -c " + size + " /dev/zero | cat | cat ";
  const auto both_ends_ours = [octets] {
    std::uint64_t n = 0;
    (void)(generator{octets} | P({"cat"}) | P({"cat"}) | [&](view v) { n += v.size(); } | discard())();
    expect(n == octets);
  };
  compare(("(a) head -c " + size + " | cat | cat > /dev/null").c_str(),
          {{"dash", [&] { dash(line + "> /dev/null"); }},
           {"nbio, three processes",
            [&] {
              (void)((P({"head", "-c", size, "/dev/zero"}) | P({"cat"}) | P({"cat"})) > "/dev/null")();
            },
            1.05, 1.05},
           {"nbio, both ends in our process", both_ends_ours, 0.70, 1.0},
           {"a bare loop, both ends in our process", [&] { bare_loop_through_two_cats(octets); }}});
  // Where both ends are ours, three pipes are crossed, and somebody looks at what comes out; in the line above, two,
  // and nobody. This is the same work:
  compare(("(a) head -c " + size + " | cat | cat | wc -c").c_str(),
          {{"dash", [&] { dash(line + "| wc -c > /dev/null"); }},
           {"nbio, both ends in our process", both_ends_ours, 0.70, 1.0}});
}

void collected() {
  const std::uint64_t octets = (UINT64_C(1) << 30) / scaled;
  std::vector<contender> all{
      {"poll, read, append (prototype)", [&] { expect(append_prototype(octets).size() == octets); }},
      {"nbio", [&] { expect((generator{octets} | P({"cat"}))().size() == octets); }, 0.80},
      {"nbio, size known", [&] { expect((generator{octets} | P({"cat"})).expect_output(octets)().size() == octets); },
       0.65}};
#ifdef HAVE_LIBPIPELINE
  all.push_back({"libpipeline", [&] { expect(through_libpipeline::collect(octets)); }});
#endif
#ifdef HAVE_BOOST_PROCESS
  all.push_back({"Boost.Process, asynchronous", [&] { expect(through_boost::collect(octets) == octets); }});
#endif
  compare("(b) generator | cat, collected, 1 GiB", all);
}

void bare_true(int n) {
  const char* argv[] = {"true", nullptr};
  for (int i = 0; i < n; ++i) {
    pid_t pid;
    if (::posix_spawn(&pid, "/bin/true", nullptr, nullptr, const_cast<char**>(argv), environ) != 0) std::abort();
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
  }
}
void nbio_true(int n) {
  for (int i = 0; i < n; ++i) (void)P({"/bin/true"})();
}
/// The peers that fork copy the page tables of their host each time.
std::vector<contender> starters(int n, double goal) {
  std::vector<contender> all{{"posix_spawn, waitid", [n] { bare_true(n); }}, {"nbio", [n] { nbio_true(n); }, goal}};
#ifdef HAVE_LIBPIPELINE
  all.push_back({"libpipeline", [n] { through_libpipeline::run_true(n); }});
#endif
#ifdef HAVE_BOOST_PROCESS
  all.push_back({"Boost.Process", [n] { through_boost::run_true(n); }});
#endif
  return all;
}
void spawning() {
  const int n = static_cast<int>(std::max<std::uint64_t>(1500 / scaled, 100));
  compare(("(c) start and reap /bin/true, " + std::to_string(n) + " times").c_str(), starters(n, 1.10));
  constexpr std::size_t size = 1 << 30;
  constexpr int fewer = 40;  // a fork of so much takes its time
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  std::memset(memory, 1, size);
  compare(("(c) the same " + std::to_string(fewer) + " times with 1 GiB resident").c_str(), starters(fewer, 1.20));
  ::munmap(memory, size);
}

void echo_cat() {
  const int n = static_cast<int>(std::max<std::uint64_t>(500 / scaled, 50));
  const auto bare = [&] {
    const char* echo[] = {"echo", "x", nullptr};
    const char* cat[] = {"cat", nullptr};
    for (int i = 0; i < n; ++i) {
      auto middle = fussy::nbio::detail::make_pipe(), out = fussy::nbio::detail::make_pipe();
      pid_t first, second;
      posix_spawn_file_actions_t a;
      ::posix_spawn_file_actions_init(&a);
      ::posix_spawn_file_actions_adddup2(&a, middle.read.get(), 0);
      ::posix_spawn_file_actions_adddup2(&a, out.write.get(), 1);
      if (::posix_spawn(&second, "/bin/cat", &a, nullptr, const_cast<char**>(cat), environ) != 0) std::abort();
      ::posix_spawn_file_actions_destroy(&a);
      ::posix_spawn_file_actions_init(&a);
      ::posix_spawn_file_actions_adddup2(&a, middle.write.get(), 1);
      if (::posix_spawn(&first, "/bin/echo", &a, nullptr, const_cast<char**>(echo), environ) != 0) std::abort();
      ::posix_spawn_file_actions_destroy(&a);
      middle.read.reset(), middle.write.reset(), out.write.reset();
      char text[16];
      while (::read(out.read.get(), text, sizeof text) > 0) {
      }
      ::waitpid(first, nullptr, 0);
      ::waitpid(second, nullptr, 0);
    }
  };
  compare("(f) echo | cat, 500 times", {{"two bare spawns", bare},
                                        {"nbio",
                                         [&] {
                                           for (int i = 0; i < n; ++i)
                                             (void)(P({"/bin/echo", "x"}) | P({"/bin/cat"}))();
                                         },
                                         1.20}});
}

void many_cats() {
  const std::uint64_t octets = (UINT64_C(64) << 20) / scaled;
  std::string line = "head -c " + std::to_string(octets) + " /dev/zero";
  for (int i = 0; i < 200; ++i) line += " | cat";
  compare("(d) 64 MiB through 200 cats",
          {{"dash", [&] { dash(line + " > /dev/null"); }},
           {"nbio",
            [&] {
              fussy::nbio::pipe p = P({"head", "-c", std::to_string(octets), "/dev/zero"});
              for (int i = 0; i < 200; ++i) p = std::move(p) | P({"cat"});
              (void)(std::move(p) > "/dev/null")();
            },
            1.05}});
}

void lines() {
  const std::uint64_t n = (UINT64_C(1) << 30) / 80 / scaled;
  const std::string path = "/dev/shm/nbio-bench-lines";
  {
    std::ofstream out(path);
    const std::string line(79, 'x');
    for (std::uint64_t i = 0; i < n; ++i) out << line << '\n';
  }
  compare("(e) 1 GiB in lines of 80 octets, from a file",
          {{"std::getline",
            [&] {
              std::ifstream in(path);
              std::string line;
              std::uint64_t count = 0;
              while (std::getline(in, line)) count += line.size() == 79;
              expect(count == n);
            }},
           {"nbio by_line",
            [&] {
              std::uint64_t count = 0;
              (void)(from_file(path) | by_line() | [&](view l) { count += l.size() == 79; } | discard())();
              expect(count == n);
            },
            0.65}});
  ::unlink(path.c_str());
}

}  // namespace

int main(int argc, char** argv) {
#ifndef HAVE_LIBPIPELINE
  std::printf("libpipeline: not installed where this was built\n");
#endif
#ifndef HAVE_BOOST_PROCESS
  std::printf("Boost.Process (first version): not installed where this was built\n");
#endif
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--scale" && i + 1 < argc)
      scaled = static_cast<std::uint64_t>(std::atoll(argv[++i]));
    else if (arg == "--rounds" && i + 1 < argc)
      rounds = std::atoi(argv[++i]);
    else
      names.push_back(arg);
  }
  const std::pair<const char*, void (*)()> all[] = {{"joined", kernel_joined}, {"collected", collected},
                                                    {"spawn", spawning},       {"echo", echo_cat},
                                                    {"cats", many_cats},       {"lines", lines}};
  for (const auto& [name, run] : all)
    if (names.empty() || std::find(names.begin(), names.end(), name) != names.end()) run();
}
