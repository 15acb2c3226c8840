// What runs under a lock ends with its time: every nbio pipe, on every thread that belongs to the work.
#include <doctest/doctest.h>
#include <fussy/lock.hpp>
#include <fussy/nbio.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;
using namespace std::chrono_literals;
using nbio::P;
using test::code_of;
using test::temporary_directory;
using steady = std::chrono::steady_clock;

namespace {

const with_lock_options short_time{.timeout = 300ms, .at_timeout = {.grace = 1min}};

auto ms_since(steady::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - start).count();
}

bool is_gone(pid_t pid) {
  for (int i = 0; i < 500; ++i) {
    if (::kill(pid, 0) != 0) return true;
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    if (text.find(") Z ") != text.npos) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

}  // namespace

TEST_SUITE_BEGIN("pipes under a lock");

TEST_CASE("a pipe started under the lock ends with timeout at its deadline, with what it had said") {
  temporary_directory dir;
  const auto start = steady::now();
  std::string said;
  pid_t pid = 0;
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", short_time, [&] {
            try {
              (P("echo $$; sleep 60 & sleep 60") | P("cat"))();
            } catch (const nbio::pipe_error& e) {
              CHECK(e.result.timed_out);
              said = e.result.out;
              throw;
            }
          });
        }) == errc::timeout);
  const auto took = ms_since(start);
  MESSAGE("ended after ", took, " ms, 300 were set");
  CHECK(took >= 300);
  CHECK(took < 10'000);
  pid = static_cast<pid_t>(std::stol(said));
  CHECK(is_gone(pid));
  CHECK(flock_guard::try_lock(dir / "x.lock"));
}

TEST_CASE("the same for a run whose failures are values, for lines, and for a job") {
  temporary_directory dir;
  const auto start = steady::now();
  CHECK(code_of([&] { with_lock(dir / "x.lock", short_time, [] { CHECK(P("sleep 60").run().timed_out); }); }) ==
        errc::timeout);
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", short_time, [] {
            for (auto line : P("echo one; sleep 60").lines()) CHECK(line == "one");
          });
        }) == errc::timeout);
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", short_time, [] {
            nbio::job job = P("sleep 60").start();
            CHECK(job.wait().timed_out);
          });
        }) == errc::timeout);
  CHECK(ms_since(start) < 30'000);
}

TEST_CASE("a longer time of the pipe's own does not help it, a shorter one counts") {
  cron_lock lock("/nonexistent/never-held.lock");
  const auto start = steady::now();
  lock.set_timeout(2s, {.grace = 1min});
  CHECK(P("sleep 60").timeout(30ms).run().timed_out);
  CHECK(ms_since(start) < 1900);
  CHECK(P("sleep 60").timeout(1min).run().timed_out);
  CHECK(ms_since(start) >= 2000);
  CHECK(ms_since(start) < 10'000);
}

TEST_CASE("a pipe started after the deadline ends at once") {
  cron_lock lock("/nonexistent/never-held.lock");
  lock.set_timeout(1ms, {.grace = 1min});
  std::this_thread::sleep_for(5ms);
  const auto start = steady::now();
  CHECK(P("sleep 60").run().timed_out);
  CHECK(ms_since(start) < 5'000);
  lock.clear_timeout();
  CHECK(P("echo still here")() == "still here\n");
}

TEST_CASE("several threads with several deadlines: each pipe ends at that of its thread; the host's others go on") {
  std::array<long long, 6> took{};
  std::atomic<bool> other_went_on = false;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < took.size(); ++i)
      threads.emplace_back([&took, i] {
        const auto start = steady::now();
        const time_limit limit(100ms + i * 100ms, {.grace = 1min});
        if (P("sleep 60").run().timed_out) took[i] = ms_since(start);
      });
    threads.emplace_back([&] { other_went_on = P("sleep 0.8; echo done")() == "done\n"; });
  }
  for (std::size_t i = 0; i < took.size(); ++i) {
    CHECK(took[i] >= static_cast<long long>(100 + i * 100));
    CHECK(took[i] < 10'000);
  }
  CHECK(other_went_on);
}

TEST_CASE("a helper thread that takes the deadline over is reached as well") {
  temporary_directory dir;
  bool timed_out = false;
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", short_time, [&] {
            const auto until = current_deadline();
            std::thread([&] {
              const deadline_scope limit(until);
              timed_out = P("sleep 60").run().timed_out;
            }).join();
          });
        }) == errc::timeout);
  CHECK(timed_out);
}

TEST_CASE("a native stage that runs a pipe of its own does not outlive the deadline") {
  temporary_directory dir;
  const auto start = steady::now();
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", short_time, [] {
            const auto inner = [](nbio::stage_reader&, nbio::stage_writer&) { P("sleep 60")(); };
            (P("echo x") | nbio::on_thread(inner))();
          });
        }) == errc::timeout);
  CHECK(ms_since(start) < 10'000);
}

TEST_SUITE_END();
