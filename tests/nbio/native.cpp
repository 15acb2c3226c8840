// Stages in our process: filters, workers, readers and writers, threads; and runs in the hands of the caller.
#include "support.hpp"

#include <poll.h>

#include <atomic>
#include <memory>
#include <thread>

using namespace nbio_test;

namespace {

/// Doubles every octet; has room for one at a time if it must.
struct doubling {
  nbio::progress step(std::span<const char> in, std::span<char> out, bool) {
    nbio::progress p;
    while (p.consumed < in.size() && p.produced + 2 <= out.size()) {
      out[p.produced++] = in[p.consumed];
      out[p.produced++] = in[p.consumed++];
    }
    p.why = p.consumed == in.size() ? flow::need_input : flow::need_output;
    return p;
  }
};
/// Counts, and says how many at the end.
struct counting {
  std::size_t n = 0;
  bool said = false;
  nbio::progress step(std::span<const char> in, std::span<char> out, bool eof) {
    n += in.size();
    if (!eof || said) return {in.size(), 0, eof ? flow::done : flow::need_input};
    const std::string text = std::to_string(n);
    std::copy(text.begin(), text.end(), out.begin());
    said = true;
    return {in.size(), text.size(), flow::need_output};
  }
};
/// Has enough after some octets.
struct first_octets {
  std::size_t left;
  nbio::progress step(std::span<const char> in, std::span<char> out, bool) {
    const std::size_t n = std::min({left, in.size(), out.size()});
    std::copy_n(in.begin(), n, out.begin());
    left -= n;
    return {n, n, left == 0 ? flow::done : flow::need_input};
  }
};
/// An adaptor of readers, as the stages of the library are.
struct upper_case {
  using reader_adaptor = void;
  struct reading {
    fussy::any_reader from;
    std::size_t read(fussy::byte_span room) {
      const std::size_t n = from.read(room);
      for (std::byte& b : room.first(n)) b = static_cast<std::byte>(std::toupper(std::to_integer<int>(b)));
      return n;
    }
  };
  reading operator()(fussy::any_reader from) const { return {std::move(from)}; }
};
/// An adaptor whose result is no reader: it reads all there is.
struct count_octets {
  using reader_adaptor = void;
  std::size_t operator()(fussy::any_reader from) const { return fussy::read_all(from).size(); }
};
struct string_writer {
  std::string* to;
  void write(fussy::byte_view octets) { to->append(fussy::as_text(octets)); }
};

std::string all_of(auto&& reader) { return std::string(fussy::as_text(fussy::read_all(reader))); }

}  // namespace

TEST_SUITE_BEGIN("nbio native stages");

TEST_CASE("a filter stands anywhere behind a process") {
  nothing_left_behind check;
  CHECK((P("printf abc") | doubling{})() == "aabbcc");
  CHECK((P("printf abc") | doubling{} | P("cat") | doubling{})() == "aaaabbbbcccc");
  CHECK((std::string(1 << 20, 'x') | P("cat") | doubling{} | P("cat") | counting{})() == std::to_string(2 << 20));
}

TEST_CASE("a filter that is copied starts afresh in every run") {
  nbio::pipe p = P("printf abc") | counting{};
  CHECK(p() == "3");
  CHECK(p() == "3");
}

TEST_CASE("a filter that cannot be copied serves one run") {
  struct single : doubling {
    std::unique_ptr<int> owned = std::make_unique<int>(1);
  };
  nbio::pipe p = P("printf abc") | single{};
  CHECK(p() == "aabbcc");
  CHECK_THROWS_AS(p(), std::logic_error);
}

TEST_CASE("a filter that has had enough ends what feeds it, which is no failure") {
  CHECK((P("yes") | first_octets{4}).timeout(20s)() == "y\ny\n");
  CHECK((P({"yes"}) | P({"cat"}) | first_octets{4} | P("cat")).timeout(20s)() == "y\ny\n");
}

