// Timeouts, cancellation, kills, starts that fail.
#include "support.hpp"

#include <thread>

using namespace nbio_test;

TEST_SUITE_BEGIN("nbio failures");

TEST_CASE("a timeout ends the run in time, with errc::timeout and what came out until then") {
  nothing_left_behind check;
  const stopwatch w;
  const pipe_error e = failure_of([] { return P("echo early; sleep 30").timeout(200ms)(); });
  CHECK(w.elapsed() < 3s);
  CHECK(w.elapsed() >= 200ms);
  CHECK(e.code() == errc::timeout);
  CHECK(e.result.timed_out);
  CHECK(e.result.out == "early\n");
  CHECK(e.result.stages[0].killed_by_us);
}

TEST_CASE("a run whose output is taken piece by piece ends in time, also when there is always more") {
  nothing_left_behind check;
  const stopwatch w;
  SUBCASE("a timeout") {
    const pipe_error e = failure_of([] {
      for (const view line : P("yes").timeout(200ms).lines()) (void)line;
    });
    CHECK(e.result.timed_out);
  }
  SUBCASE("a stop") {
    std::stop_source stop;
    const std::jthread later([&] {
      std::this_thread::sleep_for(200ms);
      stop.request_stop();
    });
    const pipe_error e = failure_of([&] {
      for (const view line : P("yes").stop(stop.get_token()).lines()) (void)line;
    });
    CHECK(e.result.cancelled);
  }
  CHECK(w.elapsed() < 20s);
}

TEST_CASE("a timeout kills the descendants as well") {
  nothing_left_behind check;
  const result r = P("sleep 98761 & sh -c 'sleep 98761; true' & sleep 98761; true").timeout(200ms).run();
  CHECK(r.timed_out);
  CHECK(soon([] { return processes_with("sleep\00098761"s) == 0; }));
}

TEST_CASE("a timeout kills a process group whole, even if its leader is gone") {
  nothing_left_behind check;
  const stopwatch w;
  const result r = P("sleep 98762 & echo x").new_group().timeout(200ms).run();
  CHECK(r.timed_out);
  CHECK(r.out == "x\n");
  CHECK(w.elapsed() < 3s);
  CHECK(soon([] { return processes_with("sleep\00098762"s) == 0; }));
}

TEST_CASE("a program that does not exist is errc::spawn_failed with the errno of the exec") {
  nothing_left_behind check;
  const pipe_error e = failure_of([] { return (P("yes") | P({"/nonexistent/program", "x"}) | P("cat"))(); });
  CHECK(e.code() == errc::spawn_failed);
  CHECK(e.parts().system == ENOENT);
  CHECK(std::string(e.what()).find("process `/nonexistent/program x` could not be started: ") == 0);
}

TEST_CASE("a missing input file is an error with its path, and starts nothing") {
  nothing_left_behind check;
  temporary_directory dir;
  try {
    (void)(P("touch " + (dir / "started")) < (dir / "missing"))();
    FAIL("read a file that is not there");
  } catch (const fussy::error& e) {
    CHECK(e.code() == errc::not_found);
    CHECK(e.parts().path == dir / "missing");
  }
  CHECK(!std::filesystem::exists(dir / "started"));
}

TEST_CASE("a process gets the grace it was given before it is killed") {
  nothing_left_behind check;
  const result r = P("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done")
                       .kills(reach::tree, 10s)
                       .timeout(300ms)
                       .run();
  CHECK(r.timed_out);
  CHECK(r.out == "ready\nbye\n");
  const stopwatch w;
  const result stubborn =
      P("trap '' TERM; while :; do sleep 0.02; done").kills(reach::tree, 200ms).timeout(100ms).run();
  CHECK(stubborn.stages[0].st.signal == SIGKILL);
  CHECK(w.elapsed() < 3s);
}

TEST_CASE("a stop request from another thread cancels the run") {
  nothing_left_behind check;
  std::stop_source stop;
  std::jthread other([&] {
    ::usleep(100'000);
    stop.request_stop();
  });
  const pipe_error e = failure_of([&] { return (P("echo x; sleep 30") | P("cat")).stop(stop.get_token())(); });
  CHECK(e.code() == errc::cancelled);
  CHECK(e.result.out == "x\n");
}

TEST_CASE("a stop that was requested before cancels at once") {
  std::stop_source stop;
  stop.request_stop();
  CHECK(P("sleep 30").timeout(20s).stop(stop.get_token()).run().cancelled);
}

TEST_SUITE_END();
