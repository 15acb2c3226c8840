/// @file guard.hpp  Nothing but a status leaves the C ABI: every exception ends here.
#pragma once

#include <pthread.h>
#include <fussy/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <system_error>
#include <utility>

#include "fussy.h"

namespace fussy::capi {

constexpr int32_t status_of(errc code) noexcept { return static_cast<int32_t>(code); }

/// What an exception says, without owning memory: it is used where allocating may just have failed.
struct problem {
  int32_t status = FUSSY_OK;
  int32_t cause = FUSSY_OK;
  int32_t system_errno = 0;
  const failure_parts* parts = nullptr;  ///< valid while it is reported
  const char* message = "";
};

/// While it lives, pthread_cancel(3) of this thread waits: glibc cancels with an exception of its own kind, which no
/// destructor or noexcept function of ours could survive.
class no_cancellation {
public:
  no_cancellation() noexcept { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  no_cancellation(const no_cancellation&) = delete;
  no_cancellation& operator=(const no_cancellation&) = delete;
  ~no_cancellation() { pthread_setcancelstate(before_, nullptr); }

private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

/// Runs `body`; when it throws calls `report(problem)`, which must not throw, and returns the status.
template <class Body, class Report>
int32_t guarded(Body&& body, Report&& report) noexcept {
  const no_cancellation calm;
  const auto end = [&](const problem& p) noexcept {
    report(p);
    return p.status;
  };
  try {
    std::forward<Body>(body)();
    return FUSSY_OK;
  } catch (const error& e) {
    return end({status_of(e.code()), status_of(e.cause()), e.parts().system, &e.parts(), e.what()});
  } catch (const std::bad_alloc&) {
    return end({FUSSY_NO_MEMORY, FUSSY_NO_MEMORY, ENOMEM, nullptr, "memory ran out; free some, then retry"});
  } catch (const std::system_error& e) {  // of std::thread, most of all
    const int number = e.code().value();
    const int32_t status = number == EAGAIN ? FUSSY_RESOURCE_LIMIT : status_of(errc_of_errno(number));
    return end({status, status, number, nullptr, e.what()});
  } catch (const std::exception& e) {
    return end({FUSSY_FAILURE, FUSSY_FAILURE, 0, nullptr, e.what()});
  } catch (...) {
    return end({FUSSY_FAILURE, FUSSY_FAILURE, 0, nullptr, "a callback threw something that is no std::exception"});
  }
}

/// Copies into a fixed buffer, terminated, cut at a whole UTF-8 character.
template <std::size_t N>
void copy_text(char (&to)[N], std::string_view from) noexcept {
  std::size_t n = from.size() < N ? from.size() : N - 1;
  if (n < from.size()) {
    while (n > 0 && (static_cast<unsigned char>(from[n]) & 0xc0) == 0x80) --n;
  }
  std::memcpy(to, from.data(), n);
  to[n] = '\0';
}

/// The size a struct had in the version that brought it; what a caller with `size` 0 gets. Never changed: when a struct
/// grows, its first size is written here as a number.
template <class Struct>
inline constexpr uint32_t first_size = sizeof(Struct);

/// Hands out as much of `full` as the caller's struct has room for.
template <class Struct>
void publish(Struct* to, Struct& full) noexcept {
  if (to == nullptr) return;
  const uint32_t room = to->size == 0 ? first_size<Struct> : to->size;
  full.size = std::min<uint32_t>(room, sizeof(Struct));
  std::memcpy(to, &full, full.size);
}

inline void describe(fussy_report& to, const problem& p) noexcept {
  to.status = p.status;
  to.cause = p.cause;
  to.system_errno = p.system_errno;
  copy_text(to.message, p.message);
  if (p.parts == nullptr) return;
  copy_text(to.remedy, p.parts->remedy);
  copy_text(to.path, p.parts->path);
  copy_text(to.version, p.parts->version);
  copy_text(to.previous, p.parts->live);
  // The end of the output says why a hook failed.
  std::string_view output = p.parts->output;
  if (output.size() >= sizeof to.output) output.remove_prefix(output.size() - sizeof to.output + 1);
  copy_text(to.output, output);
}

[[noreturn]] inline void refuse(const char* function, const char* why, const char* remedy) {
  throw error(errc::usage, {.what = std::string("wrong call of ") + function, .why = why, .remedy = remedy});
}

/// A time of the host; what is longer than a century is a century, so that no clock overflows.
inline std::chrono::milliseconds milliseconds(uint64_t count) {
  constexpr auto longest = static_cast<uint64_t>(std::chrono::milliseconds(std::chrono::hours(24 * 365 * 100)).count());
  return std::chrono::milliseconds(std::min(count, longest));
}

}  // namespace fussy::capi
