// cron_lock, blocking_lock, with_lock.
#include <doctest/doctest.h>
#include <fussy/lock.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/child.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;
using namespace std::chrono_literals;
using test::child;
using test::code_of;
using test::temporary_directory;
namespace fs = std::filesystem;

namespace {

auto holder(const fs::path& file) {
  return [file](int ready) -> int {
    cron_lock lock(file);
    std::unique_lock holding(lock);
    child::say_ready(ready);
    child::sleep_for_ever();
  };
}

bool is_free(const fs::path& file) { return flock_guard::try_lock(file).has_value(); }

}  // namespace

TEST_SUITE_BEGIN("cron_lock");

TEST_CASE("it works with std::unique_lock, std::lock_guard and std::scoped_lock") {
  temporary_directory dir;
  cron_lock x(dir / "x.lock"), y(dir / "y.lock");
  {
    std::unique_lock holding(x);
    CHECK_FALSE(is_free(dir / "x.lock"));
    holding.unlock();
    CHECK(is_free(dir / "x.lock"));
    CHECK(holding.try_lock());
  }
  {
    std::lock_guard holding(x);
    CHECK_FALSE(is_free(dir / "x.lock"));
  }
  {
    std::scoped_lock holding(x, y);
    CHECK_FALSE(is_free(dir / "x.lock"));
    CHECK_FALSE(is_free(dir / "y.lock"));
  }
  CHECK(is_free(dir / "x.lock"));
  CHECK(is_free(dir / "y.lock"));
}

TEST_CASE("lock() throws busy when another process holds it, try_lock() says false") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  cron_lock lock(dir / "x.lock");
  CHECK(code_of([&] { lock.lock(); }) == errc::busy);
  CHECK_FALSE(lock.try_lock());
  CHECK_FALSE(std::unique_lock(lock, std::try_to_lock).owns_lock());
}

TEST_CASE("lock() throws already_held when this process holds it") {
  temporary_directory dir;
  cron_lock lock(dir / "x.lock"), same_file(dir / "x.lock");
  std::lock_guard holding(lock);
  SUBCASE("through the same object") {
    CHECK(code_of([&] { lock.lock(); }) == errc::already_held);
    CHECK_FALSE(lock.try_lock());
  }
  SUBCASE("through another object") {
    CHECK(code_of([&] { same_file.lock(); }) == errc::already_held);
  }
  SUBCASE("from another thread") {
    CHECK(std::async(std::launch::async, [&] { return code_of([&] { lock.lock(); }); }).get() == errc::already_held);
  }
  CHECK_FALSE(is_free(dir / "x.lock"));
}

TEST_CASE("unlocking what is not locked does nothing") {
  temporary_directory dir;
  cron_lock lock(dir / "x.lock");
  lock.unlock();
  CHECK(lock.try_lock());
  lock.unlock();
  lock.unlock();
  CHECK(is_free(dir / "x.lock"));
}

TEST_CASE("one object shared by many threads has one holder at a time") {
  temporary_directory dir;
  blocking_lock lock(dir / "x.lock", 60s);
  std::atomic<int> holders = 0, most = 0, turns = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 25; ++i) {
          std::lock_guard holding(lock);
          most = std::max(most.load(), ++holders);
          ++turns;
          --holders;
        }
      });
  }
  CHECK(turns == 100);
  CHECK(most == 1);
}

TEST_CASE("a timeout runs from when it is set, whether or not the lock is held") {
  temporary_directory dir;
  cron_lock lock(dir / "x.lock");
  CHECK_FALSE(lock.stop_token().stop_possible());
  CHECK(code_of([&] { lock.check_timeout(); }) == errc::success);
  lock.set_timeout(50ms, {.grace = 1h});
  CHECK(current_deadline() != no_deadline);
  while (!lock.stop_token().stop_requested()) std::this_thread::sleep_for(1ms);
  CHECK(code_of([&] { lock.check_timeout(); }) == errc::timeout);
  lock.lock();
  lock.unlock();
  CHECK(lock.stop_token().stop_requested());
}

TEST_CASE("a timeout is replaced by the next, cleared, and ends with the lock object") {
  temporary_directory dir;
  {
    cron_lock lock(dir / "x.lock");
    lock.set_timeout(10ms, {.grace = 50ms});
    lock.set_timeout(1h);
    std::this_thread::sleep_for(150ms);
    CHECK_FALSE(lock.stop_token().stop_requested());
    lock.clear_timeout();
    CHECK(current_deadline() == no_deadline);
    lock.set_timeout(10ms, {.grace = 50ms});
  }
  CHECK(current_deadline() == no_deadline);
  std::this_thread::sleep_for(150ms);  // the last resort would end this process
}

