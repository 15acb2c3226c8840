/// @file key.hpp  Public and secret key packets (RFC 9580 section 5.5): fields, fingerprint, protection.
/// Threads: values; locked_secret may be shared between threads.
/// Errors:  bad_message for a packet that is no key packet at all; bad_passphrase. What is merely not supported (an
///          algorithm, a curve, a version) is a key that is not `usable`, with the reason.
#pragma once

#include <fussy/openpgp.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "algorithms.hpp"
#include "wire.hpp"

namespace fussy::openpgp {

/// Key ID: 8 octets of the fingerprint (the last of v4, the first of v6). 0 is nobody in particular.
using key_id = std::uint64_t;
std::string key_id_hex(key_id id);
key_id id_of(const fingerprint& of);

struct public_key {
  std::uint8_t version = 4;  ///< 4 or 6
  time_point created{};
  public_key_algorithm algorithm{};
  curve_id curve = curve_id::none;
  /// In the order of the packet, numbers without leading zeros. RSA n e; DSA p q g y; ElGamal p g y; ECDSA and ECDH the
  /// SEC1 point; Ed25519 and X25519, also in their legacy forms, the 32 native octets; Ed448 57, X448 56 native octets.
  std::vector<byte_vector> values;
  hash_algorithm kdf_hash{};         ///< ECDH
  symmetric_algorithm kdf_cipher{};  ///< ECDH
  byte_vector body;                  ///< the packet's public part: what a fingerprint and a signature hash
  openpgp::fingerprint fingerprint;
  key_id id = 0;
  std::string unsupported;  ///< why nothing can be done with it; empty when something can

  bool usable() const noexcept { return unsupported.empty(); }
  /// Size as gpg counts it: 3072 for RSA, 255 for Ed25519; 0 when not known.
  unsigned bits() const noexcept;
  /// "RSA 3072", "ECDSA nistp256", "EdDSA ed25519", "Ed25519".
  std::string describe() const;
  /// Its octets as signatures hash it (99 or 9B, length, body).
  byte_vector hashed() const;
};

/// Public part of a key packet's body (tags 5, 6, 7, 14). @param used  set to its length when not null.
/// @throws bad_message  damaged.  @throws unsupported  a version that is neither 4 nor 6.
public_key parse_public_key(byte_view packet_body, std::size_t* used = nullptr);

/// A secret key that is open. RSA: d p q u. DSA, ElGamal: x. ECDSA, ECDH: the scalar, big endian. Ed25519 and X25519
/// (legacy, too), Ed448, X448: the native octets.
struct secret_key {
  public_key key;
  std::vector<secret_vector> values;
};

/// A secret key as it is stored: open, protected by a passphrase, or not there (on a card, or a stub).
class locked_secret {
public:
  /// Opens the stored octets. @param passphrase  null: try without. @throws bad_passphrase  needed, or wrong.
  using opener = std::function<secret_key(const std::string* passphrase)>;

  /// @param is_protected  a passphrase is needed.
  locked_secret(public_key key, opener open, bool is_protected, std::string where);
  /// A stub: the secret is elsewhere. @param why  "it is on a card".
  locked_secret(public_key key, std::string why, std::string where);

  const public_key& key() const noexcept { return key_; }
  bool is_protected() const noexcept { return protected_; }
  bool is_stub() const noexcept { return !open_; }
  /// Why it is a stub; why unlock() returned null. Empty else.
  std::string why_not() const;
  /// The file it is from.
  const std::string& where() const noexcept { return where_; }
  /// The open key, or null when there is no right passphrase or it is a stub. Asks `ask` at most once in its life.
  const secret_key* unlock(const passphrase_callback& ask) const;

private:
  public_key key_;
  opener open_;
  bool protected_ = false;
  std::string where_;
  mutable std::mutex mutex_;
  mutable bool tried_ = false;
  mutable std::optional<secret_key> open_key_;
  mutable std::string why_;
};

/// Body of a secret key packet (tag 5 or 7). @param tag  is authenticated by some protections.
/// @param where  the file, for messages.
std::shared_ptr<const locked_secret> parse_secret_key(byte_view packet_body, unsigned tag, const std::string& where);

}  // namespace fussy::openpgp
