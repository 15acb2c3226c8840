// Locks of cron jobs.
#include <fussy/lock.hpp>

#include <optional>

#include "guard.hpp"

using namespace fussy;
using namespace fussy::capi;

struct fussy_lock {
  fussy_lock(const char* file, std::chrono::milliseconds wait) : lock(file, wait) { lock.lock(); }
  ~fussy_lock() { lock.unlock(); }
  blocking_lock lock;
};

int32_t fussy_lock_acquire(const char* file, uint64_t wait, fussy_lock** lock, fussy_report* report) {
  fussy_report full = FUSSY_REPORT_INIT;
  const int32_t status = guarded(
      [&] {
        if (file == nullptr || *file == '\0') refuse("fussy_lock_acquire", "there is no file", "pass a path");
        if (lock == nullptr) refuse("fussy_lock_acquire", "there is nowhere to put the lock", "pass a fussy_lock**");
        *lock = new fussy_lock(file, milliseconds(wait));
        copy_text(full.path, file);
      },
      [&](const problem& p) { describe(full, p); });
  publish(report, full);
  return status;
}

int32_t fussy_lock_set_timeout(fussy_lock* lock, uint64_t count) {
  if (lock == nullptr) return FUSSY_USAGE;
  return guarded(
      [&] {
        if (count == 0) return lock->lock.clear_timeout();
        // A library does not end the process of its host: no last resort.
        lock->lock.set_timeout(milliseconds(count), {.grace = {}, .last_resort = {}});
      },
      [](const problem&) {});
}

int32_t fussy_lock_check(const fussy_lock* lock) {
  if (lock == nullptr) return FUSSY_USAGE;
  return guarded([&] { lock->lock.check_timeout(); }, [](const problem&) {});
}

void fussy_lock_release(fussy_lock* lock) { delete lock; }
