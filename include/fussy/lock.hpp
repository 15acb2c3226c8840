/// @file lock.hpp  Locks between processes.
/// Threads and errors: see lock/guard.hpp.
#pragma once

#include <fussy/lock/guard.hpp>
