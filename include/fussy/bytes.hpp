/// @file bytes.hpp  Octets: views, text conversion, big-endian numbers, hexadecimal.
/// Threads: free functions without state.
/// Errors:  none; a caller checks sizes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fussy {

using byte_view = std::span<const std::byte>;
using byte_span = std::span<std::byte>;
using byte_vector = std::vector<std::byte>;

inline byte_view as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline byte_view as_bytes(const std::uint8_t* data, std::size_t size) noexcept {
  return {reinterpret_cast<const std::byte*>(data), size};
}
/// The same octets as text; valid as long as they are.
inline std::string_view as_text(byte_view bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline const std::uint8_t* as_uint8(byte_view bytes) noexcept {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}
inline std::uint8_t* as_uint8(byte_span bytes) noexcept { return reinterpret_cast<std::uint8_t*>(bytes.data()); }

/// A big-endian unsigned number of as many octets as `bytes` has, at most 8.
constexpr std::uint64_t load_be(byte_view bytes) noexcept {
  std::uint64_t value = 0;
  for (std::byte b : bytes) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}
/// Writes the low octets of `value`, big-endian, over all of `out`.
constexpr void store_be(byte_span out, std::uint64_t value) noexcept {
  for (std::size_t i = out.size(); i-- > 0; value >>= 8) out[i] = static_cast<std::byte>(value & 0xff);
}

inline std::string to_hex(byte_view bytes, bool upper = true) {
  const char* digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    text += digits[std::to_integer<unsigned>(b) >> 4];
    text += digits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

}  // namespace fussy
