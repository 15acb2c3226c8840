// time_limit: a stop token, the deadline of the thread, the last resort.
#include <doctest/doctest.h>
#include <fussy/lock/time_limit.hpp>

#include <dirent.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/child.hpp"

using namespace fussy;
using namespace std::chrono_literals;
using test::child;
using test::code_of;
using steady = std::chrono::steady_clock;

// Children that a limit ends on purpose cannot join their threads any more.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "report_thread_leaks=0"; }

namespace {

auto late_by(deadline_clock::time_point due) {
  return std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - due).count();
}

bool wait_for_stop(const std::stop_token& token, std::chrono::milliseconds longest) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, token, longest, [&] { return token.stop_requested(); });
  return token.stop_requested();
}

int open_descriptors() {
  int n = 0;
  DIR* d = ::opendir("/proc/self/fd");
  while (::readdir(d)) ++n;
  ::closedir(d);
  return n;
}

}  // namespace

TEST_SUITE_BEGIN("time_limit");

static_assert(deadline_clock::is_steady, "a limit on a clock that can be set is no limit");

TEST_CASE("when the time is over, the token is asked to stop, and the deadline of the thread has come") {
  const auto start = steady::now();
  const time_limit limit(200ms);
  CHECK(current_deadline() == limit.until());
  CHECK_FALSE(limit.over());
  CHECK_FALSE(limit.token().stop_requested());
  CHECK(code_of([&] { limit.check(); }) == errc::success);
  CHECK(wait_for_stop(limit.token(), 20s));
  MESSAGE("asked to stop ", late_by(limit.until()), " us after its time");
  CHECK(steady::now() - start >= 200ms);
  CHECK(limit.over());
  CHECK(code_of([&] { limit.check(); }) == errc::timeout);
}

TEST_CASE("a limit that is not reached leaves nothing behind") {
  const int before = open_descriptors();
  for (int i = 0; i < 50; ++i) const time_limit limit(1h);
  CHECK(open_descriptors() == before);
  CHECK(current_deadline() == no_deadline);
}

TEST_CASE("a limit beyond what the clock can say is none") {
  const time_limit limit(std::chrono::hours::max());
  CHECK(current_deadline() == no_deadline);
  CHECK_FALSE(limit.over());
}

TEST_CASE("work that hangs is ended with the process, status 124, after the grace period") {
  const auto start = steady::now();
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  child hung([&](int) {
    ::dup2(ends[1], STDERR_FILENO);
    const time_limit limit(100ms, {.grace = 200ms});
    for (;;) ::pause();
    return 0;
  });
  CHECK(hung.wait() == time_limit_exit_status);
  const auto took = steady::now() - start;
  MESSAGE("ended after ", std::chrono::duration_cast<std::chrono::milliseconds>(took).count(), " ms, 300 were set");
  CHECK(took >= 300ms);
  CHECK(took < 10s);
  ::close(ends[1]);
  std::array<char, 200> text{};
  CHECK(::read(ends[0], text.data(), text.size() - 1) > 0);
  CHECK(std::string(text.data()).find("ending the process") != std::string::npos);
  ::close(ends[0]);
}