TEST_CASE("a filter that cheats or does not move is refused, and nothing hangs") {
  struct stuck {
    nbio::progress step(std::span<const char>, std::span<char>, bool) { return {0, 0, flow::need_output}; }
  };
  struct lying {
    nbio::progress step(std::span<const char> in, std::span<char>, bool) {
      return {in.size() + 1, 0, flow::need_input};
    }
  };
  CHECK_THROWS_AS((P("echo x") | stuck{})(), std::logic_error);
  CHECK_THROWS_AS((P("echo x") | lying{})(), std::logic_error);
}

TEST_CASE("a filter expands without bound and nothing is stored ahead of demand") {
  struct endless {
    std::uint64_t* given;
    nbio::progress step(std::span<const char>, std::span<char> out, bool) {
      std::fill(out.begin(), out.end(), 'z');
      *given += out.size();
      return {0, out.size(), flow::need_output};
    }
  };
  std::uint64_t given = 0;
  CHECK((P("echo x") | endless{&given} | P("head -c 3")).timeout(20s)() == "zzz");
  CHECK(given < 4 << 20);
}

TEST_CASE("a filter or worker on a thread does the same") {
  nothing_left_behind check;
  CHECK((P("printf abc") | on_thread(doubling{}) | P("cat"))() == "aabbcc");
  CHECK((std::string(1 << 20, 'x') | P("cat") | on_thread(doubling{}) | on_thread(counting{}))() ==
        std::to_string(2 << 20));
  CHECK((P("yes") | on_thread(first_octets{4})).timeout(20s)() == "y\ny\n");
  const auto reverse = [](stage_reader& from, stage_writer& to) {
    const auto all = fussy::read_all(from);
    std::string text(fussy::as_text(all));
    to.write(std::string(text.rbegin(), text.rend()));
  };
  CHECK((P("printf abc") | reverse)() == "cba");
  nbio::pipe p = P("printf abc") | on_thread(reverse) | P("cat");
  CHECK(p() == "cba");
  CHECK(p() == "cba");
}

TEST_CASE("what a stage on a thread throws arrives in the run, and what is behind takes no half for a whole") {
  nothing_left_behind check;
  temporary_directory dir;
  struct broken {};
  const auto bad = [](stage_reader& from, stage_writer& to) {
    char room[100];
    to.write(view(room, from.read(std::span<char>(room))));
    throw broken{};
  };
  CHECK_THROWS_AS((P("echo x") | on_thread(bad) | P("cat > /dev/null; touch " + (dir / "committed")))(), broken);
  CHECK(!std::filesystem::exists(dir / "committed"));
  CHECK_THROWS_AS((P("yes") | on_thread(bad) | P("cat") | [](view) {})(), broken);
}

TEST_CASE("a stage on a thread ends with its run: when nobody reads it, and when it is cancelled") {
  nothing_left_behind check;
  const auto writes_for_ever = [](stage_reader&, stage_writer& to) {
    for (;;) to.write("xxxxxxxxxxxxxxxx");
  };
  CHECK((P("true") | on_thread(writes_for_ever) | P("head -c 3")).timeout(20s)() == "xxx");
  const auto waits_for_ever = [](stage_reader& from, stage_writer&) {
    char room[100];
    while (from.read(std::span<char>(room)) > 0) {
    }
  };
  const stopwatch w;
  CHECK((P("sleep 30") | on_thread(waits_for_ever)).timeout(100ms).run().timed_out);
  CHECK(w.elapsed() < 5s);
}

TEST_CASE("a reader feeds a pipe") {
  nothing_left_behind check;
  CHECK((fussy::memory_reader("from memory") | P("cat"))() == "from memory");
  const std::string much(4 << 20, 'x');
  CHECK((fussy::memory_reader(much) | P("cat") | P("wc -c"))() == "4194304\n");
  CHECK((fussy::any_reader(fussy::memory_reader(much)) | P("head -c 2")).timeout(20s)() == "xx");
  struct failing {
    int n = 0;
    std::size_t read(fussy::byte_span room) {
      if (n++ == 3) throw fussy::error(errc::truncated, "the line went dead");
      return room.size();
    }
  };
  try {
    (void)(failing{} | P("cat"))();
    FAIL("the failure of the reader was lost");
  } catch (const fussy::error& e) {
    CHECK(e.code() == errc::truncated);
  }
}

