// Never two holders: many processes with many threads, while others delete, rename and replace the file and kill
// holders. A guard that leaves out one of its rules fails the same trial; that is tested, too.
#include <doctest/doctest.h>
#include <fussy/lock/guard.hpp>

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "support/child.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;
using namespace std::chrono_literals;
using test::child;
namespace fs = std::filesystem;
using steady = std::chrono::steady_clock;

namespace {

constexpr int processes = 8, threads = 4;

/// In memory that all processes share. Every holder has a place of its own, so that one that is killed while it holds
/// the lock can be told from a second holder.
struct scoreboard {
  struct process {
    std::array<std::atomic<int>, threads> holding{};
    std::atomic<bool> doomed = false;  // about to be killed: what it says is void from here on
  };
  std::array<process, processes> all{};
  std::atomic<bool> stop = false;
  std::atomic<long> taken = 0, refused = 0, violations = 0, sabotages = 0, failures = 0;
  long kills = 0;
};

struct shared_scoreboard {
  shared_scoreboard()
      : board(new (::mmap(nullptr, sizeof(scoreboard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
                  scoreboard) {}
  shared_scoreboard(const shared_scoreboard&) = delete;
  shared_scoreboard& operator=(const shared_scoreboard&) = delete;
  ~shared_scoreboard() { ::munmap(board, sizeof(scoreboard)); }
  scoreboard* operator->() const { return board; }
  scoreboard* const board;
};

struct trial {
  fs::path file;
  bool holder_deletes = false;  // as the locks do that remove their file when they are done
  int saboteurs = 2;
  std::chrono::milliseconds kill_every{150};
};

using random_source = std::minstd_rand;
int pick(random_source& random, int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); }

void hold(scoreboard& board, int process, int thread, random_source& random) {
  std::atomic<int>& mine = board.all[process].holding[thread];
  mine = 1;
  const auto look = [&] {
    for (int p = 0; p < processes; ++p)
      for (int t = 0; t < threads; ++t)
        if ((p != process || t != thread) && board.all[p].holding[t] != 0 && !board.all[p].doomed &&
            !board.all[process].doomed)
          ++board.violations;
  };
  look();
  if (pick(random, 3) == 0) std::this_thread::sleep_for(std::chrono::microseconds(pick(random, 500)));
  look();
  mine = 0;
}

template <class Rules>
void contend(scoreboard& board, const trial& t, int process, int thread) {
  random_source random(static_cast<unsigned>(::getpid() * 31 + thread));
  while (!board.stop) {
    try {
      basic_flock_guard<Rules> guard(t.file, std::chrono::milliseconds(pick(random, 2) ? 0 : 20));
      ++board.taken;
      hold(board, process, thread, random);
      if (t.holder_deletes) ::unlink(t.file.c_str());
    } catch (const error& e) {
      if (e.code() == errc::busy || e.code() == errc::already_held)
        ++board.refused;
      else
        ++board.failures;
    }
    if (pick(random, 4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(pick(random, 300)));
  }
}

template <class Rules>
std::unique_ptr<child> contender(scoreboard& board, const trial& t, int process) {
  return std::make_unique<child>([&, process](int) {
    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back([&, i] { contend<Rules>(board, t, process, i); });
    for (std::thread& w : workers) w.join();
    return 0;
  });
}

std::unique_ptr<child> saboteur(scoreboard& board, const trial& t, int number) {
  return std::make_unique<child>([&, number](int) {
    random_source random(static_cast<unsigned>(number + 1));
    const fs::path other = t.file.string() + ".other" + std::to_string(number);
    while (!board.stop) {
      switch (pick(random, 4)) {
        case 0:
          ::unlink(t.file.c_str());
          break;
        case 1:
          ::rename(t.file.c_str(), other.c_str());
          break;  // away; case 2 may bring it back
        case 2:
          ::rename(other.c_str(), t.file.c_str());
          break;
        case 3:
          std::ofstream(other) << (pick(random, 2) ? "1\n" : "");
          ::rename(other.c_str(), t.file.c_str());
          break;
      }
      ++board.sabotages;
      std::this_thread::sleep_for(std::chrono::microseconds(pick(random, 400)));
    }
    return 0;
  });
}

/// @param until_violation  end early with the first violation: for guards that are expected to fail.
template <class Rules>
void run(scoreboard& board, const trial& t, std::chrono::milliseconds length, bool until_violation) {
  std::array<std::unique_ptr<child>, processes> contenders;
  std::vector<std::unique_ptr<child>> saboteurs;
  for (int p = 0; p < processes; ++p) contenders[p] = contender<Rules>(board, t, p);
  for (int s = 0; s < t.saboteurs; ++s) saboteurs.push_back(saboteur(board, t, s));

  random_source random(42);
  const auto end = steady::now() + length;
  auto next_kill = steady::now() + t.kill_every;
  while (steady::now() < end && !(until_violation && board.violations > 0)) {
    std::this_thread::sleep_for(10ms);
    if (steady::now() < next_kill) continue;
    next_kill = steady::now() + t.kill_every;
    const int p = pick(random, processes);
    board.all[p].doomed = true;
    contenders[p].reset();  // SIGKILL
    for (auto& h : board.all[p].holding) h = 0;
    board.all[p].doomed = false;
    contenders[p] = contender<Rules>(board, t, p);
    ++board.kills;
  }
  board.stop = true;
  for (auto& c : contenders) CHECK(c->wait() == 0);
  for (auto& s : saboteurs) CHECK(s->wait() == 0);
  MESSAGE(processes, " x ", threads, ": taken ", board.taken.load(), ", refused ", board.refused.load(), ", sabotages ",
          board.sabotages.load(), ", kills ", board.kills, ", violations ", board.violations.load());
}

struct nothing_but_flock : lock_rules {
  static constexpr bool compare_inode = false, claim_name = false;
};
struct only_inode_comparison : lock_rules {
  static constexpr bool claim_name = false;
};

#ifdef FUSSY_LONG_TESTS
constexpr auto full_length = 120s;
#else
constexpr auto full_length = 20s;
#endif

}  // namespace

TEST_SUITE_BEGIN("never two holders");

TEST_CASE("while the file is deleted, renamed and replaced at any time, and holders are killed") {
  test::temporary_directory dir;
  shared_scoreboard board;
  run<lock_rules>(*board.board, {.file = dir / "x.lock"}, full_length, false);
  CHECK(board->violations == 0);
  CHECK(board->failures == 0);
  CHECK(board->taken > 100);
  CHECK(board->sabotages > 1000);
  CHECK(board->kills > 10);
  CHECK(flock_guard::try_lock(dir / "x.lock"));
}

TEST_CASE("while every holder deletes the file before it lets go, also without the claim on the name") {
  test::temporary_directory dir;
  shared_scoreboard board;
  run<only_inode_comparison>(*board.board, {.file = dir / "x.lock", .holder_deletes = true, .saboteurs = 0}, 5s, false);
  CHECK(board->violations == 0);
  CHECK(board->failures == 0);
  CHECK(board->taken > 100);
}

TEST_CASE("a guard that does not compare inodes fails the trial") {
  test::temporary_directory dir;
  shared_scoreboard board;
  SUBCASE("when the file is deleted at any time") {
    run<nothing_but_flock>(*board.board, {.file = dir / "x.lock"}, 60s, true);
  }
  SUBCASE("when only holders delete it") {
    run<nothing_but_flock>(*board.board, {.file = dir / "x.lock", .holder_deletes = true, .saboteurs = 0}, 60s, true);
  }
  CHECK(board->violations > 0);
}

TEST_CASE("a guard that does not claim the name fails the trial when the file is deleted at any time") {
  test::temporary_directory dir;
  shared_scoreboard board;
  run<only_inode_comparison>(*board.board, {.file = dir / "x.lock"}, 60s, true);
  CHECK(board->violations > 0);
}

TEST_SUITE_END();