TEST_CASE("a hung job ends with status 124, and its lock is free") {
  temporary_directory dir;
  child hung([&](int) {
    child::be_quiet();
    cron_lock lock(dir / "x.lock");
    std::lock_guard holding(lock);
    lock.set_timeout(50ms, {.grace = 50ms});
    child::sleep_for_ever();
    return 0;
  });
  CHECK(hung.wait() == time_limit_exit_status);
  CHECK(is_free(dir / "x.lock"));
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("blocking_lock");

TEST_CASE("lock() waits, and throws busy when its longest wait is over") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  blocking_lock lock(dir / "x.lock", 200ms);
  const auto start = std::chrono::steady_clock::now();
  CHECK(code_of([&] { lock.lock(); }) == errc::busy);
  CHECK(std::chrono::steady_clock::now() - start >= 200ms);
  CHECK_FALSE(lock.try_lock());
  CHECK_FALSE(lock.try_lock_for(50ms));
  CHECK_FALSE(lock.try_lock_until(std::chrono::system_clock::now() + 50ms));
  other.kill(SIGKILL);
  CHECK(lock.try_lock_for(20s));
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("with_lock");

TEST_CASE("the function runs while the lock is held, and its result is returned") {
  temporary_directory dir;
  bool held = false;
  const int answer = with_lock("x.lock", {.directory = dir.path()}, [&] {
    held = !is_free(dir / "x.lock");
    return 42;
  });
  CHECK(answer == 42);
  CHECK(held);
  CHECK(is_free(dir / "x.lock"));
}

TEST_CASE("the directory is that of temporary files unless one is named") {
  temporary_directory dir;
  const char* before = std::getenv("TMPDIR");
  const std::string saved = before ? before : "";
  ::setenv("TMPDIR", dir.path().c_str(), 1);
  bool called = false;
  with_lock("x.lock", [&] { called = fs::exists(dir / "x.lock"); });
  CHECK(called);
  ::setenv("TMPDIR", "/nonexistent", 1);
  CHECK(code_of([] { with_lock("x.lock", [] {}); }) == errc::not_found);
  with_lock(dir / "absolute.lock", [] {});
  CHECK(fs::exists(dir / "absolute.lock"));
  if (before)
    ::setenv("TMPDIR", saved.c_str(), 1);
  else
    ::unsetenv("TMPDIR");
}

TEST_CASE("a function that throws releases the lock") {
  temporary_directory dir;
  CHECK_THROWS_AS(with_lock(dir / "x.lock", [] { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK(is_free(dir / "x.lock"));
}

TEST_CASE("when the lock is busy the function is not called") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  bool called = false;
  CHECK(code_of([&] { with_lock(dir / "x.lock", [&] { called = true; }); }) == errc::busy);
  CHECK_FALSE(try_with_lock(dir / "x.lock", {}, [&] { called = true; }));
  CHECK_FALSE(try_with_lock(dir / "x.lock", {.wait = 50ms}, [&] { return 1; }).has_value());
  CHECK_FALSE(called);
}

TEST_CASE("try_with_lock says what the function returned, or that it was called") {
  temporary_directory dir;
  CHECK(try_with_lock(dir / "x.lock", {}, [] { return 42; }) == 42);
  CHECK(try_with_lock(dir / "x.lock", {}, [] {}));
}

TEST_CASE("a function that waits for its token stops in time; the call ends with timeout") {
  temporary_directory dir;
  const auto start = std::chrono::steady_clock::now();
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", {.timeout = 100ms}, [](std::stop_token stop) {
            while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
          });
        }) == errc::timeout);
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(took >= 100ms);
  CHECK(took < 5s);
  CHECK(is_free(dir / "x.lock"));
}

TEST_CASE("a result that comes after the time is not handed out") {
  temporary_directory dir;
  CHECK(code_of([&] {
          with_lock(dir / "x.lock", {.timeout = 20ms}, [] {
            std::this_thread::sleep_for(60ms);
            return 1;
          });
        }) == errc::timeout);
}

TEST_CASE("the time does not run while waiting for the lock") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  auto answer = std::async(std::launch::async, [&] {
    return with_lock(dir / "x.lock", {.wait = 20s, .timeout = 10s},
                     [] { return current_deadline() - deadline_clock::now(); });
  });
  CHECK(answer.wait_for(300ms) == std::future_status::timeout);
  other.kill(SIGKILL);
  CHECK(answer.get() > 9'800ms);
}

TEST_CASE("a function that hangs is ended with the process, or by the chosen last resort") {
  temporary_directory dir;
  child hung([&](int) {
    with_lock(dir / "x.lock", {.timeout = 50ms, .at_timeout = {.grace = 50ms, .last_resort = [] { ::_exit(33); }}},
              [] { child::sleep_for_ever(); });
    return 0;
  });
  CHECK(hung.wait() == 33);
  CHECK(is_free(dir / "x.lock"));
}

TEST_SUITE_END();
