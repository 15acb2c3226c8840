/// @file algorithms.hpp  The numbers OpenPGP gives to algorithms (RFC 9580 section 9), their names and their sizes.
/// Threads: constants and functions without state.
/// Errors:  none. A number that is not listed is no error here: name() says "unknown", sizes are 0.
#pragma once

#include <fussy/bytes.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace fussy::openpgp {

enum class public_key_algorithm : std::uint8_t {
  rsa = 1,
  rsa_encrypt_only = 2,
  rsa_sign_only = 3,
  elgamal = 16,  ///< encryption only
  dsa = 17,
  ecdh = 18,  ///< over the curves of curve_id
  ecdsa = 19,
  eddsa_legacy = 22,  ///< Ed25519 as GnuPG writes it
  x25519 = 25,
  x448 = 26,
  ed25519 = 27,
  ed448 = 28,
};

enum class hash_algorithm : std::uint8_t {
  none = 0,
  md5 = 1,
  sha1 = 2,
  ripemd160 = 3,
  sha256 = 8,
  sha384 = 9,
  sha512 = 10,
  sha224 = 11,
  sha3_256 = 12,
  sha3_512 = 14,
};

enum class symmetric_algorithm : std::uint8_t {
  plaintext = 0,
  idea = 1,
  triple_des = 2,
  cast5 = 3,
  blowfish = 4,
  aes128 = 7,
  aes192 = 8,
  aes256 = 9,
  twofish = 10,
  camellia128 = 11,
  camellia192 = 12,
  camellia256 = 13,
};

enum class aead_algorithm : std::uint8_t { eax = 1, ocb = 2, gcm = 3 };

enum class compression_algorithm : std::uint8_t { none = 0, zip = 1, zlib = 2, bzip2 = 3 };

enum class curve_id : std::uint8_t {
  none,
  p256,
  p384,
  p521,
  brainpool256,
  brainpool384,
  brainpool512,
  secp256k1,
  ed25519,
  curve25519,
};

constexpr const char* name(compression_algorithm a) noexcept {
  switch (a) {
    case compression_algorithm::none:
      return "none";
    case compression_algorithm::zip:
      return "ZIP";
    case compression_algorithm::zlib:
      return "ZLIB";
    case compression_algorithm::bzip2:
      return "BZip2";
  }
  return "unknown";
}

constexpr bool is_rsa(public_key_algorithm a) noexcept {
  return a == public_key_algorithm::rsa || a == public_key_algorithm::rsa_encrypt_only ||
         a == public_key_algorithm::rsa_sign_only;
}
/// A key of this algorithm can make signatures.
constexpr bool signs(public_key_algorithm a) noexcept {
  using enum public_key_algorithm;
  return a == rsa || a == rsa_sign_only || a == dsa || a == ecdsa || a == eddsa_legacy || a == ed25519 || a == ed448;
}
/// A session key can be encrypted for a key of this algorithm.
constexpr bool encrypts(public_key_algorithm a) noexcept {
  using enum public_key_algorithm;
  return a == rsa || a == rsa_encrypt_only || a == elgamal || a == ecdh || a == x25519 || a == x448;
}

constexpr const char* name(public_key_algorithm a) noexcept {
  switch (a) {
    case public_key_algorithm::rsa:
      return "RSA";
    case public_key_algorithm::rsa_encrypt_only:
      return "RSA";
    case public_key_algorithm::rsa_sign_only:
      return "RSA";
    case public_key_algorithm::elgamal:
      return "ElGamal";
    case public_key_algorithm::dsa:
      return "DSA";
    case public_key_algorithm::ecdh:
      return "ECDH";
    case public_key_algorithm::ecdsa:
      return "ECDSA";
    case public_key_algorithm::eddsa_legacy:
      return "EdDSA";
    case public_key_algorithm::x25519:
      return "X25519";
    case public_key_algorithm::x448:
      return "X448";
    case public_key_algorithm::ed25519:
      return "Ed25519";
    case public_key_algorithm::ed448:
      return "Ed448";
  }
  return "unknown";
}

