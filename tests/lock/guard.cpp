// flock_guard: one holder at a time.
#include <doctest/doctest.h>
#include <fussy/lock/guard.hpp>

#include <sys/resource.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <thread>

#include "support/child.hpp"
#include "support/skip.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;
using namespace std::chrono_literals;
using test::child;
using test::code_of;
using test::message_of;
using test::temporary_directory;
namespace fs = std::filesystem;

namespace {

std::string content_of(const fs::path& file) {
  std::ifstream in(file);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void write(const fs::path& file, const std::string& text) { std::ofstream(file) << text; }

/// A process that holds the lock until it is killed.
auto holder(const fs::path& file) {
  return [file](int ready) -> int {
    flock_guard guard(file);
    child::say_ready(ready);
    child::sleep_for_ever();
  };
}

std::chrono::microseconds cpu_time() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  return std::chrono::seconds(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         std::chrono::microseconds(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

bool free_again(const fs::path& file) { return flock_guard::try_lock(file).has_value(); }

}  // namespace

TEST_SUITE_BEGIN("flock_guard");

TEST_CASE("the file is created, has the holder's PID in its first line, and is empty after release") {
  temporary_directory dir;
  {
    flock_guard guard(dir / "x.lock");
    CHECK(guard.owns_lock());
    const std::string text = content_of(dir / "x.lock");
    CHECK(text.starts_with(std::to_string(::getpid()) + "\nsince 20"));
    CHECK(text.find("Z\npidns ") != text.npos);
  }
  CHECK(fs::exists(dir / "x.lock"));
  CHECK(content_of(dir / "x.lock").empty());
  CHECK(free_again(dir / "x.lock"));
}

TEST_CASE("a lock that another process holds is busy; the message has its PID and since when") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  const std::string message = message_of([&] { flock_guard guard(dir / "x.lock"); });
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock"); }) == errc::busy);
  CHECK(message.find("lock " + (dir / "x.lock").string() + " is busy: PID " + std::to_string(other.pid()) +
                     " holds it since 20") == 0);
  CHECK(message.find("; retry") != message.npos);
  CHECK_FALSE(free_again(dir / "x.lock"));
}

TEST_CASE("a lock that this process holds is already held") {
  temporary_directory dir;
  flock_guard guard(dir / "x.lock");
  SUBCASE("in this thread") {
    CHECK(code_of([&] { flock_guard again(dir / "x.lock"); }) == errc::already_held);
  }
  SUBCASE("in another thread") {
    CHECK(std::async(std::launch::async, [&] { return code_of([&] { flock_guard again(dir / "x.lock"); }); }).get() ==
          errc::already_held);
  }
  SUBCASE("in this thread, which does not wait for itself") {
    CHECK(code_of([&] { flock_guard again(dir / "x.lock", wait_forever); }) == errc::already_held);
  }
  SUBCASE("under another name of the file") {
    fs::create_hard_link(dir / "x.lock", dir / "y.lock");
    CHECK(code_of([&] { flock_guard again(dir / "y.lock"); }) == errc::already_held);
  }
  SUBCASE("with a file that was deleted since") {
    fs::remove(dir / "x.lock");
    CHECK(code_of([&] { flock_guard again(dir / "x.lock"); }) == errc::already_held);
  }
  CHECK(guard.owns_lock());
}

TEST_CASE("a thread waits for another thread of its process") {
  temporary_directory dir;
  std::optional<flock_guard> guard(std::in_place, dir / "x.lock");
  auto waiting = std::async(std::launch::async, [&] { flock_guard mine(dir / "x.lock", 20s); });
  CHECK(waiting.wait_for(100ms) == std::future_status::timeout);
  guard.reset();
  waiting.get();
}

TEST_CASE("a stale file never blocks") {
  temporary_directory dir;
  SUBCASE("of a process that was killed") {
    child other(holder(dir / "x.lock"));
    REQUIRE(other.ready());
    other.kill(SIGKILL);
    CHECK(other.wait() == 128 + SIGKILL);
    CHECK_FALSE(content_of(dir / "x.lock").empty());
  }
  SUBCASE("with the PID of a process that lives, and does not hold it") { write(dir / "x.lock", "1\n"); }
  SUBCASE("with our own PID, as in a container whose processes get the same PIDs every time") {
    write(dir / "x.lock", std::to_string(::getpid()) + "\n");
  }
  flock_guard guard(dir / "x.lock");
  CHECK(content_of(dir / "x.lock").starts_with(std::to_string(::getpid()) + "\n"));
}

TEST_CASE("a record left behind by a dead process is not mistaken for the holder") {
  temporary_directory dir;
  write(dir / "x.lock", "4194304\nsince 2001-01-01T00:00:00Z\n");  // above the highest PID there is
  child other([&](int ready) -> int {
    unique_fd fd = open_file(dir / "x.lock", O_RDWR);  // as flock(1) does: no record
    ::flock(fd.get(), LOCK_EX);
    child::say_ready(ready);
    child::sleep_for_ever();
  });
  REQUIRE(other.ready());
  const std::string message = message_of([&] { flock_guard guard(dir / "x.lock"); });
  CHECK(message.find("4194304") == message.npos);
  // Which process it is, only the kernel knows; on some file systems it does not say.
  CHECK((message.find("PID " + std::to_string(other.pid()) + " holds it") != message.npos ||
         message.find("another process holds it") != message.npos));
}

TEST_CASE("the holder in another PID namespace is named as what it is") {
  temporary_directory dir;
  child other([&](int ready) -> int {
    unique_fd fd = open_file(dir / "x.lock", O_RDWR | O_CREAT, 0644);
    ::flock(fd.get(), LOCK_EX);
    write(dir / "x.lock", "7\nsince 2026-01-01T00:00:00Z\npidns 12345\n");
    child::say_ready(ready);
    child::sleep_for_ever();
  });
  REQUIRE(other.ready());
  CHECK(message_of([&] {
          flock_guard guard(dir / "x.lock");
        }).find("PID 7 of another PID namespace (12345) holds it since 2026-01-01T00:00:00Z") != std::string::npos);
}

TEST_CASE("attack: control characters in the record do not reach the message") {
  temporary_directory dir;
  child other([&](int ready) -> int {
    unique_fd fd = open_file(dir / "x.lock", O_RDWR | O_CREAT, 0644);
    ::flock(fd.get(), LOCK_EX);
    write(dir / "x.lock", "1\nsince \x1b[2J\npidns \x1b]0;evil\x07\n");
    child::say_ready(ready);
    child::sleep_for_ever();
  });
  REQUIRE(other.ready());
  CHECK(message_of([&] { flock_guard guard(dir / "x.lock"); }).find('\x1b') == std::string::npos);
}

TEST_CASE("flock(1) and we exclude each other") {
  temporary_directory dir;
  flock_guard guard(dir / "x.lock");
  const std::string command = "flock -n " + (dir / "x.lock").string() + " true";
  CHECK(std::system(command.c_str()) != 0);
  guard.unlock();
  CHECK(std::system(command.c_str()) == 0);
}

TEST_CASE("a file with other content is locked and left as it is") {
  temporary_directory dir;
  write(dir / "script", "#!/bin/sh\nexit 0\n");
  {
    flock_guard guard(dir / "script");
    CHECK_FALSE(free_again(dir / "script"));
  }
  CHECK(content_of(dir / "script") == "#!/bin/sh\nexit 0\n");
}

TEST_CASE("a moved guard holds, and releases once") {
  temporary_directory dir;
  {
    flock_guard first(dir / "x.lock");
    flock_guard second(std::move(first));
    CHECK_FALSE(first.owns_lock());  // NOLINT: moved-from owns nothing by contract
    CHECK(second.owns_lock());
    CHECK_FALSE(free_again(dir / "x.lock"));
    second.unlock();
    CHECK(free_again(dir / "x.lock"));
    flock_guard third(dir / "x.lock");
    second.unlock();
    CHECK_FALSE(free_again(dir / "x.lock"));
  }
  CHECK(free_again(dir / "x.lock"));
}

TEST_CASE("what cannot be a lock file is refused") {
  temporary_directory dir;
  CHECK(code_of([&] { flock_guard guard(dir / "missing" / "x.lock"); }) == errc::not_found);
  CHECK(code_of([&] { flock_guard guard(dir.path()); }) != errc::success);
  CHECK(code_of([&] { flock_guard guard(dir.path() / ""); }) == errc::usage);
  CHECK(code_of([&] { flock_guard guard(""); }) == errc::usage);
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK(code_of([&] { flock_guard guard(dir / "fifo"); }) == errc::usage);
}

TEST_CASE("attack: a symbolic link planted as lock file is not followed") {
  temporary_directory dir;
  write(dir / "victim", "");
  fs::create_symlink(dir / "victim", dir / "x.lock");
  fs::create_symlink(dir / "created", dir / "y.lock");
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock"); }) == errc::usage);
  CHECK(code_of([&] { flock_guard guard(dir / "y.lock"); }) == errc::usage);
  CHECK(content_of(dir / "victim").empty());
  CHECK_FALSE(fs::exists(dir / "created"));
}

TEST_CASE("gotcha: a forked child that ends does not release the parent's lock") {
  temporary_directory dir;
  flock_guard guard(dir / "x.lock");
  child other([&](int) {
    guard.unlock();  // what its destructor would do
    return 0;
  });
  CHECK(other.wait() == 0);
  CHECK_FALSE(content_of(dir / "x.lock").empty());
  child third([&](int) { return code_of([&] { flock_guard mine(dir / "x.lock"); }) == errc::busy ? 0 : 1; });
  CHECK(third.wait() == 0);
}

TEST_CASE("gotcha: to a forked child the parent's lock is busy, not already held") {
  temporary_directory dir;
  flock_guard guard(dir / "x.lock");
  child other([&](int) { return code_of([&] { flock_guard mine(dir / "x.lock"); }) == errc::busy ? 0 : 1; });
  CHECK(other.wait() == 0);
}

TEST_CASE("gotcha: a program started while the lock is held does not keep it") {
  temporary_directory dir;
  child program([&](int ready) -> int {
    flock_guard guard(dir / "x.lock");
    if (::fork() == 0) {
      ::execlp("sleep", "sleep", "20", nullptr);
      ::_exit(1);
    }
    child::say_ready(ready);
    ::usleep(100'000);
    return 0;
  });
  REQUIRE(program.ready());
  CHECK(program.wait() == 0);
  CHECK(free_again(dir / "x.lock"));
}

TEST_CASE("a lock left to children is held until the last of them has ended") {
  temporary_directory dir;
  child program([&](int ready) -> int {
    flock_guard guard(dir / "x.lock");
    guard.let_children_inherit();
    if (::fork() == 0) {
      ::execlp("sleep", "sleep", "1", nullptr);
      ::_exit(1);
    }
    guard.leave_to_children();
    child::say_ready(ready);
    return 0;
  });
  REQUIRE(program.ready());
  CHECK(program.wait() == 0);
  const std::string message = message_of([&] { flock_guard guard(dir / "x.lock"); });
  CHECK(message.find("holds it") != message.npos);
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock", 10s); }) == errc::success);
}

TEST_CASE("two names in one directory do not exclude each other") {
  temporary_directory dir;
  flock_guard x(dir / "x.lock");
  flock_guard y(dir / "y.lock");
  CHECK(x.owns_lock());
  CHECK(y.owns_lock());
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("flock_guard: the file goes away");

TEST_CASE("a file deleted while the lock is held lets no second holder in") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  fs::remove(dir / "x.lock");
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock"); }) == errc::busy);
  CHECK(message_of([&] { flock_guard guard(dir / "x.lock"); }).find("deleted or replaced") != std::string::npos);
  other.kill(SIGKILL);
  other.wait();
  CHECK(free_again(dir / "x.lock"));
}

TEST_CASE("a file replaced while the lock is held lets no second holder in") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  write(dir / "new", "");
  fs::rename(dir / "new", dir / "x.lock");
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock"); }) == errc::busy);
}

TEST_CASE("a file renamed while the lock is held lets no second holder in, under neither name") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  fs::rename(dir / "x.lock", dir / "y.lock");
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock"); }) == errc::busy);
  CHECK(code_of([&] { flock_guard guard(dir / "y.lock"); }) == errc::busy);
}

TEST_CASE("who waits for a file that is deleted meanwhile gets the lock on the new one") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  auto waiting = std::async(std::launch::async, [&] {
    flock_guard mine(dir / "x.lock", 20s);
    return content_of(dir / "x.lock").starts_with(std::to_string(::getpid()));
  });
  std::this_thread::sleep_for(50ms);
  fs::remove(dir / "x.lock");
  CHECK(waiting.wait_for(50ms) == std::future_status::timeout);
  other.kill(SIGKILL);
  CHECK(waiting.get());
}