TEST_CASE("a pipe is a reader") {
  nothing_left_behind check;
  CHECK(all_of(P("seq 3") | P("cat")) == sequence(3));
  nbio::pipe p = P("seq 5") | P("cat");
  fussy::byte_vector two(2);
  CHECK(fussy::read_full(p, two) == 2);
  CHECK(fussy::as_text(two) == "1\n");
  CHECK(all_of(p) == "2\n3\n4\n5\n");
}

TEST_CASE("a pipe that fails does so as a reader, after the octets that came before") {
  nothing_left_behind check;
  nbio::pipe p = P("echo x; exit 3") | P("cat");
  fussy::byte_vector room(2);
  CHECK(fussy::read_full(p, room) == 2);
  CHECK_THROWS_AS(p.read(room), pipe_error);
}

TEST_CASE("adaptors of readers and processes meet in one expression") {
  nothing_left_behind check;
  CHECK(all_of(P("echo abc") | upper_case()) == "ABC\n");
  CHECK((P("echo abc") | P("cat") | upper_case() | P("cat") | P("tr B x"))() == "AxC\n");
  CHECK((fussy::memory_reader("abc") | upper_case() | P("cat") | upper_case() | fussy::read_ahead() | P("cat"))() ==
        "ABC");
  CHECK((P("echo abc") | P("cat") | count_octets()) == 4);
}

TEST_CASE("a failure at the head of such an expression arrives at its end") {
  nothing_left_behind check;
  const pipe_error e = failure_of([] { return (P("echo abc; exit 3") | upper_case() | P("cat"))(); });
  CHECK(e.code() == errc::process_failed);
  CHECK(e.result.stages[0].st.code == 3);
}

TEST_CASE("a timeout reaches a run inside a reader") {
  nothing_left_behind check;
  const stopwatch w;
  CHECK((P("sleep 30") | upper_case() | P("cat")).timeout(100ms).run().timed_out);
  CHECK(w.elapsed() < 5s);
}

TEST_CASE("a writer takes what comes out") {
  std::string text;
  CHECK((P("echo abc") | P("cat") | string_writer{&text})() == "");
  CHECK(text == "abc\n");
  fussy::byte_vector octets;
  fussy::vector_writer named(octets);
  CHECK((P("echo abc") | named)() == "");
  CHECK(fussy::as_text(octets) == "abc\n");
}

TEST_CASE("native stages need no process between them") {
  nothing_left_behind check;
  temporary_directory dir;
  write_file(dir / "in", "b\na\n");
  std::vector<std::string> lines;
  CHECK((from_file(dir / "in") | by_line() | lines | discard())() == "");
  CHECK(lines == std::vector<std::string>{"b", "a"});
  CHECK((source("abc"s) | doubling{})() == "aabbcc");
  CHECK((source(fussy::memory_reader("abc")) | on_thread(doubling{}) | doubling{})() == "aaaabbbbcccc");
  CHECK((from_file(dir / "in") | to_file(dir / "out"))() == "");
  CHECK(content_of(dir / "out") == "b\na\n");
  CHECK_THROWS_AS((void)(to_file(dir / "out") | by_line()), std::logic_error);
}

TEST_CASE("the reports count what passes through our process") {
  const result r = ("abc"s | P("cat; echo") | doubling{} | P("cat")).run();
  REQUIRE(r.stages.size() == 4);
  CHECK(r.stages[0].out == 3);
  CHECK(r.stages[1].in == 3);
  CHECK(r.stages[1].out == 4);
  CHECK(r.stages[2].in == 4);
  CHECK(r.stages[2].out == 8);
  CHECK(r.stages[3].out == 8);
  CHECK(r.out == "aabbcc\n\n");
}

TEST_CASE("more collected output than the limit is refused, and the producer ended") {
  nothing_left_behind check;
  try {
    (void)nbio::pipe(P("yes")).limit_output(1000)();
    FAIL("an endless output was collected");
  } catch (const fussy::error& e) {
    CHECK(e.code() == errc::too_large);
  }
  CHECK(nbio::pipe(P("head -c 1000 /dev/zero")).limit_output(1000)().size() == 1000);
}

