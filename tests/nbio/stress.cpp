// Much of everything. Built with NBIO_LONG the numbers are those of the proof, else enough to notice a leak.
#include "support.hpp"
#include "support/instrumented.hpp"

#include <malloc.h>

using namespace nbio_test;

namespace {

#ifdef NBIO_LONG
constexpr int rounds = 1000;  // of ten runs each
constexpr std::size_t through_cats = 64 << 20;
#else
constexpr int rounds = 60;
constexpr std::size_t through_cats = 8 << 20;
#endif

/// Ten runs of all kinds: good, bad, ended early, ended by us.
void ten_runs() {
  CHECK((P({"echo", "x"}) | P({"cat"}))() == "x\n");
  CHECK(("x"s | P({"cat"}) | [](view) {} | P({"cat"}))() == "x");
  CHECK(!P({"false"}).run());
  CHECK(P({"/nonexistent/program"}).run().stages[0].spawn_errno == ENOENT);
  CHECK((P({"yes"}) | P({"head", "-1"}))() == "y\n");
  CHECK(P({"sleep", "30"}).timeout(1ms).run().timed_out);
  CHECK_THROWS_AS((P({"echo", "x"}) | [](view) { throw 1; })(), int);
  { const job j = P({"cat"}).start(); }
  for (auto line : (P({"yes"}) | by_line()).lines()) {
    CHECK(line == "y");
    break;
  }
  const auto copy = [](stage_reader& from, stage_writer& to) { fussy::copy(from, to); };
  CHECK((P({"echo", "x"}) | on_thread(copy))() == "x\n");
}

std::size_t allocated() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  return ::mallinfo2().uordblks;
#else
  return 0;
#endif
}

}  // namespace

TEST_SUITE_BEGIN("nbio stress");

TEST_CASE("runs of all kinds leak no descriptor, no process and no byte") {
  nothing_left_behind check;
  for (int i = 0; i < 5; ++i) ten_runs();  // caches of the libraries below fill once
  const std::size_t before = allocated();
  for (int i = 0; i < rounds; ++i) ten_runs();
  const std::size_t after = allocated();
  if (!instrumented) CHECK(after <= before + 4096);  // the sanitizers look for themselves
}

TEST_CASE("a chain of 200 cats moves everything and ends") {
  nothing_left_behind check;
  const std::string all(through_cats, 'x');
  nbio::pipe p = borrow(all) | P({"cat"});
  for (int i = 1; i < 200; ++i) p = std::move(p) | P({"cat"});
  CHECK(std::move(p).timeout(300s)() == all);
}

TEST_CASE("a chain of 100 native stages between processes moves everything and ends") {
  const std::string all(1 << 20, 'x');
  nbio::pipe p = borrow(all) | P({"cat"});
  for (int i = 0; i < 100; ++i) p = std::move(p) | [](view v) { return std::string(v); };
  CHECK((std::move(p) | P({"cat"})).timeout(300s)() == all);
}

TEST_CASE("many jobs on one loop, with all their ends in our process") {
  nothing_left_behind check;
  loop l;
  std::vector<job> jobs;
  const std::string text(300'000, 'x');
  for (int i = 0; i < 100; ++i)
    jobs.push_back((borrow(text) | P({"cat"}) | [](view v) { return std::string(v); } | P({"cat"})).start(l));
  l.run();
  for (job& j : jobs) CHECK(j.wait().out == text);
}

TEST_SUITE_END();