struct without_inode_comparison : lock_rules {
  static constexpr bool compare_inode = false, claim_name = false;
};
struct without_name_claim : lock_rules {
  static constexpr bool claim_name = false;
};

TEST_CASE("why: without the claim on the name a deleted file lets a second holder in") {
  temporary_directory dir;
  basic_flock_guard<without_name_claim> first(dir / "x.lock");
  fs::remove(dir / "x.lock");
  CHECK(code_of([&] { basic_flock_guard<without_name_claim> second(dir / "x.lock"); }) == errc::success);
}

TEST_CASE("why: without comparing inodes a waiter locks a file that is no longer there") {
  temporary_directory dir;
  std::optional<basic_flock_guard<without_inode_comparison>> first(std::in_place, dir / "x.lock");
  std::atomic<bool> go_on = false;
  auto waiting = std::async(std::launch::async, [&] {
    basic_flock_guard<without_inode_comparison> mine(dir / "x.lock", 20s);
    while (!go_on) std::this_thread::sleep_for(1ms);
  });
  std::this_thread::sleep_for(50ms);
  fs::remove(dir / "x.lock");
  first.reset();
  std::this_thread::sleep_for(100ms);  // the waiter has the deleted file now
  CHECK(code_of([&] { basic_flock_guard<without_inode_comparison> second(dir / "x.lock"); }) == errc::success);
  go_on = true;
}