TEST_CASE("a line longer than the maximum comes in pieces, one of exactly that size whole") {
  for (const std::size_t chunk : {1, 3, 4, 5, 64}) {
    std::vector<std::string> chunks, lines;
    const std::string text = "1234\n12345\n123456789\n\nab";
    for (std::size_t i = 0; i < text.size(); i += chunk) chunks.push_back(text.substr(i, chunk));
    fussy::nbio::detail::line_cutter cutter(by_line{.max = 4});
    const auto take = [&](view region) {
      fussy::nbio::detail::each_line(region, by_line{.max = 4}, [&](view l, bool) { lines.emplace_back(l); });
    };
    view region;
    for (const std::string& c : chunks) {
      cutter.feed(c);
      while (cutter.next(region)) take(region);
    }
    while (cutter.last(region)) take(region);
    CAPTURE(chunk);
    CHECK(lines == std::vector<std::string>{"1234", "1234", "5", "1234", "5678", "9", "", "ab"});
  }
  std::vector<std::string> lines;
  for (view l : P("printf '1234\\n12345\\n\\nab'").lines({.max = 4})) lines.emplace_back(l);
  CHECK(lines == std::vector<std::string>{"1234", "1234", "5", "", "ab"});
}

TEST_CASE("a maximum of no octets is taken as one") {
  std::vector<std::string> pieces;
  (void)(P("printf 'ab\\nc'") | by_line{.max = 0} | pieces)();
  for (view l : P("printf de").lines({.max = 0})) pieces.emplace_back(l);
  CHECK(pieces == std::vector<std::string>{"a", "b", "c", "d", "e"});
}

