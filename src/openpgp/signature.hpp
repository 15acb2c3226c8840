/// @file signature.hpp  Signature packets v3, v4 and v6 (RFC 9580 section 5.2): fields, subpackets, what they hash.
/// Threads: values.
/// Errors:  parse_signature: bad_message (damaged), unsupported (a version that is not listed).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "algorithms.hpp"
#include "crypto.hpp"
#include "key.hpp"
#include "wire.hpp"

namespace fussy::openpgp {

enum class signature_type : std::uint8_t {
  binary = 0x00,
  text = 0x01,
  standalone = 0x02,
  certification_generic = 0x10,
  certification_persona = 0x11,
  certification_casual = 0x12,
  certification_positive = 0x13,
  subkey_binding = 0x18,
  primary_key_binding = 0x19,  ///< the back-signature
  direct_key = 0x1f,
  key_revocation = 0x20,
  subkey_revocation = 0x28,
  certification_revocation = 0x30,
  timestamp = 0x40,
  third_party_confirmation = 0x50,
};

/// Of one message; more are neither checked nor made.
inline constexpr std::size_t max_signatures = 32;

/// Bits of the first octet of the key flags subpacket.
namespace key_flag {
inline constexpr std::uint8_t certify = 0x01, sign = 0x02, encrypt_communications = 0x04, encrypt_storage = 0x08,
                              authenticate = 0x20;
}

/// Bits of the first octet of the features subpacket.
namespace feature {
inline constexpr std::uint8_t seipd_v2 = 0x08;
}

/// A cipher and a mode that a recipient reads together.
struct aead_suite {
  symmetric_algorithm cipher;
  aead_algorithm aead;
  bool operator==(const aead_suite&) const = default;
};

/// A designated revoker: who else may revoke a key (subpacket 12).
struct designated_revoker {
  public_key_algorithm algorithm;
  openpgp::fingerprint fingerprint;
};

struct signature {
  std::uint8_t version = 4;
  signature_type type{};
  public_key_algorithm algorithm{};
  hash_algorithm hash{};

  // From the hashed area (v3: from the packet).
  std::optional<time_point> created;               ///< required; without it the signature is invalid
  std::uint32_t expires_after = 0;                 ///< seconds after `created`; 0: never
  std::optional<std::uint32_t> key_expires_after;  ///< seconds after the KEY's creation; 0: never
  std::optional<std::uint8_t> key_flags;           ///< first octet
  std::optional<std::uint8_t> revocation_reason;
  std::string revocation_text;  ///< reason in words, as it is written there
  std::uint8_t features = 0;    ///< first octet
  bool primary_user_id = false;
  std::vector<symmetric_algorithm> preferred_ciphers;
  std::vector<hash_algorithm> preferred_hashes;
  std::vector<aead_suite> preferred_suites;
  std::vector<designated_revoker> revokers;

  // Hints, from either area.
  std::optional<key_id> issuer;
  std::optional<openpgp::fingerprint> issuer_fingerprint;
  std::vector<byte_vector> embedded;  ///< bodies of embedded signatures

  /// Why it counts for nothing, whoever made it (a critical subpacket that is not known, no creation time, an
  /// algorithm that is not known). Empty when it may count.
  std::string defect;

  byte_vector hashed;  ///< from the version through the hashed area (v3: type and time)
  byte_vector salt;    ///< v6
  std::array<std::byte, 2> left16{};
  signature_values values;

  bool is_document() const noexcept { return type == signature_type::binary || type == signature_type::text; }
  /// It does not claim to be by somebody else than this key.
  bool may_be_by(const public_key& key) const noexcept;
  /// It claims to be by this key.
  bool claims(const public_key& key) const noexcept;
  /// Fingerprint or key ID of who claims to have made it, for messages; "nobody" without a claim.
  std::string issuer_text() const;
  /// Expired at that time.
  bool expired(time_point at) const noexcept {
    return expires_after != 0 && created && *created + std::chrono::seconds(expires_after) <= at;
  }
};

signature parse_signature(byte_view packet_body);

/// A context that has absorbed what comes before the data (the salt of v6). @throws unsupported
hash_context begin_hash(const signature& sig);
/// The digest over the data a context has absorbed (it stays as it is) and the trailer of this signature.
byte_vector digest_for(const signature& sig, const hash_context& data);
/// The signature is by this key over the data the context (begun by begin_hash) has absorbed. Says nothing about time,
/// defects or whether the key may sign.
bool verifies(const signature& sig, const public_key& key, const hash_context& data);

// What certificate signatures are made over (RFC 9580 section 5.2.4).
bool verifies_key(const signature& sig, const public_key& signer, const public_key& primary);
bool verifies_subkey(const signature& sig, const public_key& signer, const public_key& primary,
                     const public_key& subkey);
bool verifies_user_id(const signature& sig, const public_key& signer, const public_key& primary, byte_view user_id);

/// Salt for a signature by this key: random, or, when the same input has to give the same octets, from the secret key
/// and this time (so that nobody else can foresee it). Empty for a v4 key.
byte_vector salt_for(const secret_key& key, hash_algorithm hash, std::optional<time_point> reproducible = std::nullopt);

/// Makes document signatures: v4 or v6, as the key is.
class signature_maker {
public:
  /// @param key  outlives it.  @param salt  of v6, salt_octets(hash) of them; empty for v4.
  signature_maker(const secret_key& key, hash_algorithm hash, signature_type type, time_point created,
                  byte_vector salt);
  /// To hash the data with; it has absorbed the salt of v6.
  hash_context begin() const;
  const secret_key& key() const noexcept { return *key_; }
  byte_view salt() const noexcept { return salt_; }
  hash_algorithm hash() const noexcept { return hash_; }
  signature_type type() const noexcept { return type_; }
  /// Body of the signature packet over the data that the context has absorbed.
  byte_vector finish(const hash_context& data) const;

private:
  const secret_key* key_;
  hash_algorithm hash_;
  signature_type type_;
  byte_vector salt_;
  byte_vector hashed_;
};

}  // namespace fussy::openpgp
