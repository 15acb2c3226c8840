/// @file crypto.hpp  What OpenPGP needs of cryptography, on Botan: digests, signature values, session keys.
/// Threads: distinct objects are independent.
/// Errors:  unsupported for an algorithm this build of Botan lacks. A signature that does not verify and a session key
///          that cannot be decrypted are results, not errors.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "algorithms.hpp"
#include "key.hpp"
#include "wire.hpp"

namespace fussy::openpgp {

/// A digest that is being computed.
class hash_context {
public:
  /// @throws unsupported
  explicit hash_context(hash_algorithm algorithm);
  hash_context(hash_context&&) noexcept;
  hash_context& operator=(hash_context&&) noexcept;
  ~hash_context();
  static bool supported(hash_algorithm algorithm);

  hash_algorithm algorithm() const noexcept { return algorithm_; }
  void update(byte_view bytes);
  void update_be(std::uint64_t value, std::size_t octets);
  /// An independent context in the same state: hash once, check many signatures.
  hash_context copy() const;
  /// The digest; the context starts anew.
  byte_vector finish();

private:
  struct impl;
  hash_context(hash_algorithm algorithm, std::unique_ptr<impl> state);
  hash_algorithm algorithm_;
  std::unique_ptr<impl> impl_;
};

byte_vector digest_of(hash_algorithm algorithm, byte_view bytes);

/// Values of a signature in the order of its packet, as they are there (numbers without leading zeros).
using signature_values = std::vector<byte_vector>;

/// False for anything but a right signature, also for values that make no sense and for unsupported keys.
bool verify_digest(const public_key& key, hash_algorithm hash, byte_view digest, const signature_values& values);
/// @throws unsupported, failure
signature_values sign_digest(const secret_key& key, hash_algorithm hash, byte_view digest);

/// What encrypts a message. v3 packets say the cipher in it; with v6 ones the container says it.
struct session_key {
  std::optional<symmetric_algorithm> cipher;
  secret_vector key;
};

/// Opens the algorithm's part of a PKESK packet (all behind the algorithm octet). Cipher, length and checksum have been
/// checked. @param version  of the packet, 3 (also for 2) or 6.
/// @return nothing for whatever reason: one answer for all failures.
std::optional<session_key> decrypt_session_key(const secret_key& key, unsigned version, byte_view fields);
/// The algorithm's part of a PKESK packet. @throws unsupported, no_recipient_key
byte_vector encrypt_session_key(const public_key& recipient, unsigned version, const session_key& session);

/// Random octets of the system's generator.
void randomize(byte_span out);

/// RFC 3394. @return nothing when the key does not fit or lengths are wrong.
std::optional<secret_vector> key_unwrap(byte_view kek, byte_view wrapped);
byte_vector key_wrap(byte_view kek, byte_view key);
/// RFC 5869.
secret_vector hkdf(hash_algorithm hash, byte_view input, byte_view salt, byte_view info, std::size_t octets);

// Modes in memory, for keys at rest. Messages stream theirs (encrypted_data.hpp).
secret_vector cfb_decrypt(symmetric_algorithm cipher, byte_view key, byte_view iv, byte_view ciphertext);
secret_vector cbc_decrypt(symmetric_algorithm cipher, byte_view key, byte_view iv, byte_view ciphertext);
/// @return nothing when the tag, the last 16 octets, is wrong.
std::optional<secret_vector> aead_decrypt(symmetric_algorithm cipher, aead_algorithm mode, byte_view key,
                                          byte_view nonce, byte_view associated, byte_view ciphertext);

}  // namespace fussy::openpgp
