// What the manual shows, and what every stage can be told.
#include "support.hpp"

#include <fussy/nbio/generator.hpp>

#include <deque>
#include <list>
#include <ranges>
#include <set>

using namespace nbio_test;

namespace {

nbio::generator<std::string> numbers(int n) {
  for (int i = 0; i < n; ++i) co_yield std::to_string(i);
}
/// A download that arrives piece by piece: of `size` octets, the last piece may be smaller.
nbio::generator<std::vector<char>> response(std::size_t size) {
  constexpr std::size_t piece = 4096;
  for (; size > 0; size -= std::min(size, piece)) co_yield std::vector<char>(std::min(size, piece), 'v');
}

}  // namespace

TEST_SUITE_BEGIN("nbio basics");

TEST_CASE("manual: what arrives in pieces is piped into gzip, and the result starts like a gzip file") {
  const std::string packed = (response(100'000) | P("gzip -c"))();
  CHECK(packed.starts_with("\x1f\x8b"));
  CHECK(packed.size() < 1000);
  CHECK((packed | P("gzip -dc"))() == std::string(100'000, 'v'));
}

TEST_CASE("manual: a generator feeds a process, once, and computes nothing ahead of demand") {
  nothing_left_behind check;
  nbio::pipe p = numbers(20) | P("cat");
  CHECK(p() == "012345678910111213141516171819");
  CHECK_THROWS_AS(p(), std::logic_error);
  nbio::generator<std::string> named = numbers(3);
  CHECK((named | P("cat"))() == "012");
  int given = 0;
  const auto counted = [](int* n) -> nbio::generator<std::string> {
    for (;; ++*n) co_yield std::string(1000, 'x');
  };
  CHECK((counted(&given) | P("head -c 3")).timeout(20s)() == "xxx");
  CHECK(given < 1000);
}

TEST_CASE("a generator that throws ends the run with what it threw; one that is empty or moved from gives nothing") {
  nothing_left_behind check;
  struct broken {};
  const auto breaks = []() -> nbio::generator<std::string> {
    co_yield "a";
    throw broken{};
  };
  CHECK_THROWS_AS((breaks() | P("cat"))(), broken);
  CHECK((numbers(0) | P("cat"))() == "");
  nbio::generator<std::string> a = numbers(2);
  const nbio::generator<std::string> b = std::move(a);
  CHECK((a | P("cat"))() == "");  // NOLINT: that is the test
}

TEST_CASE("manual: an open file, grep, and wc") {
  temporary_directory dir;
  write_file(dir / "some", "red\nblue\nblue sky\n");
  CHECK((fd(fussy::open_file(dir / "some", O_RDONLY)) | P({"grep", "blue"}) | P({"wc", "-l"}))() == "2\n");
  CHECK((fussy::file_reader(dir / "some") | P({"grep", "blue"}) | P({"wc", "-l"}))() == "2\n");
  std::vector<std::string> chunks;
  CHECK((P("cat " + (dir / "some")) | P("grep blue") | chunks)() == "blue\nblue sky\n");
  CHECK(chunks == std::vector<std::string>{"blue\nblue sky\n"});
}

TEST_CASE("a shell command runs when it is called, and gives its output") {
  nothing_left_behind check;
  CHECK(P("echo \"Hello world\"")() == "Hello world\n");
  CHECK(process("echo $((40 + 2))")() == "42\n");
}

TEST_CASE("a list is the argument vector of a program, and no shell sees it") {
  CHECK(P({"echo", "a  b", "$HOME", "*"})() == "a  b $HOME *\n");
  CHECK(P(std::vector<std::string>{"printf", "%s", "x"})() == "x");
  CHECK_THROWS_AS((void)P(std::vector<std::string>{}), std::invalid_argument);
  CHECK_THROWS_AS((void)P({"echo", "a\0b"s}), std::invalid_argument);
}

TEST_CASE("processes joined by | read like a shell") {
  nothing_left_behind check;
  CHECK((P("echo \"Hello world\"") | P("cat"))() == "Hello world\n");
  CHECK((P("seq 9") | P({"grep", "-v", "5"}) | P("tr '\\n' ' '"))() == "1 2 3 4 6 7 8 9 ");
}

TEST_CASE("a range of numbers as text feeds a process") {
  std::vector<std::string> numbers;
  for (int i = 0; i < 20; ++i) numbers.push_back(std::to_string(i));
  CHECK((numbers | P("cat"))() == "012345678910111213141516171819");
  CHECK((std::list<std::string>{"a", "", "b"} | P("cat"))() == "ab");
#if !defined(__clang__) || __clang_major__ >= 16  // older ones do not understand the views of libstdc++
  CHECK((std::views::iota(0, 20) | std::views::transform([](int i) { return std::to_string(i); }) | P("cat"))() ==
        "012345678910111213141516171819");
#endif
}

TEST_CASE("a callable that gives one chunk after the other feeds a process, once") {
  auto pull = [i = 0]() mutable -> std::optional<std::string> {
    if (i == 20) return std::nullopt;
    return std::to_string(i++);
  };
  nbio::pipe p = pull | P("cat");
  CHECK(p() == "012345678910111213141516171819");
  CHECK_THROWS_AS(p(), std::logic_error);
}

TEST_CASE("text on the left is data, never the name of a file") {
  CHECK(("text" | P("cat"))() == "text");
  CHECK((std::string("/etc/passwd") | P("cat"))() == "/etc/passwd");
  CHECK((std::vector<char>{'a', 'b'} | P("cat"))() == "ab");
  const std::vector<std::byte> octets{std::byte{0}, std::byte{255}};
  CHECK((octets | P("cat"))() == "\0\xff"s);
  const std::string kept = "kept";
  CHECK((borrow(kept) | P("cat"))() == "kept");
}

TEST_CASE("a callable sees the output, which is returned as well") {
  std::vector<std::string> seen;
  CHECK((P("echo \"Hello world\"") | [&](std::string_view s) { seen.emplace_back(s); })() == "Hello world\n");
  CHECK(seen == std::vector<std::string>{"Hello world\n"});
}

TEST_CASE("what a callable returns flows on instead") {
  CHECK((P("echo abc") | [](view v) { return std::string(v.rbegin(), v.rend()); } | P("cat"))() == "\ncba");
  CHECK((P("echo abc") | map([](view v) { return v.substr(1); }))() == "bc\n");
  int calls = 0;
  CHECK((P("echo abc") | tap([&](view) { return ++calls; }))() == "abc\n");
  CHECK(calls == 1);
}

TEST_CASE("a container takes a copy of what passes") {
  std::vector<std::string> lines;
  std::deque<std::string> chunks;
  CHECK((P("printf 'a\\nb\\n'") | chunks | by_line() | lines)() == "a\nb\n");
  CHECK(lines == std::vector<std::string>{"a", "b"});
  CHECK(chunks == std::deque<std::string>{"a\nb\n"});
}

TEST_CASE("| \"-\" goes to our standard output and returns nothing, | \"\" collects") {
  temporary_directory dir;
  const int saved = ::dup(1);
  const fussy::unique_fd file = fussy::open_file(dir / "out", O_RDWR | O_CREAT, 0600);
  ::dup2(file.get(), 1);
  const std::string direct = (P("echo \"Hello world\"") | "-")();
  const std::string through = (P("echo again") | [](view) {} | "-")();
  ::dup2(saved, 1);
  ::close(saved);
  CHECK(direct == "");
  CHECK(through == "");
  CHECK(content_of(dir / "out") == "Hello world\nagain\n");
  CHECK((P("echo x") | "")() == "x\n");
  CHECK_THROWS_AS((void)(P("echo x") | "x"), std::invalid_argument);
}

TEST_CASE("< and > with files read as in a shell") {
  temporary_directory dir;
  const std::string in = dir / "in.txt", out = dir / "out.txt";
  write_file(in, "red\nblue\ngreen\nblue sky\n");
  CHECK((P({"grep", "blue"}) < in)() == "blue\nblue sky\n");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wparentheses"
  CHECK((P({"grep", "blue"}) < in | P({"wc", "-l"}) > out)() == "");
#pragma GCC diagnostic pop
  CHECK(std::stoi(content_of(out)) == 2);
  (void)((P("echo 1") | P("cat")) > out)();
  CHECK(content_of(out) == "1\n");
  (void)(P("echo 2") >> out)();
  CHECK(content_of(out) == "1\n2\n");
  (void)(P("echo 3") | to_file(out))();
  CHECK(content_of(out) == "3\n");
  (void)(from_file(in) | P("head -1") | [](view v) { return std::string(v) + "!"; } | to_file(out, false))();
  CHECK(content_of(out) == "red\n!");
}

TEST_CASE("a file at the head or tail is the standard input or output of the process itself, nothing is copied") {
  temporary_directory dir;
  write_file(dir / "in", "x");
  CHECK((P("readlink /proc/self/fd/0") < (dir / "in"))() == dir / "in\n");
  (void)(P("readlink /proc/self/fd/1") >> (dir / "out"))();
  CHECK(content_of(dir / "out") == dir / "out\n");
  (void)(P("readlink /proc/self/fd/1") | to_file(dir / "new"))();  // beside it, until all has succeeded
  CHECK(content_of(dir / "new").starts_with(dir / "new.nbio-"));
}

TEST_CASE("by_line shows single lines, empty ones too, and the last without a newline") {
  std::vector<std::string> lines;
  CHECK((P("printf 'a\\n\\nb\\n\\n\\nc'") | by_line() | lines)() == "a\n\nb\n\n\nc");
  CHECK(lines == std::vector<std::string>{"a", "", "b", "", "", "c"});
  lines.clear();
  (void)(P("printf 'a\\n\\nb'") | by_line{.keep_newline = true} | lines)();
  CHECK(lines == std::vector<std::string>{"a\n", "\n", "b"});
  CHECK((P("printf 'a\\n\\nb'") | by_line() | [](view v) { return "<" + std::string(v) + ">"; })() == "<a>\n<>\n<b>");
}

TEST_CASE("the output can be iterated, by chunk and by line") {
  nothing_left_behind check;
  std::string all;
  for (auto line : (P("seq 5") | P("grep -v 3")).lines()) all.append("[").append(line).append("]");
  CHECK(all == "[1][2][4][5]");
  all.clear();
  for (view chunk : (P("seq 5") | P("cat")).chunks()) all += chunk;
  CHECK(all == sequence(5));
  int n = 0;
  for (auto line : P("yes").lines()) {
    CHECK(line == "y");
    if (++n == 3) break;
  }
}

TEST_CASE("an iteration ends with the failure of the run, after everything that came out") {
  std::string all;
  const auto run = [&] {
    for (auto line : P("echo 1; echo 2; exit 3").lines()) all += line;
  };
  const pipe_error e = [&]() -> pipe_error {
    try {
      run();
    } catch (const pipe_error& caught) {
      return caught;
    }
    throw std::runtime_error("no failure");
  }();
  CHECK(all == "12");
  CHECK(e.result.stages[0].st.code == 3);
}

TEST_CASE("a bad exit status is an error that carries the output and a report for each stage") {
  const pipe_error e = failure_of([] { return (P("echo partial; exit 3") | P("cat"))(); });
  CHECK(e.code() == errc::process_failed);
  CHECK(e.result.out == "partial\n");
  CHECK(e.result().out == "partial\n");
  REQUIRE(e.result.stages.size() == 2);
  CHECK(e.result.stages[0].failed);
  CHECK(e.result.stages[0].st.code == 3);
  CHECK(e.result.stages[0].st.pid > 0);
  CHECK(!e.result.stages[1].failed);
  CHECK(std::string(e.what()).find("process `echo partial; exit 3` failed: it ended with status 3; ") == 0);
  const fussy::error& base = e;
  CHECK(base.code() == errc::process_failed);
}

TEST_CASE("the first failing process in pipe order is the one named") {
  const pipe_error e = failure_of([] { return (P("cat; exit 1") | P("cat; exit 2") | P("cat; exit 3"))(); });
  CHECK(e.result.culprit() == &e.result.stages[0]);
  CHECK(e.result.stages[2].st.code == 3);
}

TEST_CASE("good_exit says which statuses are no failure; any_exit says all are; a signal always is one") {
  CHECK(P("exit 3").good_exit({0, 3})() == "");
  CHECK(P("exit 3").good_exit(std::set<int>{3})() == "");
  CHECK(P("exit 77").any_exit()() == "");
  CHECK(failure_of([] { return P("exit 0").good_exit({1})(); }).code() == errc::process_failed);
  const pipe_error e = failure_of([] { return P("kill -9 $$").any_exit()(); });
  CHECK(e.result.stages[0].st.signal == 9);
  CHECK(std::string(e.what()).find("signal 9 (SIGKILL)") != std::string::npos);
}

TEST_CASE("run() gives the same as a value, without an exception") {
  const result good = P("echo x").run();
  CHECK(good);
  CHECK(good.out == "x\n");
  CHECK(good.culprit() == nullptr);
  const result bad = (P("echo x; exit 1") | P("cat")).run();
  CHECK(!bad);
  CHECK(bad.out == "x\n");
  CHECK(bad.culprit()->st.code == 1);
  CHECK_THROWS_AS(bad.check(), pipe_error);
  const result none = P({"/nonexistent/program"}).run();
  CHECK(!none);
  CHECK(none.culprit()->spawn_errno == ENOENT);
}

TEST_CASE("pipefail(false) leaves the verdict to the last process") {
  CHECK((P("echo x; exit 1") | P("cat")).pipefail(false)() == "x\n");
  CHECK_THROWS_AS((P("echo x") | P("cat; exit 1")).pipefail(false)(), pipe_error);
}

TEST_CASE("the error output can be captured, merged, dropped, written to a file, given to a callable") {
  temporary_directory dir;
  const P both("echo out; echo err >&2");
  const result captured = both.err(capture{}).run();
  CHECK(captured.out == "out\n");
  CHECK(captured.stages[0].err == "err\n");
  CHECK(both.err(capture{2}).run().stages[0].err == "er");
  CHECK(both.err(to_stdout{})() == "out\nerr\n");
  CHECK(both.err(to_null{})() == "out\n");
  CHECK(both.err(dir / "log")() == "out\n");
  CHECK(content_of(dir / "log") == "err\n");
  std::string seen;
  CHECK(both.err([&](view v) { seen += v; })() == "out\n");
  CHECK(seen == "err\n");
  CHECK((both.err(to_stdout{}) | P("cat"))() == "out\nerr\n");
}

TEST_CASE("the last line a failed process said is in the message, the last lines are in its parts") {
  const pipe_error e = failure_of([] { return P("echo one >&2; echo two >&2; exit 1").err(capture{})(); });
  CHECK(std::string(e.what()).find("it ended with status 1, having said: two; ") != std::string::npos);
  CHECK(e.parts().output == "one\ntwo");
}

TEST_CASE("a hook: merged output line by line to a callback, own environment, own directory, status as a value") {
  temporary_directory dir;
  write_file(dir / "hook", "#!/bin/sh\npwd\necho \"$FUSSY_NEW\"\necho oops >&2\nenv | wc -l\nexit 4\n", 0755);
  std::vector<std::string> log;
  const result r = (P({dir / "hook", "argument"})
                        .clear_env()
                        .env("PATH", "/usr/bin:/bin")
                        .env("FUSSY_NEW", "app-2")
                        .cwd(dir.path)
                        .new_group()
                        .err(to_stdout{}) |
                    by_line() | [&](view line) { log.emplace_back(line); })
                       .timeout(10s)
                       .run();
  CHECK(r.culprit()->st.code == 4);
  REQUIRE(log.size() == 4);
  CHECK(log[0] == dir.path.string());
  CHECK(log[1] == "app-2");
  CHECK(log[2] == "oops");
}

TEST_CASE("the environment is ours with changes, or only what is given") {
  ::setenv("NBIO_TEST_A", "ours", 1);
  CHECK(P("echo $NBIO_TEST_A")() == "ours\n");
  CHECK(P("echo $NBIO_TEST_A").env("NBIO_TEST_A", "changed")() == "changed\n");
  CHECK(P("echo ${NBIO_TEST_A-unset}").env("NBIO_TEST_A", std::nullopt)() == "unset\n");
  CHECK(P({"/usr/bin/env"}).clear_env().env("A", "1").env("B", "2")() == "A=1\nB=2\n");
  CHECK_THROWS_AS((void)P("true").env("A=B", "1"), std::invalid_argument);
  ::unsetenv("NBIO_TEST_A");
}

TEST_CASE("the program is searched in the PATH the process will have") {
  temporary_directory dir;
  write_file(dir / "only-here", "#!/bin/sh\necho found\n", 0755);
  CHECK(P({"only-here"}).env("PATH", dir.path.string() + ":/bin:/usr/bin")() == "found\n");
  CHECK(failure_of([] { return P({"only-here"})(); }).result.culprit()->spawn_errno == ENOENT);
}

TEST_CASE("a setter leaves the process it was called on as it was") {
  const P base("exit 3");
  const P changed = base.good_exit({3});
  CHECK(changed() == "");
  CHECK_THROWS_AS(base(), pipe_error);
}

TEST_CASE("nice, limits and user are those of the process") {
  CHECK(std::stoi(P("nice").nice(3)()) == std::stoi(P("nice")()) + 3);
  CHECK(P("ulimit -n").limit(RLIMIT_NOFILE, 123, 123)() == "123\n");
  CHECK(failure_of([] { return P({"/nonexistent"}).nice(1)(); }).result.culprit()->spawn_errno == ENOENT);
  if (::geteuid() == 0) CHECK(P("id -un; id -gn").user("nobody")() == "nobody\nnogroup\n");
  CHECK_THROWS_AS(P("true").user("no-such-user")(), fussy::error);
}

TEST_CASE("a descriptor can be passed, and with close_others nothing else is inherited") {
  temporary_directory dir;
  const fussy::unique_fd mine = fussy::open_file(dir / "f", O_RDWR | O_CREAT, 0600);
  CHECK(P("echo through >&7").pass_fd(7, mine.get())() == "");
  CHECK(content_of(dir / "f") == "through\n");
  const int leaky = ::dup(mine.get());  // without close-on-exec, as a careless host has them
  const std::string look = "ls -l /proc/self/fd | grep -c " + dir.path.string() + " || true";
  CHECK(P(look)() == "1\n");
  CHECK(P(look).close_others()() == "0\n");
  CHECK(P(look).close_others().nice(0)() == "0\n");
  CHECK(P("echo again >&7; " + look).close_others().pass_fd(7, mine.get())() == "1\n");
  ::close(leaky);
}

TEST_CASE("nothing feeds a process: its input is at its end from the start") {
  CHECK(P("cat")() == "");
  CHECK(P("wc -c")() == "0\n");
}

TEST_CASE("a process alone can be told what a pipe can") {
  std::stop_source stop;
  stop.request_stop();
  CHECK(P("sleep 30").stop(stop.get_token()).run().cancelled);
  CHECK(P("sleep 98716 & echo x").linger(50ms).run().left_open);
  kill_processes_with("sleep\00098716"s);
  CHECK_THROWS_AS((void)P("echo 12345").limit_output(3)(), fussy::error);
  CHECK(P("sleep 30").timeout(50ms).run().timed_out);
  loop l;
  job j = P("echo x").start(l);
  l.run();
  CHECK(j.wait().out == "x\n");
}

TEST_CASE("building a pipe starts and opens nothing") {
  temporary_directory dir;
  {
    const nbio::pipe p = (P("touch " + (dir / "started")) | P("cat")) > (dir / "out");
    (void)p;
  }
  CHECK(!std::filesystem::exists(dir / "started"));
  CHECK(!std::filesystem::exists(dir / "out"));
}

TEST_CASE("a pipe can be run again, and cloned") {
  nbio::pipe p = "x" | P("cat") | P("cat");
  CHECK(p() == "x");
  CHECK(p() == "x");
  nbio::pipe q = p.clone() | P("tr x y");
  CHECK(q() == "y");
  CHECK(p() == "x");
}

TEST_CASE("a pipe can be asked for its stages, and extended at both ends") {
  nbio::pipe p = P("cat") | P({"tr", "a", "b"});
  p.append(P("cat -n"));
  p.prepend("aa\n");
  CHECK(p.size() == 4);
  CHECK(p.first().name == "text");
  CHECK(p[2].name == "tr a b");
  CHECK(p.last().what != nullptr);
  CHECK(p() == "     1\tbb\n");
}

TEST_CASE("stages that cannot be joined are refused when they are joined") {
  CHECK_THROWS_AS((void)((P("a") > "/tmp/x") | P("b")), std::logic_error);
  CHECK_THROWS_AS((void)(P("a") | ("x" | P("b"))), std::logic_error);
  CHECK_THROWS_AS((void)("y" | ("x" | P("b"))), std::logic_error);
  CHECK_THROWS_AS((void)(P("a") | source("x"s)), std::logic_error);
}

TEST_SUITE_END();
