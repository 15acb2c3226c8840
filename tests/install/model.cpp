// Proof 1: the transaction on a simulated disk whose power is cut at every operation.
#include "scenarios.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <unordered_set>

using namespace simulation;

namespace {

// How much is tried. The long version: environment variable FUSSY_LONG_TESTS (set by the Meson option).
struct effort {
  int exhaustive_questions;  // up to so many open questions every answer is tried ...
  int samples;               // ... else so many random ones
  long nested_exhaustive;    // recoveries of up to so many operations are cut at each of them ...
  int nested_samples;        // ... longer ones at so many random ones
};
const effort normal{3, 12, 6, 2}, thorough{6, 200, 12, 6}, quick{4, 16, 6, 2};

struct tally {
  long cuts = 0;
  std::unordered_set<std::size_t> distinct;
};

struct violation {
  std::string what;
};

class trial {
public:
  trial(const story& s, effort e, std::function<bool(const std::string&)> mutation = {})
      : story_(s), effort_(e), mutation_(std::move(mutation)), random_(0x5eed) {
    begin_.can_exchange = s.can_exchange;
    simulated_store st(begin_);
    s.before(st);
    begin_.sync_all();
    begin_.revive();
    begin_.ignored = mutation_;
  }

  // Every cut of the story, and of the recovery behind it. @throws violation
  void run(tally& t) {
    tally_ = &t;
    const long operations = undisturbed();
    crash_loops();
    for (long at = 0; at < operations; ++at) {
      disk d = begin_;
      hooks h{.failing = story_.failing};
      d.cut_at = at;
      act(d, h);
      where_ = story_.title + ", operation " + std::to_string(at);
      after_power_cuts(d, h, 0, story_.may_live);
      after_kill(d, h);
    }
  }

  std::set<std::string> sites() const { return sites_; }

private:
  // The story without a cut: its outcome is what it should be, and durable at once.
  long undisturbed() {
    disk d = begin_;
    hooks h{.failing = story_.failing};
    const errc outcome = act(d, h);
    where_ = story_.title + ", after its end";
    expect(outcome == story_.outcome, std::string("outcome is ") + name(outcome));
    expect(live_version(d) == story_.live, "live is " + live_version(d));
    expect(litter(d).empty(), litter(d));
    sites_.insert(d.sites.begin(), d.sites.end());
    for_every_cut(d, 0, [&](disk cut) {
      expect(live_version(cut) == story_.live, "live is '" + live_version(cut) + "'");
      hooks later{.failing = story_.failing};
      recover_on(cut, later);
      expect(later.begun.empty(), "it had ended, and recovery ran hooks");
      expect(live_version(cut) == story_.live, "it had ended, and recovery made '" + live_version(cut) + "' live");
    });
    return d.operations;
  }

  // A hook that takes the power down whenever it runs: recovery tries once more, then goes another way.
  void crash_loops() {
    const std::vector<std::set<std::string>> culprits{{"v2 .pre-install"},
                                                      {"v2 .post-install"},
                                                      {"v2 .post-install", "v1 .pre-install"},
                                                      {"v2 .post-install", "v1 .post-install"},
                                                      {"v2 .pre-install", "v1 .post-install", "failsafe .pre-install"}};
    for (const auto& crashing : culprits) {
      where_ = story_.title + ", crash loop of " + *crashing.begin();
      disk d = begin_;
      hooks h{.failing = story_.failing, .crashing = crashing};
      act(d, h);
      for (int crashes = 0; d.dead(); ++crashes) {
        expect(crashes < 12, "there is no end to it");
        d = d.after_cut([&](disk::question q) { return any_answer(q); });
        recover_on(d, h);
      }
      check_at_rest(d, with_failsafe());
      for (const std::string& hook : h.begun)
        expect(std::count(h.begun.begin(), h.begun.end(), hook) <= 4, hook + " was run more than four times");
      expect(std::count(h.begun.begin(), h.begun.end(), "v2 .post-install False") <= 2,
             "a crashing .post-install ran thrice");
    }
  }

  errc act(disk& d, hooks& h) {
    try {
      story_.act(simulated_store(d), {.hooks = h.on(d), .log = {}, .progress = {}, .stop = {}});
      return errc::success;
    } catch (const error& e) {
      return e.code();
    } catch (const power_cut&) {
      return errc::failure;
    }
  }

  // Recovery, as any command does it. @return false where power was cut.
  bool recover_on(disk& d, hooks& h) {
    try {
      basic_transaction<simulated_store> tx(simulated_store(d),
                                            {.hooks = h.on(d), .log = {}, .progress = {}, .stop = {}});
      sites_.insert(d.sites.begin(), d.sites.end());
      return true;
    } catch (const power_cut&) {
      return false;
    }
  }

