// Proofs 2 and 3 on real processes and a real file system: a process is killed at every call that changes something;
// one of its calls fails, with every errno that may be; from some call on there is no space. Always there is a working
// version, and the next command heals.
#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include "device.hpp"
#include "support/skip.hpp"

using namespace test;

namespace {

bool is_long() { return std::getenv("FUSSY_LONG_TESTS") != nullptr; }

// One way of changing a target, done again and again to the same beginning.
struct deed {
  std::string title;
  std::vector<std::string> agent;  // PACKAGE, KEYS, TARGET and VERSION are replaced
  int good_status = 0;
  std::string live;  // after an undisturbed run
  int failing_post = 0;
  bool may_go_back = false;  // a version whose recovery fails is one that failed
};

class workbench {
public:
  explicit workbench(const deed& what) : what_(what) {
    vendor& v = vendor::of_all_tests();
    package_ = v.package("app-2", version_files("2", 0, what.failing_post));
    install::install(v.package("app-1", version_files("1")), pristine_.how());
    make_tree(pristine_.target() / "failsafe", version_files("f"));
    if (what.title.find("enable") != std::string::npos) install::install_bytes(package_, pristine_.how());
    if (what.title.find("clean") != std::string::npos)
      for (const std::string old : {"old-1", "old-2"}) make_tree(pristine_.target() / old, version_files(old));
    if (what.title.find("recover") != std::string::npos) {
      install::install(package_, pristine_.how());
      write_file(pristine_.target() / ".fussy/journal", install::format_journal({.at = install::step::switched,
                                                                                 .version = "app-2",
                                                                                 .previous = "app-1",
                                                                                 .published = true,
                                                                                 .hooks = true}));
    }
    fs::remove(pristine_.directory() / "notes");
  }

  /// A fresh copy of the beginning; runs the deed on it. @return its exit status, 137 when it was killed
  int run(const std::string& shim) {
    fresh();
    return run_again(shim);
  }
  int run_again(const std::string& shim, const std::vector<std::string>& under = {}) {
    std::vector<std::string> all = under;
    for (const std::string& word : command()) all.push_back(word);
    const outcome o = test::run(all, {}, {{"LD_PRELOAD", shim.empty() ? "" : SHIM}, {"FUSSY_SHIM", shim}});
    said_ = o.err;
    return o.status;
  }
  /// A fresh copy of the beginning, and the deed on it below another program.
  int run_under(const std::vector<std::string>& program) {
    fresh();
    return run_again("", program);
  }
  /// A fresh copy, on which the deed has begun: the process that does it is the child itself.
  std::unique_ptr<child> start() {
    fresh();
    std::vector<std::string> words = command();
    return std::make_unique<child>([words](int) mutable { return child::become(words); });
  }
  /// Calls that change something, and calls at all, of an undisturbed run.
  std::pair<long, long> count() {
    temporary_directory d;
    REQUIRE(run("count:" + (d.path() / "n").string()) == what_.good_status);
    CHECK(live() == what_.live);
    std::istringstream in(content_of_file(d.path() / "n"));
    std::pair<long, long> n;
    in >> n.first >> n.second;
    return n;
  }

  fs::path target() const { return world_->path() / "target"; }
  const std::string& said() const { return said_; }

  /// The version that is live; "!" and why for what may never be.
  std::string live() const {
    std::error_code none;
    const std::string text = fs::read_symlink(target() / "current", none).string();
    if (none) return "!no current";
    return complete(text) ? text : "!incomplete " + text;
  }
  bool complete(const std::string& version) const {
    std::string label = version == "failsafe" ? "f" : version;
    if (version.starts_with("app-")) label = version.substr(4, version.find('-', 4) - 4);
    for (const auto& [name, text] : version_files(label, 0, label == "2" ? what_.failing_post : 0)) {
      const std::string file = name.ends_with('!') ? name.substr(0, name.size() - 1) : name;
      if (content_of_file(target() / version / file) != text) return false;
    }
    return true;
  }
  /// What is not as it should be in a target at rest; "" when all is.
  std::string unrest() const {
    for (const auto& entry : fs::directory_iterator(target())) {
      const std::string name = entry.path().filename().string();
      if (name != "current" && name != ".fussy" && !complete(name)) return "incomplete " + name;
    }
    for (const auto& entry : fs::directory_iterator(target() / ".fussy")) {
      const std::string name = entry.path().filename().string();
      if (name == "lock" || name == "previous" || name == "failed" || (name == "staging" && fs::is_empty(entry.path())))
        continue;
      return "left .fussy/" + name;
    }
    return {};
  }
  std::string recover() {
    device silent;
    install::options how = silent.how();
    how.target = target();
    // A hook that was just being started when its installer was killed has our descriptors until its exec.
    how.lock_wait = std::chrono::seconds(30);
    try {
      return name(install::recover(how).what);
    } catch (const fussy::error& e) {
      return e.what();
    }
  }

private:
  void fresh() {
    world_ = std::make_unique<temporary_directory>();
    output_of({"cp", "-a", pristine_.target().string(), target().string()});
  }
  std::vector<std::string> command() const {
    std::vector<std::string> words{AGENT};
    for (const std::string& a : what_.agent)
      words.push_back(a == "PACKAGE"   ? package_.string()
                      : a == "KEYS"    ? vendor::of_all_tests().keys().string()
                      : a == "TARGET"  ? target().string()
                      : a == "VERSION" ? (target() / "app-2").string()
                                       : a);
    return words;
  }

