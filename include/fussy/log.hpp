/// @file log.hpp  Where the library says what it does: a callback of the host. Without one it is silent.
/// Threads: a sink is called from the thread that runs the operation; never from two threads at once for one operation.
/// Errors:  a sink should not throw; what it throws ends the operation like any other failure.
#pragma once

#include <functional>
#include <string_view>

namespace fussy {

enum class log_level : int { debug = 10, info = 20, warning = 30, error = 40 };

constexpr const char* name(log_level level) noexcept {
  switch (level) {
    case log_level::debug: return "DEBUG";
    case log_level::info: return "INFO";
    case log_level::warning: return "WARNING";
    case log_level::error: return "ERROR";
  }
  return "INFO";
}

/// `line` has no newline at its end and is valid during the call.
using log_sink = std::function<void(log_level, std::string_view line)>;

inline void log(const log_sink& sink, log_level level, std::string_view line) {
  if (sink) sink(level, line);
}

}  // namespace fussy
