// What other libraries do with the same task; only those that Meson found are built.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Gives blocks until so many octets are given.
struct generator {
  std::uint64_t left;
  std::string block = std::string(128 * 1024, 'x');
  std::optional<std::string_view> operator()() {
    if (left == 0) return std::nullopt;
    const std::size_t n = std::min<std::uint64_t>(left, block.size());
    left -= n;
    return std::string_view(block).substr(0, n);
  }
};

namespace through_boost {
/// generator | cat, collected, with asynchronous pipes on one io_context. @return octets that came out.
std::size_t collect(std::uint64_t octets);
/// Starts and reaps /bin/true.
void run_true(int times);
}  // namespace through_boost

namespace through_libpipeline {
// It takes SIGCHLD and waits for any child of its host, so each of these runs in a process of its own.
bool collect(std::uint64_t octets);
void run_true(int times);
}  // namespace through_libpipeline
