// Locks, trees of links and pipes, as a C program sees them.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fussy.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "fixture.hpp"
#include "support/child.hpp"

namespace {

using namespace test;

TEST_SUITE_BEGIN("capi");

TEST_CASE("a lock has one holder") {
  temporary_directory d;
  const std::string file = (d / "job.lock").string();
  fussy_lock *lock = nullptr, *second = nullptr;
  fussy_report report = FUSSY_REPORT_INIT;
  REQUIRE(fussy_lock_acquire(file.c_str(), 0, &lock, nullptr) == FUSSY_OK);
  CHECK(fussy_lock_acquire(file.c_str(), 0, &second, &report) == FUSSY_ALREADY_HELD);
  CHECK(second == nullptr);
  CHECK(std::string(report.message).find(file) != std::string::npos);
  child other([&](int) {
    fussy_lock* theirs = nullptr;
    return fussy_lock_acquire(file.c_str(), 0, &theirs, nullptr) == FUSSY_BUSY ? 0 : 1;
  });
  CHECK(other.wait() == 0);
  CHECK(fussy_lock_check(lock) == FUSSY_OK);
  fussy_lock_release(lock);
  REQUIRE(fussy_lock_acquire(file.c_str(), 0, &second, nullptr) == FUSSY_OK);
  fussy_lock_release(second);
  fussy_lock_release(nullptr);
  CHECK(fussy_lock_acquire(nullptr, 0, &lock, nullptr) == FUSSY_USAGE);
  CHECK(fussy_lock_acquire(file.c_str(), 0, nullptr, nullptr) == FUSSY_USAGE);
  CHECK(fussy_lock_set_timeout(nullptr, 1) == FUSSY_USAGE);
  CHECK(fussy_lock_check(nullptr) == FUSSY_USAGE);
}

TEST_CASE("a tree of links is made, and made up to date") {
  temporary_directory d;
  std::filesystem::create_directories(d / "app/etc");
  std::ofstream(d / "app/etc/conf") << "1\n";
  const std::string from = (d / "app").string(), to = (d / "root").string();
  fussy_link_counts counts = FUSSY_LINK_COUNTS_INIT;
  REQUIRE(fussy_link_tree(from.c_str(), to.c_str(), FUSSY_LINK_SYMBOLIC, 0, &counts, nullptr) == FUSSY_OK);
  CHECK(counts.created == 1);
  CHECK(slurp(d / "root/etc/conf") == "1\n");
  REQUIRE(fussy_link_tree(from.c_str(), to.c_str(), FUSSY_LINK_SYMBOLIC, 0, &counts, nullptr) == FUSSY_OK);
  CHECK(counts.created == 0);
  CHECK(counts.unchanged == 1);
  CHECK(fussy_link_tree(nullptr, to.c_str(), 0, 0, nullptr, nullptr) == FUSSY_USAGE);
  CHECK(fussy_link_tree(from.c_str(), to.c_str(), 7, 0, nullptr, nullptr) == FUSSY_USAGE);
  CHECK(fussy_link_tree(from.c_str(), to.c_str(), 0, 256, nullptr, nullptr) == FUSSY_USAGE);
  fussy_report report = FUSSY_REPORT_INIT;
  CHECK(fussy_link_tree("/nonexistent", to.c_str(), 0, 0, nullptr, &report) == FUSSY_NOT_FOUND);
  CHECK(report.message[0] != '\0');
}

TEST_CASE("migrations that an older version does not know are undone by its tool") {
  if ((fussy_features() & FUSSY_FEATURE_MIGRATIONS) == 0) return;
  temporary_directory d;
  for (const char* version : {"new", "old"}) std::filesystem::create_directories(d / version / "shop");
  for (const char* file : {"new/shop/0001_first.py", "new/shop/0002_price.py", "old/shop/0001_first.py"})
    std::ofstream(d / file) << "#";
  std::filesystem::create_symlink("new", d / "current");
  std::ofstream(d / "manage") << "#!/bin/sh\necho \"$@\"\n";
  std::filesystem::permissions(d / "manage", std::filesystem::perms(0755));
  const std::string old = (d / "old").string(), tool = (d / "manage").string();
  fussy_report report = FUSSY_REPORT_INIT;
  REQUIRE(fussy_roll_back(old.c_str(), "shop", "shop", nullptr, &report) == FUSSY_OK);
  CHECK(std::string(report.version) == "0001_first");
  CHECK(std::string(report.output).empty());
  REQUIRE(fussy_roll_back(old.c_str(), "shop", "shop", tool.c_str(), &report) == FUSSY_OK);
  CHECK(std::string(report.output) == "migrate --noinput shop 0001_first\n");
  REQUIRE(fussy_roll_back((d / "new").c_str(), "shop", "shop", tool.c_str(), &report) == FUSSY_OK);
  CHECK(std::string(report.version).empty());
  std::filesystem::remove(d / "old/shop/0001_first.py");
  CHECK(fussy_roll_back(old.c_str(), "shop", "shop", tool.c_str(), &report) == FUSSY_NOT_FOUND);
  CHECK(fussy_roll_back(nullptr, "shop", "shop", nullptr, nullptr) == FUSSY_USAGE);
}

struct pipe_handle {
  pipe_handle() { REQUIRE(fussy_pipe_new(&p) == FUSSY_OK); }
  ~pipe_handle() { fussy_pipe_free(p); }
  operator fussy_pipe*() const { return p; }  // NOLINT: it stands for its pipe
  void add(std::vector<const char*> argv) const {
    argv.push_back(nullptr);
    REQUIRE(fussy_pipe_add_process(p, argv.data()) == FUSSY_OK);
  }
  std::string output() const {
    const void* data = nullptr;
    uint64_t size = 0;
    REQUIRE(fussy_pipe_output(p, &data, &size) == FUSSY_OK);
    return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
  }
  fussy_pipe* p = nullptr;
};

int32_t upper(void*, const void* data, uint64_t size, fussy_stage_output* out) {
  std::string text(static_cast<const char*>(data), static_cast<std::size_t>(size));
  if (size == 0) text = "(end)";
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  return fussy_stage_write(out, text.data(), text.size());
}

struct lines {
  int left = 0;
  static int64_t read(void* user, void* buffer, uint64_t) {
    auto& self = *static_cast<lines*>(user);
    if (self.left-- == 0) return 0;
    std::memcpy(buffer, "line\n", 5);
    return 5;
  }
};

TEST_CASE("a pipe joins processes and functions of the host") {
  if ((fussy_features() & FUSSY_FEATURE_PIPES) == 0) return;
  pipe_handle p;
  SUBCASE("a process alone") {
    p.add({"echo", "hello world"});
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);
    CHECK(p.output() == "hello world\n");
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);  // and again
    CHECK(p.output() == "hello world\n");
  }
  SUBCASE("bytes in, a stage of ours in the middle") {
    fussy_pipe_set_input_buffer(p, "abc", 3);
    p.add({"cat"});
    CHECK(fussy_pipe_add_callback(p, upper, nullptr) == FUSSY_OK);
    p.add({"cat"});
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);
    CHECK(p.output() == "ABC(END)");
  }
  SUBCASE("a stage that gives more than fits at once") {
    p.add({"echo", "-n", "x"});
    fussy_pipe_add_callback(
        p,
        [](void*, const void*, uint64_t size, fussy_stage_output* out) -> int32_t {
          const std::string big(3 << 20, 'y');
          return size == 0 ? 0 : fussy_stage_write(out, big.data(), big.size());
        },
        nullptr);
    p.add({"wc", "-c"});
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);
    CHECK(std::stol(p.output()) == 3 << 20);
  }
  SUBCASE("callbacks at both ends") {
    lines from{100000};
    std::string to;
    fussy_pipe_set_input_callback(p, lines::read, &from);
    p.add({"grep", "-c", "line"});
    fussy_pipe_set_output_callback(
        p,
        [](void* user, const void* data, uint64_t size) -> int32_t {
          static_cast<std::string*>(user)->append(static_cast<const char*>(data), static_cast<std::size_t>(size));
          return 0;
        },
        &to);
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);
    CHECK(to == "100000\n");
    CHECK(p.output().empty());
  }
  SUBCASE("descriptors at both ends") {
    temporary_directory d;
    std::ofstream(d / "in") << "b\na\n";
    const int in = ::open((d / "in").c_str(), O_RDONLY | O_CLOEXEC);
    const int out = ::open((d / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    fussy_pipe_set_input_fd(p, in);
    p.add({"sort"});
    fussy_pipe_set_output_fd(p, out);
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);
    CHECK(::close(in) == 0);
    CHECK(::close(out) == 0);
    CHECK(slurp(d / "out") == "a\nb\n");
  }
  SUBCASE("environment and directory") {
    fussy_pipe_add_shell(p, "echo $GREETING; pwd");
    CHECK(fussy_pipe_set_environment(p, "GREETING", "hi there") == FUSSY_OK);
    CHECK(fussy_pipe_set_directory(p, "/usr") == FUSSY_OK);
    REQUIRE(fussy_pipe_run(p) == FUSSY_OK);
    CHECK(p.output() == "hi there\n/usr\n");
  }
}