TEST_CASE("where the directory cannot be read, the lock works with the comparison alone") {
  temporary_directory dir;
  fs::create_directory(dir / "dark");
  REQUIRE(::chmod((dir / "dark").c_str(), 0333) == 0);
  REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
  child stranger([&](int) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 1;
    flock_guard guard(dir / "dark" / "x.lock");
    return code_of([&] { flock_guard again(dir / "dark" / "x.lock"); }) == errc::already_held ? 0 : 2;
  });
  CHECK(stranger.wait() == 0);
}

TEST_CASE("a lock file of another user that may only be read can be locked") {
  if (::geteuid() != 0) return test::skip("needs root to become somebody else");
  temporary_directory dir;
  write(dir / "x.lock", "");
  REQUIRE(::chmod((dir / "x.lock").c_str(), 0644) == 0);
  REQUIRE(::chmod(dir.path().c_str(), 01777) == 0);
  child stranger([&](int ready) -> int {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
    flock_guard guard(dir / "x.lock");
    child::say_ready(ready);
    child::sleep_for_ever();
  });
  REQUIRE(stranger.ready());
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock"); }) == errc::busy);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("flock_guard: waiting");

TEST_CASE("a wait ends with busy when its time is over, and says how long it was") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  const auto start = std::chrono::steady_clock::now();
  const std::string message = message_of([&] { flock_guard guard(dir / "x.lock", 300ms); });
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(message.find("300 ms") != message.npos);
  CHECK(took >= 300ms);
  CHECK(took < 5s);
}