TEST_CASE("work that ends in its grace period is not ended with the process") {
  child slow([&](int) {
    {
      const time_limit limit(50ms, {.grace = 400ms});
      ::usleep(150'000);
    }
    ::usleep(600'000);
    return 7;
  });
  CHECK(slow.wait() == 7);
}

TEST_CASE("gotcha: a process that computes, and never looks at anything, is ended as well") {
  child busy([](int) {
    child::be_quiet();
    const time_limit limit(50ms, {.grace = 50ms});
    for (std::atomic<unsigned> i = 0;; ++i) {
    }
    return 0;
  });
  CHECK(busy.wait() == time_limit_exit_status);
}

TEST_CASE("gotcha: a process whose signals are all blocked or ignored is ended as well") {
  child deaf([](int) {
    child::be_quiet();
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    const time_limit limit(50ms, {.grace = 50ms});
    child::sleep_for_ever();
    return 0;
  });
  CHECK(deaf.wait() == time_limit_exit_status);
}

TEST_CASE("gotcha: a stop callback that hangs does not keep the process alive") {
  bool destroyed_meanwhile = false;
  SUBCASE("while the work goes on") {}
  SUBCASE("while the limit is being destroyed") { destroyed_meanwhile = true; }
  child hung([&](int) {
    child::be_quiet();
    std::optional<time_limit> limit(std::in_place, 50ms, time_limit_options{.grace = 100ms});
    std::stop_callback hang(limit->token(), [] { child::sleep_for_ever(); });
    ::usleep(100'000);
    if (destroyed_meanwhile) limit.reset();
    child::sleep_for_ever();
    return 0;
  });
  CHECK(hung.wait() == time_limit_exit_status);
}

TEST_CASE("the last resort can be chosen") {
  SUBCASE("a function of the host") {
    std::promise<steady::time_point> called;
    const time_limit limit(50ms, {.grace = 100ms, .last_resort = [&] { called.set_value(steady::now()); }});
    CHECK(called.get_future().get() >= limit.until() + 100ms);
  }
  SUBCASE("none") {
    const time_limit limit(50ms, {.grace = 0ms, .last_resort = nullptr});
    std::this_thread::sleep_for(200ms);
    CHECK(limit.over());
  }
}

TEST_CASE("the last resort may end the limit itself") {
  std::promise<void> done;
  std::mutex mutex;
  std::unique_ptr<time_limit> limit;
  const auto end_it = [&] {
    {
      std::lock_guard hold(mutex);
      limit.reset();
    }
    done.set_value();
  };
  {
    std::lock_guard hold(mutex);
    limit = std::make_unique<time_limit>(20ms, time_limit_options{.grace = 10ms, .last_resort = end_it});
  }
  CHECK(done.get_future().wait_for(20s) == std::future_status::ready);
}

TEST_CASE("several threads with several limits: each ends at its own time") {
  constexpr int n = 12;
  std::array<long long, n> late{};
  std::array<std::atomic<bool>, n> stopped{};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < n; ++i)
      threads.emplace_back([&, i] {
        const time_limit outer(1h);
        const time_limit mine(100ms + i * 25ms);
        const time_limit longer(1h);
        if (current_deadline() != mine.until()) return;
        stopped[i] = wait_for_stop(mine.token(), 20s) && !outer.token().stop_requested();
        late[i] = late_by(mine.until());
      });
  }
  for (int i = 0; i < n; ++i) {
    CHECK(stopped[i]);
    CHECK(late[i] >= 0);
  }
  MESSAGE("latest of ", n, " limits: ", *std::max_element(late.begin(), late.end()), " us");
}

TEST_CASE("no signal of the host is touched, neither its handlers, nor its mask, nor where it arrives") {
  child host([](int) -> int {
    const auto dispositions = [] {
      std::array<struct sigaction, 65> all{};
      for (int s = 1; s < 65; ++s) ::sigaction(s, nullptr, &all[s]);
      return all;
    };
    const auto same_handlers = [](const auto& a, const auto& b) {
      for (int s = 1; s < 65; ++s)
        if (a[s].sa_handler != b[s].sa_handler || a[s].sa_flags != b[s].sa_flags) return false;
      return true;
    };
    sigset_t mask_before, mask_during;
    const auto before = dispositions();
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_before);
    const time_limit limit(10s);
    const time_limit passed(1ms, {.grace = 10s});
    ::usleep(50'000);
    if (!same_handlers(before, dispositions())) return 1;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_during);
    for (int s = 1; s < 65; ++s)
      if (::sigismember(&mask_before, s) != ::sigismember(&mask_during, s)) return 2;
    // SIGUSR1 would end the process if a thread of ours took it instead of sigwait below.
    sigset_t user;
    ::sigemptyset(&user);
    ::sigaddset(&user, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &user, nullptr);
    ::kill(::getpid(), SIGUSR1);
    ::usleep(20'000);
    int got = 0;
    ::sigwait(&user, &got);
    return got == SIGUSR1 ? 0 : 3;
  });
  CHECK(host.wait() == 0);
}

TEST_CASE("gotcha: signals of the host neither delay nor hasten the end of the time") {
  child host([](int) -> int {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    itimerval often{{0, 1000}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    const time_limit limit(200ms);
    while (!limit.token().stop_requested()) ::usleep(1000);
    return limit.over() && late_by(limit.until()) < 5'000'000 ? 0 : 1;
  });
  CHECK(host.wait() == 0);
}

TEST_CASE("gotcha: a forked child has no limit, and may destroy its copy") {
  auto limit = std::make_unique<time_limit>(200ms, time_limit_options{.grace = 100ms, .last_resort = nullptr});
  child other([&](int) {
    limit.reset();
    return 5;
  });
  CHECK(other.wait() == 5);
}

TEST_SUITE_END();