TEST_CASE("a pipe says which process failed, and how") {
  if ((fussy_features() & FUSSY_FEATURE_PIPES) == 0) return;
  pipe_handle p;
  fussy_report report = FUSSY_REPORT_INIT;
  fussy_stage_report stage = FUSSY_STAGE_REPORT_INIT;
  SUBCASE("by its exit status and what it said") {
    fussy_pipe_add_shell(p, "echo partial; echo alas >&2; exit 3");
    fussy_pipe_set_stderr(p, FUSSY_STDERR_CAPTURE);
    CHECK(fussy_pipe_run(p) == FUSSY_PROCESS_FAILED);
    REQUIRE(fussy_pipe_stage(p, 0, &stage) == FUSSY_OK);
    CHECK(stage.exit_code == 3);
    CHECK(stage.failed == 1);
    CHECK(stage.error == std::string("alas\n"));
    CHECK(fussy_pipe_report(p, &report) == FUSSY_OK);
    CHECK(report.status == FUSSY_PROCESS_FAILED);
    CHECK(report.message == std::string(fussy_pipe_message(p)));
    CHECK(p.output() == "partial\n");
    CHECK(fussy_pipe_stage(p, 1, &stage) == FUSSY_NOT_FOUND);
  }
  SUBCASE("unless the status is a good one") {
    fussy_pipe_add_shell(p, "exit 3");
    const int32_t good[] = {0, 3};
    CHECK(fussy_pipe_set_good_exit(p, good, 2) == FUSSY_OK);
    CHECK(fussy_pipe_run(p) == FUSSY_OK);
  }
  SUBCASE("because it is not there") {
    p.add({"/nonexistent/program"});
    CHECK(fussy_pipe_run(p) == FUSSY_SPAWN_FAILED);
    CHECK(fussy_pipe_report(p, &report) == FUSSY_OK);
    CHECK(report.system_errno == ENOENT);
  }
  SUBCASE("because the time was over") {
    p.add({"sleep", "60"});
    fussy_pipe_set_timeout(p, 100);
    CHECK(fussy_pipe_run(p) == FUSSY_TIMEOUT);
  }
  SUBCASE("because a stage of the host failed") {
    p.add({"echo", "x"});
    fussy_pipe_add_callback(
        p, [](void*, const void*, uint64_t, fussy_stage_output*) -> int32_t { return -EPROTO; }, nullptr);
    CHECK(fussy_pipe_run(p) == FUSSY_IO);
    CHECK(fussy_pipe_report(p, &report) == FUSSY_OK);
    CHECK(report.system_errno == EPROTO);
  }
  SUBCASE("because there is no stage") { CHECK(fussy_pipe_run(p) == FUSSY_USAGE); }
}