  void after_power_cuts(const disk& d, const hooks& so_far, int depth, const std::set<std::string>& may_live) {
    for_every_cut(d, depth, [&](disk cut) {
      ++tally_->cuts;
      tally_->distinct.insert(std::hash<std::string>{}(where_ + cut.image()));
      check_instant(cut, may_live);
      check_recovery(std::move(cut), so_far, depth, may_live);
    });
  }

  // SIGKILL: what was written is there, unsynced; recovery runs on that, and power may fail later.
  void after_kill(disk d, const hooks& so_far) {
    d.revive();
    check_instant(d, story_.may_live);
    check_recovery(std::move(d), so_far, 0, story_.may_live);
  }

  // Invariant 1, before anything has been repaired.
  void check_instant(const disk& d, const std::set<std::string>& may_live) {
    const std::string live = live_version(d);
    expect(may_live.contains(live) || (!story_.can_exchange && live.empty()), "live is '" + live + "'");
    for (const std::string& version : story_.stays)
      expect(!complete_version(d, d.find(disk::root, version)).empty(), "lost " + version);
    for (const auto& [name, inode] : d.at(disk::root).entries)  // what has a name is complete, at every instant
      if (name != "current" && name != ".fussy" && d.at(inode).type == entry_type::directory)
        expect(!complete_version(d, inode).empty(), "incomplete " + name);
  }

  void check_recovery(disk d, hooks h, int depth, const std::set<std::string>& may_live) {
    const disk crashed = d;
    const bool was_live = live_version(d) == "v2";
    h.v2_lived |= was_live;
    const hooks before = h;
    expect(recover_on(d, h), "recovery was cut although nobody cut it");
    check_at_rest(d, may_live);
    if (depth == 0) check_hooks(d, h, before);
    const std::string live = live_version(d);
    if (was_live && depth == 0 && !story_.given_up && story_.outcome == errc::success)
      expect(live == "v2", "v2 was live and did not fail, now live is '" + live + "'");
    // What recovery says is so stays so, whatever power does next.
    for_every_cut(d, 2, [&](const disk& cut) {
      expect(live_version(cut) == live, "recovered to '" + live + "', then live is '" + live_version(cut) + "'");
    });
    // Idempotent: a second recovery finds nothing to do.
    const std::string image = d.image();
    const std::size_t calls = h.begun.size();
    d.revive();
    recover_on(d, h);
    expect(h.begun.size() == calls, "a second recovery ran hooks");
    expect(d.image() == image, "a second recovery changed something");
    if (depth < 1) check_cuts_of_recovery(crashed, before);
  }

  void check_cuts_of_recovery(const disk& crashed, const hooks& so_far) {
    disk whole = crashed;
    hooks ignored{.failing = story_.failing};
    recover_on(whole, ignored);
    if (whole.operations == 0) return;
    // All of them where recovery is short, else a sample.
    const bool all = whole.operations <= effort_.nested_exhaustive;
    for (long i = 0; i < (all ? whole.operations : effort_.nested_samples); ++i) {
      disk d = crashed;
      hooks h = so_far;
      d.cut_at = all ? i : static_cast<long>(random_() % static_cast<unsigned long>(whole.operations));
      recover_on(d, h);
      const std::string saved = where_;
      where_ += ", then recovery at operation " + std::to_string(d.cut_at);
      after_power_cuts(d, h, 2, with_failsafe());
      where_ = saved;
    }
  }

  // A version that crashed twice is not tried a third time: failsafe may be what is left.
  std::set<std::string> with_failsafe() const {
    std::set<std::string> may_live = story_.may_live;
    if (story_.stays.contains("failsafe")) may_live.insert("failsafe");
    return may_live;
  }

  void check_at_rest(const disk& d, const std::set<std::string>& may_live) {
    const std::string live = live_version(d);
    expect(may_live.contains(live), "after recovery live is '" + live + "'");
    expect(litter(d).empty(), "after recovery " + litter(d));
    for (const std::string& version : story_.stays)
      expect(!complete_version(d, d.find(disk::root, version)).empty(), "after recovery lost " + version);
  }

