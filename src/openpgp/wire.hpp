/// @file wire.hpp  Octets on the wire: a cursor that never reads past its end, multiprecision integers, writing, and
/// memory for secrets.
/// Threads: distinct objects are independent.
/// Errors:  cursor: bad_message when more is asked for than there is; std::bad_alloc.
#pragma once

#include <strings.h>
#include <fussy/bytes.hpp>
#include <fussy/error.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fussy::openpgp {

/// Overwrites what it gives back.
template <class T>
struct wiping_allocator {
  using value_type = T;
  wiping_allocator() = default;
  template <class U>
  wiping_allocator(const wiping_allocator<U>&) noexcept {}  // NOLINT: converting on purpose
  T* allocate(std::size_t n) { return std::allocator<T>{}.allocate(n); }
  void deallocate(T* p, std::size_t n) noexcept {
    ::explicit_bzero(p, n * sizeof(T));
    std::allocator<T>{}.deallocate(p, n);
  }
  template <class U>
  bool operator==(const wiping_allocator<U>&) const noexcept {
    return true;
  }
};
/// Octets that are overwritten before their memory is given back: secret keys, session keys.
using secret_vector = std::vector<std::byte, wiping_allocator<std::byte>>;

inline secret_vector to_secret(byte_view bytes) { return {bytes.begin(), bytes.end()}; }
inline byte_vector to_vector(byte_view bytes) { return {bytes.begin(), bytes.end()}; }

/// Without its leading zero octets.
inline byte_view without_leading_zeros(byte_view number) noexcept {
  const auto first = std::find_if(number.begin(), number.end(), [](std::byte b) { return b != std::byte{0}; });
  return number.subspan(static_cast<std::size_t>(first - number.begin()));
}
/// Number of bits of a big-endian number.
inline unsigned bit_length(byte_view number) noexcept {
  number = without_leading_zeros(number);
  if (number.empty()) return 0;
  unsigned bits = static_cast<unsigned>(number.size() - 1) * 8;
  for (unsigned top = std::to_integer<unsigned>(number[0]); top != 0; top >>= 1) ++bits;
  return bits;
}
/// A big-endian number in exactly `octets`, zeros in front. Empty when it does not fit.
template <class Vector = byte_vector>
Vector padded(byte_view number, std::size_t octets) {
  number = without_leading_zeros(number);
  if (number.size() > octets) return {};
  Vector out(octets, std::byte{0});
  std::copy(number.begin(), number.end(), out.end() - static_cast<std::ptrdiff_t>(number.size()));
  return out;
}

inline bool equal(byte_view a, byte_view b) noexcept { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

/// Reads octets in memory that somebody else owns; what it returns are views on them.
class cursor {
public:
  /// @param what  is being read, for the message of an error: "signature packet".
  explicit cursor(byte_view bytes, const char* what = "packet") noexcept : rest_(bytes), what_(what) {}

  bool empty() const noexcept { return rest_.empty(); }
  std::size_t remaining() const noexcept { return rest_.size(); }
  byte_view rest() const noexcept { return rest_; }

  byte_view take(std::size_t n) {
    if (n > rest_.size()) fail();
    const byte_view taken = rest_.first(n);
    rest_ = rest_.subspan(n);
    return taken;
  }
  byte_view take_rest() noexcept {
    const byte_view taken = rest_;
    rest_ = {};
    return taken;
  }
  std::uint8_t u8() { return static_cast<std::uint8_t>(load_be(take(1))); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(load_be(take(2))); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(load_be(take(4))); }
  std::uint64_t u64() { return load_be(take(8)); }

  /// A multiprecision integer (RFC 9580 section 3.2) without leading zero octets. The bit count may be too large, as
  /// old software writes it.
  byte_view mpi() { return without_leading_zeros(take((std::size_t{u16()} + 7) / 8)); }

  [[noreturn]] void fail() const {
    throw error(errc::bad_message, {.what = std::string("cannot read a ") + what_,
                                    .why = "it ends inside one of its fields",
                                    .remedy = "fetch or export it again"});
  }

private:
  byte_view rest_;
  const char* what_;
};

// ---- Writing: everything appends to a vector ------------------------------------------------------------------------

template <class Vector>
void put(Vector& out, byte_view bytes) {
  // Not insert(): at -O2 GCC 14 warns of an overflow in it that is none.
  const std::size_t at = out.size();
  out.resize(at + bytes.size());
  std::ranges::copy(bytes, out.begin() + static_cast<std::ptrdiff_t>(at));
}
template <class Vector>
void put_be(Vector& out, std::uint64_t value, std::size_t octets) {
  const std::size_t at = out.size();
  out.resize(at + octets);
  store_be(byte_span(out).subspan(at), value);
}
template <class Vector>
void put_u8(Vector& out, std::uint8_t value) {
  out.push_back(static_cast<std::byte>(value));
}
/// A multiprecision integer from a big-endian number.
template <class Vector>
void put_mpi(Vector& out, byte_view number) {
  number = without_leading_zeros(number);
  put_be(out, bit_length(number), 2);
  put(out, number);
}

}  // namespace fussy::openpgp
