/// @file botan_seam.hpp  Where Botan 2.19 and Botan 3 differ, in one place: names, constructors of keys.
/// Threads: functions without state; random() is shared and safe.
/// Errors:  unsupported for what the Botan at hand lacks; Botan's exceptions for values that make no key.
#pragma once

#include <botan/bigint.h>
#include <botan/cipher_mode.h>
#include <botan/pk_keys.h>
#include <botan/rng.h>
#include <botan/version.h>

#include <memory>
#include <string>
#include <vector>

#include "key.hpp"

namespace fussy::openpgp::seam {

using direction = Botan::Cipher_Dir;
#if BOTAN_VERSION_MAJOR >= 3
inline constexpr auto encrypting = Botan::Cipher_Dir::Encryption;
inline constexpr auto decrypting = Botan::Cipher_Dir::Decryption;
#else
inline constexpr auto encrypting = Botan::ENCRYPTION;
inline constexpr auto decrypting = Botan::DECRYPTION;
#endif

/// Botan's name of a hash.
const char* hash_name(hash_algorithm algorithm) noexcept;

/// The system's generator.
Botan::RandomNumberGenerator& random();

/// This Botan has the algorithm and the curve.
bool supports(const public_key& key) noexcept;
/// Why nothing can be done with the key: its own reason, or "unsupported algorithm: Botan 2.19.3 has no Ed448". Empty
/// when something can.
std::string objection(const public_key& key);
std::unique_ptr<Botan::Public_Key> load(const public_key& key);
std::unique_ptr<Botan::Private_Key> load(const secret_key& key);
/// Ed25519 from its seed of 32 octets.
std::unique_ptr<Botan::Private_Key> ed25519_from(const Botan::secure_vector<std::uint8_t>& seed);

/// A fresh key for key agreement with `recipient` (ECDH, X25519, X448).
std::unique_ptr<Botan::Private_Key> ephemeral_for(const public_key& recipient);
/// Its public value: SEC1 point or native octets.
std::vector<std::uint8_t> public_value(const Botan::Private_Key& key);
/// The raw shared secret: the x coordinate in the size of the field, or the native octets.
Botan::secure_vector<std::uint8_t> agree(const Botan::Private_Key& key, const std::vector<std::uint8_t>& peer);

/// HKDF (RFC 5869).
Botan::secure_vector<std::uint8_t> hkdf(hash_algorithm hash, byte_view input, byte_view salt, byte_view info,
                                        std::size_t size);

inline Botan::BigInt number(byte_view big_endian) { return Botan::BigInt(as_uint8(big_endian), big_endian.size()); }

}  // namespace fussy::openpgp::seam