  deed what_;
  device pristine_;
  fs::path package_;
  std::unique_ptr<temporary_directory> world_;
  std::string said_;
};

const std::vector<deed>& deeds() {
  static const std::vector<deed> all{
      {.title = "install", .agent = {"install", "PACKAGE", "KEYS", "TARGET"}, .live = "app-2"},
      {.title = "install from a stream", .agent = {"stream", "PACKAGE", "KEYS", "TARGET"}, .live = "app-2"},
      {.title = "install that fails",
       .agent = {"install", "PACKAGE", "KEYS", "TARGET"},
       .good_status = 3,
       .live = "app-1",
       .failing_post = 9},
      {.title = "install without enabling it", .agent = {"bytes", "PACKAGE", "KEYS", "TARGET"}, .live = "app-1"},
      {.title = "enable an unpacked version", .agent = {"enable", "VERSION", "TARGET"}, .live = "app-2"},
      {.title = "clean", .agent = {"clean", "TARGET"}, .live = "app-1"},
      {.title = "recover from a crash", .agent = {"recover", "TARGET"}, .live = "app-2", .may_go_back = true},
  };
  // In pieces, where all would take too long: FUSSY_DEED is part of a title.
  static const std::vector<deed> wanted = [] {
    const char* const part = std::getenv("FUSSY_DEED");
    std::vector<deed> some = all;
    if (part) std::erase_if(some, [&](const deed& d) { return d.title.find(part) == std::string::npos; });
    return some;
  }();
  return wanted;
}

void check_alive(const workbench& w) {
  const std::string live = w.live();
  CHECK((live == "app-1" || live == "app-2" || live == "failsafe"));
  CHECK(w.complete("app-1"));
  CHECK(w.complete("failsafe"));
}

void check_healed(workbench& w) {
  check_alive(w);
  const std::string healed = w.recover();
  CAPTURE(healed);
  check_alive(w);
  CHECK(w.unrest() == "");
}

// System calls of a trace, by name, with how often each was made; without those that only start, end or feed a program.
std::map<std::string, long> calls_in(const std::string& trace) {
  std::map<std::string, long> counts;
  std::istringstream lines(trace);
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find('('));
    if (!name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos)
      ++counts[name];
  }
  for (const char* not_ours : {"execve", "exit_group", "brk", "mmap", "munmap", "mprotect"}) counts.erase(not_ours);
  return counts;
}

}  // namespace

TEST_SUITE_BEGIN("install: killed and starved processes");

TEST_CASE("killed at every call that changes something, there is a working version, and the next command heals") {
  long kills = 0;
  for (const deed& d : deeds()) {
    CAPTURE(d.title);
    workbench w(d);
    const long changes = w.count().first;
    REQUIRE(changes > 5);
    const long step = is_long() || changes < 40 ? 1 : 2;
    for (long n = kills % step; n < changes; n += step) {
      CAPTURE(n);
      REQUIRE(w.run("kill:" + std::to_string(n)) == 128 + SIGKILL);
      ++kills;
      check_healed(w);
      if (d.failing_post == 0 && n % 8 == 0) {  // and what was to be done can be done again
        const int again = w.run_again("");
        CHECK((again == 0 || d.title.find("enable") != std::string::npos));
        CHECK(w.unrest() == "");
      }
    }
  }
  MESSAGE(kills << " processes killed");
}

TEST_CASE("killed at random moments, by somebody else") {
  long killed = 0, runs = 0;
  std::mt19937_64 random(0x5eed);
  for (const deed& d : deeds()) {
    CAPTURE(d.title);
    workbench w(d);
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(w.start()->wait() == d.good_status);
    const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
    for (int i = 0; i < (is_long() ? 150 : 8); ++i) {
      const auto process = w.start();
      const auto moment = static_cast<long>(random() % static_cast<unsigned long>(whole.count()));
      CAPTURE(moment);
      std::this_thread::sleep_for(std::chrono::microseconds(moment));
      process->kill(SIGKILL);
      killed += process->wait() == 128 + SIGKILL;
      ++runs;
      check_healed(w);
    }
  }
  MESSAGE(killed << " of " << runs << " processes were killed before their end");
  CHECK(killed > runs / 3);
}