/// As RFC 9580 writes it, which is also what Botan calls it (but for RIPEMD-160 and SHA-3, see crypto.cpp).
constexpr const char* name(hash_algorithm a) noexcept {
  switch (a) {
    case hash_algorithm::none:
      return "none";
    case hash_algorithm::md5:
      return "MD5";
    case hash_algorithm::sha1:
      return "SHA-1";
    case hash_algorithm::ripemd160:
      return "RIPEMD-160";
    case hash_algorithm::sha256:
      return "SHA-256";
    case hash_algorithm::sha384:
      return "SHA-384";
    case hash_algorithm::sha512:
      return "SHA-512";
    case hash_algorithm::sha224:
      return "SHA-224";
    case hash_algorithm::sha3_256:
      return "SHA3-256";
    case hash_algorithm::sha3_512:
      return "SHA3-512";
  }
  return "unknown";
}

constexpr std::size_t digest_octets(hash_algorithm a) noexcept {
  switch (a) {
    case hash_algorithm::none:
      return 0;
    case hash_algorithm::md5:
      return 16;
    case hash_algorithm::sha1:
    case hash_algorithm::ripemd160:
      return 20;
    case hash_algorithm::sha224:
      return 28;
    case hash_algorithm::sha256:
    case hash_algorithm::sha3_256:
      return 32;
    case hash_algorithm::sha384:
      return 48;
    case hash_algorithm::sha512:
    case hash_algorithm::sha3_512:
      return 64;
  }
  return 0;
}
/// Octets of salt a v6 signature with this hash has; 0 where v6 does not allow the hash (RFC 9580 table 23).
constexpr std::size_t salt_octets(hash_algorithm a) noexcept {
  switch (a) {
    case hash_algorithm::sha224:
    case hash_algorithm::sha256:
    case hash_algorithm::sha3_256:
      return 16;
    case hash_algorithm::sha384:
      return 24;
    case hash_algorithm::sha512:
    case hash_algorithm::sha3_512:
      return 32;
    default:
      return 0;
  }
}
/// Its collisions can be computed, or soon can: never for what somebody else has chosen the content of.
constexpr bool is_broken(hash_algorithm a) noexcept {
  return a == hash_algorithm::md5 || a == hash_algorithm::sha1 || a == hash_algorithm::ripemd160;
}

constexpr const char* name(symmetric_algorithm a) noexcept {
  switch (a) {
    case symmetric_algorithm::plaintext:
      return "plaintext";
    case symmetric_algorithm::idea:
      return "IDEA";
    case symmetric_algorithm::triple_des:
      return "TripleDES";
    case symmetric_algorithm::cast5:
      return "CAST-128";
    case symmetric_algorithm::blowfish:
      return "Blowfish";
    case symmetric_algorithm::aes128:
      return "AES-128";
    case symmetric_algorithm::aes192:
      return "AES-192";
    case symmetric_algorithm::aes256:
      return "AES-256";
    case symmetric_algorithm::twofish:
      return "Twofish";
    case symmetric_algorithm::camellia128:
      return "Camellia-128";
    case symmetric_algorithm::camellia192:
      return "Camellia-192";
    case symmetric_algorithm::camellia256:
      return "Camellia-256";
  }
  return "unknown";
}
/// 0: not a cipher that a session key can be for.
constexpr std::size_t key_octets(symmetric_algorithm a) noexcept {
  switch (a) {
    case symmetric_algorithm::plaintext:
      return 0;
    case symmetric_algorithm::idea:
    case symmetric_algorithm::cast5:
    case symmetric_algorithm::blowfish:
    case symmetric_algorithm::aes128:
    case symmetric_algorithm::camellia128:
      return 16;
    case symmetric_algorithm::triple_des:
    case symmetric_algorithm::aes192:
    case symmetric_algorithm::camellia192:
      return 24;
    case symmetric_algorithm::aes256:
    case symmetric_algorithm::twofish:
    case symmetric_algorithm::camellia256:
      return 32;
  }
  return 0;
}
constexpr std::size_t block_octets(symmetric_algorithm a) noexcept {
  switch (a) {
    case symmetric_algorithm::idea:
    case symmetric_algorithm::triple_des:
    case symmetric_algorithm::cast5:
    case symmetric_algorithm::blowfish:
      return 8;
    default:
      return key_octets(a) == 0 ? 0 : 16;
  }
}

