// What happens when memory runs out: at every single allocation of the library in turn, once, or from there on for
// good. First at those of its own code, and of the C and C++ libraries on its behalf: there it always is a status. Then
// wherever it may be: inside of Botan and libarchive it is a status as well, but for the few places where libarchive
// itself calls exit(3).
#include <doctest/doctest.h>
#include <fussy.h>

#include <link.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string_view>
#include <vector>

#include "fixture.hpp"

// ---- An allocator that can be told to fail -----------------------------------------------------------------------------

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

std::atomic<bool> armed{false}, for_good{false};
std::atomic<bool> anywhere{false};  // not only in code of the library
std::atomic<long> countdown{0};     // allocations until the one that fails
std::atomic<long> live{0};          // blocks

// ---- Whose allocation it is ----

struct module {
  std::uintptr_t begin, end;
  bool ours, neutral;  // neutral: works for whoever calls it
};
std::array<module, 64> modules;
std::size_t module_count = 0;

int note_module(dl_phdr_info* info, std::size_t, void*) {
  const std::string_view name = info->dlpi_name;
  const auto is = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  module m{UINTPTR_MAX, 0, is("libfussy"), false};
  m.neutral = name.empty() || is("libc.so") || is("libstdc++") || is("libgcc_s") || is("ld-linux") || is("libm.so");
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    m.begin = std::min<std::uintptr_t>(m.begin, info->dlpi_addr + segment.p_vaddr);
    m.end = std::max<std::uintptr_t>(m.end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
  }
  if (module_count < modules.size()) modules[module_count++] = m;
  return 0;
}

_Unwind_Reason_Code look_at_frame(_Unwind_Context* frame, void* ours) {
  const std::uintptr_t at = _Unwind_GetIP(frame);
  for (std::size_t i = 0; i < module_count; ++i) {
    if (at < modules[i].begin || at >= modules[i].end || modules[i].neutral) continue;
    *static_cast<bool*>(ours) = modules[i].ours;
    return _URC_END_OF_STACK;
  }
  return _URC_NO_REASON;
}

/// The innermost caller that is no general library is libfussy.
bool is_of_the_library() noexcept {
  bool ours = false;
  _Unwind_Backtrace(look_at_frame, &ours);
  return ours;
}

bool fails() noexcept {
  if (!armed || (!anywhere && !is_of_the_library())) return false;
  const long left = --countdown;
  if (left > 0 || (left < 0 && !for_good)) return false;
  errno = ENOMEM;
  return true;
}

void* counted(void* block) noexcept {
  if (block != nullptr) ++live;
  return block;
}

}  // namespace

// The program's definitions take the place of the C library's, also for the C++ library and for libfussy.
extern "C" {
void* malloc(std::size_t size) noexcept { return fails() ? nullptr : counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) noexcept {
  return fails() ? nullptr : counted(__libc_calloc(count, size));
}
void* realloc(void* block, std::size_t size) noexcept {
  if (fails()) return nullptr;
  void* fresh = __libc_realloc(block, size);
  return block == nullptr ? counted(fresh) : fresh;
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return fails() ? nullptr : counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { return memalign(alignment, size); }
int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  *block = memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}
void free(void* block) noexcept {
  if (block != nullptr) --live;
  __libc_free(block);
}
}