TEST_CASE("the loop of the host drives a pipe through one descriptor") {
  if ((fussy_features() & FUSSY_FEATURE_PIPES) == 0) return;
  pipe_handle p;
  int32_t fd = -1, finished = 0;
  CHECK(fussy_pipe_fd(p, &fd) == FUSSY_USAGE);
  CHECK(fussy_pipe_step(p, &finished) == FUSSY_USAGE);
  SUBCASE("to its end") {
    p.add({"sh", "-c", "echo one; sleep 0.2; echo two"});
    REQUIRE(fussy_pipe_start(p) == FUSSY_OK);
    CHECK(fussy_pipe_run(p) == FUSSY_USAGE);
    CHECK(fussy_pipe_set_timeout(p, 1) == FUSSY_USAGE);
    REQUIRE(fussy_pipe_fd(p, &fd) == FUSSY_OK);
    int wakes = 0;
    while (finished == 0) {
      pollfd ready{fd, POLLIN, 0};
      REQUIRE(::poll(&ready, 1, 10000) == 1);
      REQUIRE(++wakes < 1000);
      REQUIRE(fussy_pipe_step(p, &finished) == FUSSY_OK);
    }
    CHECK(p.output() == "one\ntwo\n");
  }
  SUBCASE("until it is cancelled") {
    p.add({"sleep", "60"});
    REQUIRE(fussy_pipe_start(p) == FUSSY_OK);
    CHECK(fussy_pipe_cancel(p) == FUSSY_OK);
    REQUIRE(fussy_pipe_fd(p, &fd) == FUSSY_OK);
    int32_t status = FUSSY_OK;
    while (finished == 0) {
      pollfd ready{fd, POLLIN, 0};
      (void)::poll(&ready, 1, 1000);
      status = fussy_pipe_step(p, &finished);
    }
    CHECK(status == FUSSY_CANCELLED);
  }
  SUBCASE("or frees it in the middle: no process is left") {
    p.add({"sleep", "60"});
    REQUIRE(fussy_pipe_start(p) == FUSSY_OK);
    fussy_pipe_free(p.p);
    p.p = nullptr;
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  }
}

