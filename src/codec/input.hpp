/// @file input.hpp  Compressed octets as the decompressors want them: a buffer that is refilled, looked into, and given
/// back to.
#pragma once

#include <fussy/io.hpp>

#include <array>
#include <memory>

namespace fussy::codec {

/// Buffered upstream. Fixed memory: one block and a little room before it for octets that an engine took too many of.
class input {
public:
  static constexpr std::size_t block = 128 * 1024;
  static constexpr std::size_t headroom = 16;

  explicit input(any_reader upstream)
      : upstream_(std::move(upstream)), buffer_(std::make_unique_for_overwrite<std::byte[]>(headroom + block)) {}

  /// What is buffered; refilled when nothing is. Empty only at the end.
  byte_view peek() {
    if (first_ == last_ && !ended_) {
      first_ = headroom;
      last_ = headroom + upstream_.read({buffer_.get() + headroom, block});
      ended_ = first_ == last_;
    }
    return {buffer_.get() + first_, last_ - first_};
  }

  void consume(std::size_t n) noexcept { first_ += n; }

  /// Puts back the last octets consumed, at most `headroom` since the last peek().
  void give_back(byte_view octets) noexcept {
    first_ -= octets.size();
    std::copy(octets.begin(), octets.end(), buffer_.get() + first_);
  }

  /// Up to `n` octets (at most 8) without using them up; fewer only at the end.
  struct head {
    std::array<std::byte, 8> octets = {};
    std::size_t size = 0;
    operator byte_view() const noexcept { return byte_view(octets).first(size); }  // NOLINT: it is one
  };
  head look(std::size_t n) {
    head seen;
    std::uint8_t octet = 0;
    while (seen.size < n && next(octet)) seen.octets[seen.size++] = static_cast<std::byte>(octet);
    give_back(seen);
    return seen;
  }

  /// The next octet. @return false at the end.
  bool next(std::uint8_t& octet) {
    const byte_view have = peek();
    if (have.empty()) return false;
    octet = std::to_integer<std::uint8_t>(have[0]);
    consume(1);
    return true;
  }

private:
  any_reader upstream_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t first_ = headroom, last_ = headroom;
  bool ended_ = false;
};

}  // namespace fussy::codec
