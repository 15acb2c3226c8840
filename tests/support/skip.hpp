// What cannot be tested on this machine is said, and counted as skipped by tests/support/summary.py, which names it.
#pragma once

#include <doctest/doctest.h>

#include <string>

namespace test {

/// The rest of the test case is left out: `if (!is_root()) return test::skip("needs root");`
inline void skip(const std::string& why) { MESSAGE("SKIPPED: " << why); }

/// A part of it is, such as a subcase or one file system of several; the case still counts as what it comes to.
inline void skip_part(const std::string& why) { MESSAGE("SKIPPED in part: " << why); }

}  // namespace test