TEST_CASE("every function of pipes answers a NULL handle with a status") {
  fussy_pipe* p = nullptr;
  const char* argv[] = {"true", nullptr};
  int32_t number = 0;
  const void* data = nullptr;
  uint64_t size = 0;
  fussy_report report = FUSSY_REPORT_INIT;
  fussy_stage_report stage = FUSSY_STAGE_REPORT_INIT;
  const auto sink = [](void*, const void*, uint64_t) -> int32_t { return 0; };
  const int32_t statuses[] = {fussy_pipe_new(nullptr),
                              fussy_pipe_report(p, &report),
                              fussy_pipe_add_process(p, argv),
                              fussy_pipe_add_shell(p, "true"),
                              fussy_pipe_add_callback(p, upper, nullptr),
                              fussy_stage_write(nullptr, "x", 1),
                              fussy_pipe_set_good_exit(p, nullptr, 0),
                              fussy_pipe_set_environment(p, "A", "b"),
                              fussy_pipe_set_directory(p, "/"),
                              fussy_pipe_set_stderr(p, 0),
                              fussy_pipe_set_input_fd(p, 0),
                              fussy_pipe_set_input_buffer(p, "", 0),
                              fussy_pipe_set_input_callback(p, lines::read, nullptr),
                              fussy_pipe_set_output_fd(p, 1),
                              fussy_pipe_set_output_callback(p, sink, nullptr),
                              fussy_pipe_set_max_output(p, 1),
                              fussy_pipe_set_timeout(p, 1),
                              fussy_pipe_run(p),
                              fussy_pipe_start(p),
                              fussy_pipe_fd(p, &number),
                              fussy_pipe_step(p, &number),
                              fussy_pipe_cancel(p),
                              fussy_pipe_output(p, &data, &size),
                              fussy_pipe_stage(p, 0, &stage)};
  for (std::size_t i = 0; i < std::size(statuses); ++i) {
    CAPTURE(i);
    CHECK(statuses[i] == FUSSY_USAGE);
  }
  CHECK(fussy_pipe_message(p)[0] != '\0');
  fussy_pipe_free(p);
}

}  // namespace
