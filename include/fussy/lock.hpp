/// @file lock.hpp  Locks for jobs of which only one may run at a time, and a limit on how long one may run.
///
///     fussy::with_lock("backup.lock", {.timeout = 20min}, [](std::stop_token stop) { … });
///
///     fussy::cron_lock lock("/run/backup.lock");
///     std::unique_lock holding(lock);   // throws `busy` when another process holds it
///     lock.set_timeout(20min);          // from this moment; the lock need not be held for it
///
/// What a lock promises and what it does not: lock/guard.hpp. What a time limit does: lock/time_limit.hpp.
///
/// Threads: the locks may be used from several threads, like a std::mutex; of these, too, at most one holds it.
/// Errors:  fussy::error, see each function.
#pragma once

#include <fussy/error.hpp>
#include <fussy/lock/guard.hpp>
#include <fussy/lock/time_limit.hpp>

#include <chrono>
#include <concepts>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

namespace fussy {

namespace detail {

/// What cron_lock and blocking_lock share; they differ in how long lock() waits.
template <class Rules>
class lockable_file {
public:
  lockable_file(std::filesystem::path file, std::chrono::milliseconds wait, mode_t mode)
      : file_(std::move(file)), wait_(wait), mode_(mode) {}
  lockable_file(const lockable_file&) = delete;
  lockable_file& operator=(const lockable_file&) = delete;

  /// @throws busy  another process holds it, still when the longest wait is over
  /// @throws already_held  this process does    @throws timeout  the thread's deadline ended the wait
  /// @throws not_found, io, usage  the file cannot be opened
  void lock() { keep(basic_flock_guard<Rules>(file_, {.wait = wait_, .stop = {}, .mode = mode_})); }
  /// False when somebody holds it, be it another process or this one; throws as lock() does else.
  bool try_lock() {
    auto guard = basic_flock_guard<Rules>::try_lock(file_, mode_);
    if (!guard) return false;
    keep(std::move(*guard));
    return true;
  }
  void unlock() noexcept {
    std::optional<basic_flock_guard<Rules>> released;
    std::lock_guard hold(mutex_);
    if (guard_) released.emplace(std::move(*guard_));
    guard_.reset();
  }

  /// Limits the time of what this thread does from now on, whether or not the lock is held, until clear_timeout() or
  /// the end of this object; what was set before is replaced.
  template <class Rep, class Period>
  void set_timeout(std::chrono::duration<Rep, Period> limit, const time_limit_options& options = {}) {
    replace_limit(std::make_shared<const time_limit>(limit, options));
  }
  void clear_timeout() noexcept { replace_limit(nullptr); }
  /// Of the timeout that is set; of none, a token that is never asked to stop.
  std::stop_token stop_token() const noexcept {
    const auto limit = current_limit();
    return limit ? limit->token() : std::stop_token();
  }
  /// @throws timeout  when the time set is over
  void check_timeout() const {
    if (const auto limit = current_limit()) limit->check();
  }

  const std::filesystem::path& path() const noexcept { return file_; }

protected:
  ~lockable_file() = default;
  basic_flock_guard<Rules> take(std::chrono::milliseconds wait) {
    return basic_flock_guard<Rules>(file_, {.wait = wait, .stop = {}, .mode = mode_});
  }
  void keep(basic_flock_guard<Rules> guard) {
    std::lock_guard hold(mutex_);
    guard_.emplace(std::move(guard));
  }

private:
  std::shared_ptr<const time_limit> current_limit() const noexcept {
    std::lock_guard hold(mutex_);
    return limit_;
  }
  void replace_limit(std::shared_ptr<const time_limit> limit) noexcept {
    {
      std::lock_guard hold(mutex_);
      limit_.swap(limit);
    }  // the old one ends here, outside the mutex: a callback of its token may be asking us
  }

  const std::filesystem::path file_;
  const std::chrono::milliseconds wait_;
  const mode_t mode_;
  mutable std::mutex mutex_;  // for the members; never held while waiting for the file
  std::optional<basic_flock_guard<Rules>> guard_;
  std::shared_ptr<const time_limit> limit_;
};

}  // namespace detail

/// For a job that had better not start at all while another one runs: lock() does not wait. Meets BasicLockable and
/// Lockable, so std::unique_lock and std::scoped_lock work with it.
class cron_lock : public detail::lockable_file<lock_rules> {
public:
  explicit cron_lock(std::filesystem::path file, mode_t mode = 0644)
      : lockable_file(std::move(file), std::chrono::milliseconds(0), mode) {}
};

/// For work that takes turns: lock() waits up to `longest`, then throws `busy`. Meets TimedLockable in addition.
class blocking_lock : public detail::lockable_file<lock_rules> {
public:
  explicit blocking_lock(std::filesystem::path file, std::chrono::milliseconds longest = std::chrono::seconds(5),
                         mode_t mode = 0644)
      : lockable_file(std::move(file), longest, mode) {}

  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> wait) {
    return try_lock_until(deadline_after(wait));
  }
  template <class Clock, class Duration>
  bool try_lock_until(std::chrono::time_point<Clock, Duration> until) {
    try {
      keep(take(std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now())));
      return true;
    } catch (const error& e) {
      if (e.code() == errc::busy || e.code() == errc::already_held) return false;
      throw;
    }
  }
};