  // What the hooks of both versions have seen fits what is live.
  void check_hooks(const disk& d, const hooks& h, const hooks& before) {
    const auto has = [](const std::vector<std::string>& calls, const std::string& call) {
      return std::find(calls.begin(), calls.end(), call) != calls.end();
    };
    const std::string live = live_version(d);
    const int v2 = d.find(disk::root, "v2");
    const bool v2_has_hooks = v2 != 0 && d.find(v2, ".post-install") != 0;
    if (live == "v2" && v2_has_hooks && story_.failing.empty())
      expect(has(h.done, "v2 .post-install False") || has(before.begun, "v2 .post-install False"),
             "v2 is live without its .post-install");
    if (live == "v1" && has(before.begun, "v2 .pre-install False"))
      expect(has(h.begun, "v1 .post-install True"), "v1 is live again and does not know");
    // A version that never was live does not stay behind.
    if (v2 != 0 && live != "v2" && !story_.stays.contains("v2") &&
        story_.title != "a version is published and not enabled")
      expect(h.v2_lived || has(h.begun, "v2 .post-install False"), "v2 was left behind");
  }

  // Calls `look` with disks after a cut: with all of them where there are few, with a sample where there are many.
  template <class Look>
  void for_every_cut(const disk& d, int depth, Look&& look) {
    const int questions = static_cast<int>(d.open_questions());
    if (questions <= (depth == 0 ? effort_.exhaustive_questions : 2)) {
      std::vector<int> answers, limits;
      do {
        std::size_t at = 0;
        look(d.after_cut([&](disk::question q) {
          if (at == answers.size()) answers.push_back(0), limits.push_back(0);
          limits[at] = disk::answers_to(q);
          return answers[at++];
        }));
      } while (next(answers, limits));
      return;
    }
    const int samples = depth == 0 ? effort_.samples : std::max(2, effort_.samples / 8);
    look(d.after_cut([](disk::question) { return 0; }));  // everything unsynced is lost
    look(d.after_cut([](disk::question q) { return q == disk::question::change ? 1 : 0; }));  // all names, no contents
    for (int i = 2; i < samples; ++i) look(d.after_cut([&](disk::question q) { return any_answer(q); }));
  }

  int any_answer(disk::question q) { return static_cast<int>(random_() % static_cast<unsigned>(disk::answers_to(q))); }

  static bool next(std::vector<int>& answers, std::vector<int>& limits) {
    while (!answers.empty()) {
      if (++answers.back() < limits.back()) return true;
      answers.pop_back();
      limits.pop_back();
    }
    return false;
  }

  void expect(bool holds, const std::string& what) {
    if (!holds) throw violation{where_ + ": " + what};
  }

  const story& story_;
  effort effort_;
  std::function<bool(const std::string&)> mutation_;
  std::mt19937_64 random_;
  disk begin_;
  std::string where_;
  tally* tally_ = nullptr;
  std::set<std::string> sites_;
};

bool is_long() { return std::getenv("FUSSY_LONG_TESTS") != nullptr; }

}  // namespace

TEST_SUITE_BEGIN("install: power cut model");

TEST_CASE("invariants 1 to 7: power is cut at every operation of every story, and recovery finds its way") {
  tally total;
  for (const story& s : all_stories()) {
    tally t;
    CAPTURE(s.title);
    try {
      trial(s, is_long() ? thorough : normal).run(t);
    } catch (const violation& v) {
      FAIL_CHECK(v.what);
    }
    MESSAGE(s.title << ": " << t.cuts << " cuts, " << t.distinct.size() << " distinct");
    total.cuts += t.cuts;
    total.distinct.insert(t.distinct.begin(), t.distinct.end());
  }
  MESSAGE("all stories: " << total.cuts << " cuts, " << total.distinct.size() << " distinct");
  CHECK(total.distinct.size() >= 10'000);
}

TEST_CASE("mutations: without any one of its syncs and journal records, a story comes to a bad end") {
  const std::vector<story> stories = all_stories();
  std::set<std::string> sites;
  for (const story& s : stories) {
    trial t(s, quick);
    tally ignored;
    t.run(ignored);
    const auto seen = t.sites();
    sites.insert(seen.begin(), seen.end());
  }
  CHECK(sites.size() >= 8);
  for (const std::string& site : sites) {
    std::string found;
    for (const story& s : stories) {
      if (!found.empty()) break;
      try {
        tally t;
        trial(s, quick, [&](const std::string& place) { return place == site; }).run(t);
      } catch (const violation& v) {
        found = v.what;
      } catch (const error& e) {
        found = s.title + ": " + e.what();
      }
    }
    MESSAGE("without " << site << ": " << (found.empty() ? std::string("NOTHING FAILS") : found));
    CHECK_FALSE(found.empty());
  }
}

TEST_SUITE_END();
