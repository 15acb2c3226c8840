// deadline: the moment by which the work of a thread must have ended.
#include <doctest/doctest.h>
#include <fussy/deadline.hpp>

#include <optional>
#include <thread>

using namespace fussy;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("deadline");

TEST_CASE("without a scope there is no deadline") { CHECK(current_deadline() == no_deadline); }

TEST_CASE("the earliest of several scopes counts, and the outer one again when the inner one ended") {
  const auto soon = deadline_after(1s), later = deadline_after(1h);
  deadline_scope outer(later);
  CHECK(current_deadline() == later);
  {
    deadline_scope inner(soon);
    CHECK(current_deadline() == soon);
    deadline_scope longer(later + 1h);
    CHECK(current_deadline() == soon);
  }
  CHECK(current_deadline() == later);
}

TEST_CASE("in a pause no scope counts but those that are opened in it") {
  const auto soon = deadline_after(1s), later = deadline_after(1h);
  deadline_scope outer(soon);
  {
    const deadline_pause pause;
    CHECK(current_deadline() == no_deadline);
    const deadline_scope inner(later);
    CHECK(current_deadline() == later);
  }
  CHECK(current_deadline() == soon);
}

TEST_CASE("scopes may end in any order") {
  std::optional<deadline_scope> first(deadline_after(1s));
  const auto later = deadline_after(1h);
  deadline_scope second(later);
  first.reset();
  CHECK(current_deadline() == later);
}

TEST_CASE("a moved scope goes on, and ends once") {
  const auto soon = deadline_after(1s);
  std::optional<deadline_scope> moved;
  {
    deadline_scope scope(soon);
    moved.emplace(std::move(scope));
  }
  CHECK(current_deadline() == soon);
  moved.reset();
  CHECK(current_deadline() == no_deadline);
}

TEST_CASE("another thread has no deadline until it takes it over") {
  deadline_scope scope(deadline_after(1h));
  const auto until = current_deadline();
  deadline_clock::time_point before, after;
  std::thread([&] {
    before = current_deadline();
    deadline_scope taken_over(until);
    after = current_deadline();
  }).join();
  CHECK(before == no_deadline);
  CHECK(after == until);
}

TEST_CASE("a scope that ends on another thread ends here") {
  std::optional<deadline_scope> scope(deadline_after(1s));
  std::thread([&] { scope.reset(); }).join();
  CHECK(current_deadline() == no_deadline);
}

TEST_CASE("a limit beyond what the clock can say is none") {
  CHECK(deadline_after(std::chrono::hours::max()) == no_deadline);
  CHECK(deadline_after(std::chrono::duration<double>(1e300)) == no_deadline);
  const auto at_once = deadline_after(0s);
  CHECK(at_once <= deadline_clock::now());
}

TEST_CASE("the time left is never negative, never too short, and fits poll(2)") {
  CHECK(time_left(deadline_clock::now() - 1h) == 0ms);
  const auto soon = deadline_clock::now() + 100us;
  const auto left = time_left(soon);
  CHECK((left == 1ms || (left == 0ms && deadline_clock::now() >= soon)));  // or others had the processor meanwhile
  CHECK(time_left(no_deadline).count() < 2'147'483'647);
  CHECK(time_left(no_deadline, 50ms) == 50ms);
}

TEST_SUITE_END();
