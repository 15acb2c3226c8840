/// @file guard.hpp  Nothing but a status leaves the C ABI: every exception ends here.
#pragma once

#include <fussy/error.hpp>

#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

#include "fussy.h"

namespace fussy::capi {

constexpr int32_t status_of(errc code) noexcept { return static_cast<int32_t>(code); }

/// What an exception says, without owning memory: it is used where allocating may just have failed.
struct problem {
  int32_t status = FUSSY_OK;
  int32_t cause = FUSSY_OK;
  int32_t system_errno = 0;
  const failure_parts* parts = nullptr;  ///< valid during the handler
  const char* message = "";
};

/// Runs `body`; when it throws calls `report(problem)`, which must not throw, and returns the status.
template <class Body, class Report>
int32_t guarded(Body&& body, Report&& report) noexcept {
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
    return end({FUSSY_NO_MEMORY, FUSSY_NO_MEMORY, ENOMEM, nullptr, "out of memory; free some, then retry"});
  } catch (const std::exception& e) {
    return end({FUSSY_FAILURE, FUSSY_FAILURE, 0, nullptr, e.what()});
  } catch (...) {
    // glibc ends a cancelled thread with an exception that must go on; C++ code that swallows it aborts. A thread that
    // is cancelled inside the library is misuse, so this is only what a callback of the host threw.
    return end({FUSSY_FAILURE, FUSSY_FAILURE, 0, nullptr, "an exception of unknown type"});
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

}  // namespace fussy::capi