// The shim knows the calls of the C library by name. strace knows all there are, whoever makes them.
TEST_CASE("killed at each system call, whichever it is") {
  if (run({"strace", "-V"}).status != 0 || run({"strace", "-qq", "-o", "/dev/null", "true"}).status != 0)
    return test::skip("needs strace and the right to trace");
  temporary_directory traces;
  const std::string trace = (traces.path() / "trace").string();
  long kills = 0, runs = 0;
  std::set<std::string> names;
  for (const deed& d : deeds()) {
    if (!is_long() && &d != &deeds()[0]) break;
    CAPTURE(d.title);
    workbench w(d);
    // Only the process itself: threads and hooks that it starts are not traced, it waits for them.
    REQUIRE(w.run_under({"strace", "-qq", "-o", trace}) == d.good_status);
    for (const auto& call : calls_in(content_of_file(trace))) {
      const std::string& name = call.first;
      const long count = call.second;
      CAPTURE(name);
      names.insert(name);
      const long step = is_long() ? 1 : std::max<long>(1, count / 2);
      for (long n = 1 + runs % step; n <= count; n += step) {
        CAPTURE(n);
        const int status = w.run_under({"strace", "-qq", "-o", "/dev/null", "-e", "trace=" + name, "-e",
                                        "inject=" + name + ":signal=KILL:when=" + std::to_string(n)});
        ++runs;
        kills += status == 128 + SIGKILL;
        check_healed(w);
      }
    }
  }
  MESSAGE(kills << " of " << runs << " processes killed, at " << names.size() << " kinds of system calls");
  CHECK(kills > runs * 9 / 10);  // how often a thread waits is not the same in every run
}

TEST_CASE("one call fails, whichever and however: the end is one that is documented") {
  long faults = 0, with_litter = 0;
  for (const deed& d : deeds()) {
    CAPTURE(d.title);
    workbench w(d);
    const long calls = w.count().second;
    const std::vector<int> errnos{EIO, ENOSPC, EMFILE, ENOMEM, EDQUOT, EACCES, EROFS, EINTR};
    const long step = is_long() ? 1 : std::max<long>(calls / 24, 1);
    for (long n = faults % step; n < calls; n += step) {
      for (std::size_t e = is_long() ? 0 : static_cast<std::size_t>(n) % errnos.size(); e < errnos.size(); ++e) {
        CAPTURE(n);
        CAPTURE(errnos[e]);
        const int status = w.run("fail:" + std::to_string(n) + ":" + std::to_string(errnos[e]));
        CAPTURE(w.said());
        CAPTURE(status);
        ++faults;
        check_alive(w);
        const std::string live = w.live();
        switch (status) {
          case 0:
            CHECK((live == d.live || (d.may_go_back && live == "app-1")));
            break;
          case 3:
            CHECK(live != "app-2");
            break;
          case 2:
          case 20:
          case 21:
          case 40:
            CHECK((live == "app-1" || (d.may_go_back && live == d.live)));
            break;
          default:
            CHECK_MESSAGE(false, "unexpected exit status");
        }
        with_litter += w.unrest() != "";
        w.recover();
        CHECK((w.live() == live || (d.may_go_back && w.live() == "app-1")));
        CHECK(w.unrest() == "");
        if (!is_long()) break;
      }
    }
  }
  MESSAGE(faults << " faults; " << with_litter << " of them left something for recovery to remove");
}

TEST_CASE("from some call on there is no space: no residue, the running version untouched, and the message says so") {
  workbench w(deeds()[0]);
  const long calls = w.count().second;
  const long step = is_long() ? 1 : std::max<long>(calls / 30, 1);
  long runs = 0;
  for (long n = 0; n < calls; n += step) {
    for (const int number : {ENOSPC, EDQUOT}) {
      CAPTURE(n);
      const int status = w.run("full:" + std::to_string(n) + ":" + std::to_string(number));
      CAPTURE(w.said());
      ++runs;
      CHECK((status == 0 || status == 2 || status == 3 || status == 40));
      CHECK(w.live() == (status == 0 ? "app-2" : "app-1"));
      CHECK(w.unrest() == "");
    }
  }
  MESSAGE(runs << " full disks");
}

TEST_SUITE_END();
