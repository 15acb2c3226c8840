// How the octets of a package reach the transaction: counted, cancellable, and for a file exactly those that were
// proven.
#pragma once

#include <fussy/install.hpp>
#include <fussy/io.hpp>
#include "base/watched.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fussy::install {

/// A package in a regular file, opened once. It is read for its proof first; what is read after that is compared with
/// what was proven, block by block, before anybody sees it.
class package_file {
public:
  /// @throws not_found  missing or unreadable
  explicit package_file(const std::filesystem::path& path);

  bool is_regular() const noexcept { return regular_; }
  std::uint64_t size() const noexcept { return size_; }
  const std::string& path() const noexcept { return path_; }

  /// For the first pass, remembers a digest of each block. This object must outlive the reader.
  any_reader reader_for_proof();
  /// The first pass has come to a good end. @throws package_changed  somebody appended to the file meanwhile
  void proven();
  /// For the second pass. The reader throws package_changed instead of giving a block that was not proven.
  any_reader reader_of_proven();
  /// For one pass alone; takes the descriptor.
  any_reader reader();

  static constexpr std::size_t block_size = 256 * 1024;
  using digest = std::array<std::byte, 32>;

private:
  class block_reader;

  void rewind();
  /// Remembers the digest of a block; an empty one is the end.
  void note(std::size_t number, byte_view block);
  /// @throws package_changed  it is not the block of this number that was noted
  void compare(std::size_t number, byte_view block);

  std::string path_;
  unique_fd fd_;
  bool regular_ = false;
  std::uint64_t size_ = 0;
  std::vector<digest> digests_;  // 32 octets for 256 KiB: 256 KiB for a package of 2 GiB
};

inline bool is_about_package(errc code) noexcept { return exit_status(code) == 20 || exit_status(code) == 21; }

/// With the path of the package in what is wrong with it: who reads a log has seen many.
inline error naming(const std::string& package, const error& e) {
  if (!is_about_package(e.code()) || e.parts().what.find(package) != std::string::npos) return e;
  failure_parts parts = e.parts();
  parts.what = package + ": " + parts.what;
  if (parts.path.empty()) parts.path = package;
  return error(e.code(), std::move(parts));
}

template <class Use>
auto from_named_package(const std::filesystem::path& package, Use&& use) {
  try {
    return use();
  } catch (const error& e) {
    if (is_about_package(e.code())) throw error(naming(package.string(), e));
    throw;
  }
}

/// A package on its way, which the caller watches and may stop. @param size  0: not known
inline any_reader watched(any_reader package, phase at, std::uint64_t size, const options& how) {
  return base::watched_reader(std::move(package), {.at = at, .total = size}, how.progress, how.stop);
}

}  // namespace fussy::install
