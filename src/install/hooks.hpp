// Running a hook script: its environment, its time, its output.
#pragma once

#include <fussy/install/enable.hpp>

#include <chrono>

namespace fussy::install {

/// A hook_runner on processes. Output goes to `sink` line by line; the last lines are in the error.
hook_runner run_hooks(std::chrono::milliseconds timeout, log_sink sink);

}  // namespace fussy::install
