/// @file s2k.hpp  String-to-key: how a passphrase becomes a key (RFC 9580 section 3.7).
/// Threads: values.
/// Errors:  bad_message (damaged), unsupported.
#pragma once

#include <string_view>

#include "algorithms.hpp"
#include "wire.hpp"

namespace fussy::openpgp {

struct s2k {
  enum class kind : std::uint8_t { simple = 0, salted = 1, iterated = 3, argon2 = 4, gnu = 101 };
  kind type{};
  hash_algorithm hash{};
  byte_vector salt;
  std::size_t count = 0;                                      ///< octets to hash
  std::uint8_t passes = 0, parallelism = 0, memory_bits = 0;  ///< Argon2
  std::uint8_t gnu_mode = 0;                                  ///< 1: there is no secret; 2: it is on a card

  static s2k parse(cursor& in);
  /// @throws unsupported  also for more memory than 2 GiB.
  secret_vector derive(std::string_view passphrase, std::size_t octets) const;
};

}  // namespace fussy::openpgp