namespace {

using namespace test;

struct outcome {
  int32_t status;
  bool reached;  // the allocation that was to fail was made
  long leaked;
};

outcome run_short_of_memory(long at, bool good, const std::function<int32_t()>& run) {
  if (module_count == 0) dl_iterate_phdr(note_module, nullptr);
  for_good = good;
  countdown = at;
  const long before = live;
  armed = true;
  const int32_t status = run();
  armed = false;
  return {status, countdown <= 0, live - before};
}

/// Numbers of allocations: each of the first ones, then fewer and fewer; all in the long version.
std::vector<long> points(long count) {
  std::vector<long> all;
#ifdef FUSSY_LONG_TESTS
  const long step_every = count;
#else
  const long step_every = 300;
#endif
  for (long n = 1; n <= count; n += 1 + n / step_every) all.push_back(n);
  return all;
}

/// Calls `run` with each allocation failing in turn, and `look` after each.
void at_every_allocation(const std::function<int32_t()>& run, const std::function<void()>& look) {
  REQUIRE(run() == FUSSY_OK);
  look();
  (void)run_short_of_memory(10, false, run);  // what is allocated once and kept, also for failures, is there now
  look();
  const outcome all = run_short_of_memory(1'000'000'000, false, run);
  REQUIRE(all.status == FUSSY_OK);
  const long count = 1'000'000'000 - countdown;
  look();
  MESSAGE(count << " allocations");
  int failures = 0;
  for (const bool good : {false, true}) {
    for (const long n : points(count)) {
      CAPTURE(n);
      CAPTURE(good);
      const outcome o = run_short_of_memory(n, good, run);
      failures += o.status != FUSSY_OK;
      look();
      // A cache that was filled now for the first time, or a thread whose stack the C library keeps for the next one,
      // is no leak: then there is a time without.
      long leaked = o.leaked;
      for (int again = 0; leaked > 0 && !good && again < 5; ++again) {
        leaked = run_short_of_memory(n, good, run).leaked;
        look();
      }
      if (!good) CHECK(leaked <= 0);
    }
  }
  CHECK(failures > 0);
}

TEST_SUITE_BEGIN("capi");

TEST_CASE("an install that runs out of memory at any allocation gives a status, leaks nothing and leaves what runs") {
  device d;
  bool with_hook = false;
  SUBCASE("with a hook") { with_hook = true; }
  SUBCASE("without") {}
  const std::string package = with_hook ? the_vendor().package("fw-hook", "true") : the_vendor().package("fw-1");
  const std::string keys = the_vendor().keys(), target = d.target();
  REQUIRE(d.install(the_vendor().package("fw-0")) == FUSSY_OK);
  fussy_report report;
  const auto install = [&] {
    report = FUSSY_REPORT_INIT;
    return fussy_install(package.c_str(), keys.c_str(), target.c_str(), &report);
  };
  const auto look = [&] {
    CHECK((report.status == FUSSY_OK) == (report.message[0] == '\0'));
    REQUIRE(fussy_session_recover(d) == FUSSY_OK);
    const std::string current = d.current();
    CHECK(slurp(d.target() + "/current/app") == current.substr(0, current.find('-', 3)) + "\n");
    REQUIRE(fussy_session_enable(d, "fw-0") == FUSSY_OK);
    REQUIRE(fussy_session_clean(d, 0, nullptr) == FUSSY_OK);
    REQUIRE(!d.has_litter());
    REQUIRE(d.listing() == "current\nfw-0\n");
  };
  at_every_allocation(install, look);
}

/// How a process fared whose memory ran out.
enum class ending { well, no_memory, another_status, exit_by_libarchive, terminated, crashed };

ending in_a_child(const std::function<int32_t()>& run, long at, bool good) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    std::atexit([] { ::_exit(static_cast<int>(ending::exit_by_libarchive)); });
    std::set_terminate([] { ::_exit(static_cast<int>(ending::terminated)); });
    (void)::close(STDERR_FILENO);
    anywhere = true;
    const int32_t status = run_short_of_memory(at, good, run).status;
    // Behind the switch, what became of it.
    const bool said = status == FUSSY_NO_MEMORY || status == FUSSY_REVERTED;
    ::_exit(static_cast<int>(status == FUSSY_OK ? ending::well : said ? ending::no_memory : ending::another_status));
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? static_cast<ending>(WEXITSTATUS(status)) : ending::crashed;
}

TEST_CASE("wherever memory runs out, also inside Botan and libarchive, what runs stays whole") {
  device d;
  const std::string package = the_vendor().package("fw-1"), keys = the_vendor().keys(), target = d.target();
  REQUIRE(d.install(the_vendor().package("fw-0")) == FUSSY_OK);
  const std::function<int32_t()> install = [&] {
    return fussy_install(package.c_str(), keys.c_str(), target.c_str(), nullptr);
  };
  const auto look = [&] {
    REQUIRE(fussy_session_recover(d) == FUSSY_OK);
    REQUIRE(slurp(d.target() + "/current/app") == d.current() + "\n");
    REQUIRE(fussy_session_enable(d, "fw-0") == FUSSY_OK);
    REQUIRE(fussy_session_clean(d, 0, nullptr) == FUSSY_OK);
    REQUIRE(d.listing() == "current\nfw-0\n");
    REQUIRE(!d.has_litter());
  };
  REQUIRE(install() == FUSSY_OK);  // what is allocated once and kept is there
  look();
  anywhere = true;
  REQUIRE(run_short_of_memory(1'000'000'000, false, install).status == FUSSY_OK);
  anywhere = false;
  const long count = 1'000'000'000 - countdown;
  look();
  for (const bool good : {false, true}) {
    std::array<int, 6> endings{};
    for (const long n : points(count)) {
      CAPTURE(n);
      CAPTURE(good);
      const ending e = in_a_child(install, n, good);
      ++endings[static_cast<std::size_t>(e)];
      CHECK(e != ending::crashed);
      CHECK(e != ending::another_status);
      // Botan allocates while it frees locked memory: the host can turn that off, as this test's environment does.
      CHECK(e != ending::terminated);
      look();
    }
    const auto how_many = [&](ending e) { return endings[static_cast<std::size_t>(e)]; };
    MESSAGE(count << " allocations: " << how_many(ending::no_memory) << " times a status, "
                  << how_many(ending::exit_by_libarchive) << " times exit(3) in libarchive");
    CHECK(how_many(ending::no_memory) > count / 2);
    CHECK(how_many(ending::exit_by_libarchive) < count / 10);
  }
}

TEST_CASE("so does everything else") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-0")) == FUSSY_OK);
  const auto nothing = [] {};
  SUBCASE("a session, from new to free") {
    at_every_allocation(
        [] {
          fussy_session* s = nullptr;
          int32_t status = fussy_session_new(&s);
          if (status == FUSSY_OK) status = fussy_session_set_keyring(s, "/a/path/that/is/long/enough/to/be/allocated");
          if (status == FUSSY_OK) status = fussy_session_add_exclude(s, "a pattern that is long enough as well");
          fussy_session_free(s);
          return status;
        },
        nothing);
  }
  SUBCASE("keys") {
    at_every_allocation([&] { return fussy_session_keys(d, nullptr); }, nothing);
  }
  SUBCASE("status") {
    fussy_target target = FUSSY_TARGET_INIT;
    at_every_allocation([&] { return fussy_session_status(d, &target); }, nothing);
  }
  SUBCASE("verify") {
    fussy_session_set_package_path(d, the_vendor().package("fw-1").c_str());
    at_every_allocation([&] { return fussy_session_verify(d); }, nothing);
  }
  SUBCASE("an inspection, and a dry run") {
    fussy_session_set_package_path(d, the_vendor().package("fw-1").c_str());
    REQUIRE(fussy_session_set_dry_run(d, 1) == FUSSY_OK);
    const auto whole = [&] {
      CHECK(d.listing() == "current\nfw-0\n");
      CHECK(!d.has_litter());
    };
    SUBCASE("inspection") {
      fussy_inspection seen = FUSSY_INSPECTION_INIT;
      const fussy_entry_callback count = [](void*, const fussy_entry*) -> int32_t { return 0; };
      at_every_allocation([&] { return fussy_session_inspect(d, count, nullptr, &seen); }, whole);
    }
    SUBCASE("dry run") {
      at_every_allocation([&] { return fussy_session_install(d); }, whole);
    }
  }
  SUBCASE("a lock") {
    const std::string file = d.target() + "/.fussy/job.lock";
    at_every_allocation(
        [&] {
          fussy_lock* lock = nullptr;
          const int32_t status = fussy_lock_acquire(file.c_str(), 0, &lock, nullptr);
          fussy_lock_release(lock);
          return status;
        },
        nothing);
  }
  SUBCASE("a pipe") {
    if ((fussy_features() & FUSSY_FEATURE_PIPES) == 0) return;
    at_every_allocation(
        [] {
          fussy_pipe* p = nullptr;
          const char* const echo[] = {"echo", "some text that is long enough to be allocated", nullptr};
          const char* const cat[] = {"cat", nullptr};
          int32_t status = fussy_pipe_new(&p);
          if (status == FUSSY_OK) status = fussy_pipe_add_process(p, echo);
          if (status == FUSSY_OK)
            status = fussy_pipe_add_callback(
                p,
                [](void*, const void* data, uint64_t size, fussy_stage_output* out) {
                  return fussy_stage_write(out, data, size) == FUSSY_OK ? 0 : -ENOMEM;
                },
                nullptr);
          if (status == FUSSY_OK) status = fussy_pipe_add_process(p, cat);
          if (status == FUSSY_OK) status = fussy_pipe_run(p);
          fussy_pipe_free(p);
          return status;
        },
        nothing);
  }
}

}  // namespace
