// Proof 2 on the simulated disk: every call of the store fails once, reads included, in every story.
#include <doctest/doctest.h>

#include <cstdlib>

#include "scenarios.hpp"
#include "support/instrumented.hpp"

using namespace simulation;

namespace {

struct ending {
  errc code = errc::success;
  std::vector<std::string> log;
};

ending act(const story& s, disk& d, hooks& h) {
  ending e;
  simulated_store st(d);
  st.count_reads = true;
  try {
    s.act(st, {.hooks = h.on(d), .log = [&](fussy::log_level, std::string_view line) { e.log.emplace_back(line); }});
  } catch (const error& problem) {
    e.code = problem.code();
  }
  return e;
}

}  // namespace

TEST_SUITE_BEGIN("install: faults");

TEST_CASE("every call of the store fails once, with every errno: the end is one that is documented") {
  long faults = 0, residue = 0;
  for (const story& s : all_stories()) {
    CAPTURE(s.title);
    disk begin;
    begin.can_exchange = s.can_exchange;
    simulated_store st(begin);
    s.before(st);
    begin.sync_all();
    begin.revive();
    disk whole = begin;
    hooks ignored{.failing = s.failing};
    act(s, whole, ignored);
    for (long n = 0; n < whole.operations; ++n) {
      for (const int number :
           {EIO, ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EROFS, EACCES, EPERM, EMLINK, ELOOP, EBUSY}) {
        // Forty times as slow with sanitizers: there each call fails in a few of the ways, the next call in others.
        if (instrumented && (n + number) % 4 != 0) continue;
        CAPTURE(n);
        CAPTURE(number);
        disk d = begin;
        hooks h{.failing = s.failing};
        d.fault_at = n;
        d.fault_errno = number;
        const ending e = act(s, d, h);
        ++faults;
        const std::string live = live_version(d);
        CAPTURE(live);
        CAPTURE(std::string(name(e.code)));
        std::set<std::string> may_live = s.may_live;
        if (s.stays.contains("failsafe")) may_live.insert("failsafe");
        CHECK(may_live.contains(live));
        // Success is what was asked for; `reverted` has something else live; any other failure changed nothing.
        if (e.code == errc::success) CHECK(live == s.live);
        if (e.code == errc::reverted) CHECK((live != "v2" && live != ""));
        if ((s.live == "v2" || s.live == "v2-1") && s.outcome == errc::success && !s.given_up &&
            e.code != errc::success && e.code != errc::reverted && e.code != errc::unrecoverable)
          CHECK(live != s.live);
        for (const std::string& version : s.stays) CHECK(!complete_version(d, d.find(disk::root, version)).empty());
        // One failing call never makes a device that could go back unable to do so.
        if (s.outcome == errc::success && may_live.contains("v1")) CHECK(e.code != errc::unrecoverable);
        residue += !litter(d).empty();
        d.revive();
        hooks after{.failing = s.failing};
        basic_transaction<simulated_store>(simulated_store(d), {.hooks = after.on(d)});
        CHECK(litter(d) == "");
        CHECK(may_live.contains(live_version(d)));
      }
    }
  }
  MESSAGE(faults << " faults; " << residue << " left something for recovery to remove");
  CHECK(faults > (instrumented ? 5'000 : 10'000));
}

TEST_SUITE_END();