constexpr const char* name(aead_algorithm a) noexcept {
  switch (a) {
    case aead_algorithm::eax:
      return "EAX";
    case aead_algorithm::ocb:
      return "OCB";
    case aead_algorithm::gcm:
      return "GCM";
  }
  return "unknown";
}
constexpr std::size_t nonce_octets(aead_algorithm a) noexcept {
  switch (a) {
    case aead_algorithm::eax:
      return 16;
    case aead_algorithm::ocb:
      return 15;
    case aead_algorithm::gcm:
      return 12;
  }
  return 0;
}
inline constexpr std::size_t aead_tag_octets = 16;

/// What is known of a curve. `oid` is the DER encoding without tag and length (RFC 9580 section 9.2).
struct curve_info {
  curve_id id;
  std::string_view oid;
  const char* name;        ///< as gpg prints it
  const char* agent_name;  ///< as gpg-agent writes it into private-keys-v1.d
  const char* botan_name;  ///< of its group; null: no Weierstrass curve
  unsigned bits;           ///< of the field
  constexpr std::size_t field_octets() const noexcept { return (bits + 7) / 8; }
};

inline constexpr std::array<curve_info, 9> curves{{
    {curve_id::p256, {"\x2A\x86\x48\xCE\x3D\x03\x01\x07", 8}, "nistp256", "NIST P-256", "secp256r1", 256},
    {curve_id::p384, {"\x2B\x81\x04\x00\x22", 5}, "nistp384", "NIST P-384", "secp384r1", 384},
    {curve_id::p521, {"\x2B\x81\x04\x00\x23", 5}, "nistp521", "NIST P-521", "secp521r1", 521},
    {curve_id::brainpool256,
     {"\x2B\x24\x03\x03\x02\x08\x01\x01\x07", 9},
     "brainpoolP256r1",
     "brainpoolP256r1",
     "brainpool256r1",
     256},
    {curve_id::brainpool384,
     {"\x2B\x24\x03\x03\x02\x08\x01\x01\x0B", 9},
     "brainpoolP384r1",
     "brainpoolP384r1",
     "brainpool384r1",
     384},
    {curve_id::brainpool512,
     {"\x2B\x24\x03\x03\x02\x08\x01\x01\x0D", 9},
     "brainpoolP512r1",
     "brainpoolP512r1",
     "brainpool512r1",
     512},
    {curve_id::secp256k1, {"\x2B\x81\x04\x00\x0A", 5}, "secp256k1", "secp256k1", "secp256k1", 256},
    {curve_id::ed25519, {"\x2B\x06\x01\x04\x01\xDA\x47\x0F\x01", 9}, "ed25519", "Ed25519", nullptr, 255},
    {curve_id::curve25519, {"\x2B\x06\x01\x04\x01\x97\x55\x01\x05\x01", 10}, "cv25519", "Curve25519", nullptr, 255},
}};

/// Null for a curve that is not in the table.
constexpr const curve_info* find_curve(curve_id id) noexcept {
  for (const curve_info& c : curves)
    if (c.id == id) return &c;
  return nullptr;
}
constexpr const curve_info* find_curve(byte_view oid) noexcept {
  for (const curve_info& c : curves)
    if (c.oid.size() == oid.size() && std::equal(oid.begin(), oid.end(), c.oid.begin(),
                                                 [](std::byte a, char b) { return a == static_cast<std::byte>(b); }))
      return &c;
  return nullptr;
}

}  // namespace fussy::openpgp
