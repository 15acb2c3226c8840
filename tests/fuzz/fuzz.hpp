// What fuzz targets share.
#pragma once

#include <fussy/bytes.hpp>
#include <fussy/error.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace fuzz {

/// An answer that is wrong, not merely a crash.
inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  std::abort();
}

/// Runs something that may refuse its input: with an error that belongs to the family of exit status 20, and says why.
template <class Run>
fussy::errc refusal_of(Run&& run) {
  try {
    run();
    return fussy::errc::success;
  } catch (const fussy::error& e) {
    require(fussy::exit_status(e.code()) == 20, e.what());
    require(!e.parts().what.empty() && !e.parts().why.empty() && !e.parts().remedy.empty(), e.what());
    return e.code();
  }
}

}  // namespace fuzz