TEST_CASE("lines end where another separator says") {
  std::vector<std::string> names;
  (void)(P("printf 'a b\\0c\\0'") | by_line{.sep = '\0'} | names)();
  CHECK(names == std::vector<std::string>{"a b", "c"});
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("nbio jobs");

TEST_CASE("a job is driven step by step, and one descriptor says when") {
  nothing_left_behind check;
  job j = (P("echo x; sleep 0.2; echo y") | P("cat") | [](view v) { return std::string(v); } | P("cat")).start();
  int wakes = 0;
  while (!j.step()) {
    pollfd ask{j.fd(), POLLIN, 0};
    REQUIRE(::poll(&ask, 1, 10'000) == 1);
    ++wakes;
  }
  CHECK(wakes < 100);
  CHECK(j.finished());
  CHECK(j.wait().out == "x\ny\n");
}

TEST_CASE("a deadline makes the descriptor of a job readable") {
  nothing_left_behind check;
  job j = nbio::pipe(P("sleep 30")).timeout(200ms).start();
  const stopwatch w;
  while (!j.step()) {
    pollfd ask{j.fd(), POLLIN, 0};
    REQUIRE(::poll(&ask, 1, 10'000) == 1);
  }
  CHECK(w.elapsed() < 5s);
  CHECK(j.wait().timed_out);
}

TEST_CASE("work between two native ends makes the descriptor readable too") {
  temporary_directory dir;
  write_file(dir / "in", std::string(8 << 20, 'x'));
  job j = (P("true") | [](view) {} | P("true")).start();
  CHECK(j.wait());
  std::size_t n = 0;
  job files =
      (fd(fussy::open_file(dir / "in", O_RDONLY)) | (P("cat") | [&](view v) { n += v.size(); } | to_file(dir / "out")))
          .start();
  while (!files.step(std::chrono::microseconds(1))) {
    pollfd ask{files.fd(), POLLIN, 0};
    REQUIRE(::poll(&ask, 1, 10'000) == 1);
  }
  CHECK(n == 8 << 20);
  CHECK(files.wait());
}

TEST_CASE("the caller writes into an open head and reads from an open tail") {
  nothing_left_behind check;
  job j = (P({"cat"}) | [](view v) { return std::string(v); } | P({"cat"})).open_input().open_output().start();
  const auto answer = [&] {
    for (;;) {
      j.step();
      if (const auto v = j.read()) return std::string(*v);
      pollfd ask{j.fd(), POLLIN, 0};
      if (::poll(&ask, 1, 10'000) != 1) return "nothing"s;
    }
  };
  CHECK(j.write("ping\n") == 5);
  CHECK(answer() == "ping\n");
  CHECK(j.write("pong\n") == 5);
  CHECK(answer() == "pong\n");
  j.close_in();
  CHECK(answer() == "");
  CHECK(j.wait());
}

TEST_CASE("an open head takes no more than fits, and nothing when nobody reads") {
  nothing_left_behind check;
  job j = nbio::pipe(P("sleep 0.3; wc -c")).open_input().start();
  const std::string much(4 << 20, 'x');
  std::size_t taken = 0;
  while (const std::size_t n = j.write(view(much).substr(taken))) taken += n;
  CHECK(taken > 0);
  CHECK(taken < much.size());
  while (taken < much.size()) {
    j.step();
    taken += j.write(view(much).substr(taken));
  }
  CHECK(j.wait().out == "4194304\n");
}

TEST_CASE("what is left of an open tail is in the result of wait") {
  job j = nbio::pipe(P("seq 100000")).open_output().start();
  CHECK(j.wait().out == sequence(100000));
}

TEST_CASE("an open end without start is refused") {
  CHECK_THROWS_AS(nbio::pipe(P("cat")).open_input()(), std::logic_error);
  CHECK_THROWS_AS((void)("x" | P("cat")).open_input(), std::logic_error);
}

TEST_CASE("kill ends a job, and so does destroying it") {
  nothing_left_behind check;
  job j = (P("echo x; sleep 30") | P("cat")).start();
  CHECK(j.pids().size() == 2);
  while (!j.step() && !P("true").run()) {
  }
  ::usleep(100'000);
  j.kill();
  const result r = j.wait();
  CHECK(r.cancelled);
  CHECK(r.out == "x\n");
}

TEST_CASE("a job that the caller signals goes on; what dies of it has failed like any other") {
  nothing_left_behind check;
  job terminated = P({"sleep", "30"}).start();
  terminated.kill(SIGTERM);
  const result r = terminated.wait();
  CHECK(!r);
  CHECK(!r.cancelled);
  CHECK(r.stages[0].st.signal == SIGTERM);
  CHECK(r.stages[0].failed);
  CHECK(!r.stages[0].killed_by_us);
  job prepared =
      nbio::pipe(P("trap 'echo bye; exit 0' USR1; echo ready; while :; do sleep 0.02; done")).open_output().start();
  while (!prepared.read()) prepared.step();
  prepared.kill(SIGUSR1);
  const result good = prepared.wait();
  CHECK(good);
  CHECK(good.out == "bye\n");
}

TEST_CASE("a start that fails throws at once and leaves nothing") {
  nothing_left_behind check;
  CHECK_THROWS_AS((void)(P("yes") | P({"/nonexistent"})).start(), pipe_error);
}

TEST_CASE("a loop drives many jobs on one thread") {
  nothing_left_behind check;
  loop l;
  std::vector<job> jobs;
  for (int i = 0; i < 20; ++i)
    jobs.push_back(
        (std::to_string(i) | P("sleep 0.1; cat") | [](view v) { return std::string(v); } | P("cat")).start(l));
  jobs.push_back(nbio::pipe(P("sleep 30")).timeout(200ms).start(l));
  const stopwatch w;
  l.run();
  CHECK(w.elapsed() < 10s);
  for (int i = 0; i < 20; ++i) CHECK(jobs[static_cast<std::size_t>(i)].wait().out == std::to_string(i));
  CHECK(jobs.back().wait().timed_out);
  CHECK(l.step());
}

TEST_CASE("a loop is served from the loop of the host, and a job may go before it is done") {
  nothing_left_behind check;
  loop l;
  job kept = nbio::pipe(P("sleep 0.1; echo x")).start(l);
  { job gone = nbio::pipe(P("sleep 30")).start(l); }
  while (!l.step()) {
    pollfd ask{l.fd(), POLLIN, 0};
    REQUIRE(::poll(&ask, 1, 10'000) == 1);
  }
  CHECK(kept.wait().out == "x\n");
}

TEST_CASE("a job that was moved from says so") {
  job a = nbio::pipe(P("true")).start();
  const job b = std::move(a);
  CHECK_THROWS_AS((void)a.wait(), std::logic_error);  // NOLINT: that is the test
}

TEST_SUITE_END();