TEST_CASE("a waiter gets the lock soon after its release, and after the death of its holder") {
  temporary_directory dir;
  bool killed = false;
  SUBCASE("release") {}
  SUBCASE("death") { killed = true; }
  child other([&](int ready) -> int {
    flock_guard guard(dir / "x.lock");
    child::say_ready(ready);
    ::usleep(1'500'000);
    if (killed) ::raise(SIGKILL);
    guard.unlock();
    child::sleep_for_ever();
  });
  REQUIRE(other.ready());
  const auto start = std::chrono::steady_clock::now();
  flock_guard guard(dir / "x.lock", 30s);
  const auto took = std::chrono::steady_clock::now() - start;
  MESSAGE("held for 1500 ms, waited ", std::chrono::duration_cast<std::chrono::milliseconds>(took).count(), " ms");
  CHECK(took < 10s);
}

TEST_CASE("waiting is no busy loop") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  const auto before = cpu_time();
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock", 2s); }) == errc::busy);
  const auto used = cpu_time() - before;
  MESSAGE("CPU time of a wait of 2 s: ", used.count(), " us");
  CHECK(used < 100ms);
}

TEST_CASE("a wait obeys a stop token") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  std::stop_source stop;
  auto waiting = std::async(std::launch::async, [&] {
    return code_of([&] { flock_guard guard(dir / "x.lock", {.wait = wait_forever, .stop = stop.get_token()}); });
  });
  CHECK(waiting.wait_for(100ms) == std::future_status::timeout);
  stop.request_stop();
  CHECK(waiting.get() == errc::cancelled);
}

TEST_CASE("a wait obeys the deadline of its thread") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  deadline_scope limit(deadline_after(100ms));
  CHECK(code_of([&] { flock_guard guard(dir / "x.lock", wait_forever); }) == errc::timeout);
}

TEST_CASE("gotcha: signals during a wait neither end nor shorten it") {
  temporary_directory dir;
  child other(holder(dir / "x.lock"));
  REQUIRE(other.ready());
  child waiter([&](int) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    itimerval often{{0, 1000}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    const auto start = std::chrono::steady_clock::now();
    if (code_of([&] { flock_guard guard(dir / "x.lock", 300ms); }) != errc::busy) return 1;
    return std::chrono::steady_clock::now() - start >= 300ms ? 0 : 2;
  });
  CHECK(waiter.wait() == 0);
}

TEST_SUITE_END();