struct with_lock_options {
  /// Where the lock file is; empty means the system's directory for temporary files. A name that is an absolute path
  /// needs none.
  std::filesystem::path directory{};
  /// Longest wait for the lock.
  std::chrono::milliseconds wait{0};
  /// For the function, from the moment it has the lock; zero means none.
  std::chrono::milliseconds timeout{0};
  /// What happens when it does not stop in time.
  time_limit_options at_timeout{};
  mode_t mode = 0644;
};

namespace detail {

inline std::filesystem::path path_of_lock(const std::filesystem::path& name, const with_lock_options& options) {
  if (!options.directory.empty() || name.is_absolute()) return options.directory / name;
  std::error_code problem;
  const auto directory = std::filesystem::temp_directory_path(problem);
  if (problem)
    throw error(errc::not_found, {.what = "cannot lock " + name.string(),
                                  .why = "there is no directory for temporary files: " + problem.message(),
                                  .remedy = "name the directory for the lock file, or set TMPDIR",
                                  .path = name.string()});
  return directory / name;
}

template <class Function>
decltype(auto) call_with_token(Function&& function, [[maybe_unused]] std::stop_token token) {
  if constexpr (std::invocable<Function, std::stop_token>)
    return std::invoke(std::forward<Function>(function), std::move(token));
  else
    return std::invoke(std::forward<Function>(function));
}

/// The time counts as exceeded even when the function came to an end after it: it was asked to stop, and nobody can
/// tell a result that is whole from one that was cut short.
template <class Function>
auto call_in_time(Function&& function, const with_lock_options& options) {
  if (options.timeout <= std::chrono::milliseconds(0)) return call_with_token(std::forward<Function>(function), {});
  const time_limit limit(options.timeout, options.at_timeout);
  if constexpr (std::is_void_v<decltype(call_with_token(std::forward<Function>(function), {}))>) {
    call_with_token(std::forward<Function>(function), limit.token());
    limit.check();
  } else {
    auto result = call_with_token(std::forward<Function>(function), limit.token());
    limit.check();
    return result;
  }
}

}  // namespace detail

/// Calls `function` while it holds the lock `name`, and returns what it returns (by value). The function may take a
/// std::stop_token.
/// @throws busy, already_held  the function was not called
/// @throws timeout  the time was over before the function had ended; or before the lock was free, for a thread's
/// deadline and whatever the function throws.
template <class Function>
auto with_lock(const std::filesystem::path& name, const with_lock_options& options, Function&& function) {
  const flock_guard guard(detail::path_of_lock(name, options),
                          {.wait = options.wait, .stop = {}, .mode = options.mode});
  return detail::call_in_time(std::forward<Function>(function), options);
}

template <class Function>
auto with_lock(const std::filesystem::path& name, Function&& function) {
  return with_lock(name, with_lock_options{}, std::forward<Function>(function));
}

/// As with_lock(), for whom a busy lock is no failure: returns what the function returned, in an optional that is empty
/// when the lock was busy or already held; for a function that returns nothing, whether it was called.
template <class Function>
auto try_with_lock(const std::filesystem::path& name, const with_lock_options& options, Function&& function) {
  using result = decltype(detail::call_in_time(std::forward<Function>(function), options));
  using answer = std::conditional_t<std::is_void_v<result>, bool,
                                    std::optional<std::conditional_t<std::is_void_v<result>, char, result>>>;
  blocking_lock lock(detail::path_of_lock(name, options), options.wait, options.mode);
  if (!lock.try_lock_for(options.wait)) return answer();
  std::lock_guard holding(lock, std::adopt_lock);
  if constexpr (std::is_void_v<result>) {
    detail::call_in_time(std::forward<Function>(function), options);
    return true;
  } else {
    return answer(detail::call_in_time(std::forward<Function>(function), options));
  }
}

}  // namespace fussy
