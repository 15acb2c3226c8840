/// @file session_key.hpp  Session key packets (RFC 9580 §5.1, §5.3): which of them our keys may open, and opening them.
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error: cannot_decrypt, message_too_large.
#pragma once

#include <fussy/openpgp.hpp>

#include <optional>
#include <string>
#include <vector>

#include "crypto.hpp"
#include "encrypted_data.hpp"
#include "keyring_state.hpp"

namespace fussy::openpgp {

/// Public-key encrypted session key packet of version 2, 3 or 6.
struct encrypted_session_key {
  unsigned version = 3;                           ///< 2 counts as 3
  std::optional<openpgp::fingerprint> recipient;  ///< v6 with a named recipient
  key_id recipient_id = 0;                        ///< v3; 0: hidden
  public_key_algorithm algorithm{};
  byte_vector fields;  ///< the algorithm's part

  bool hidden() const noexcept { return !recipient && recipient_id == 0; }
  std::string recipient_text() const;
};

/// Nothing for what has to be skipped: a version or algorithm that is not known, damage, or more octets than any key
/// needs.
std::optional<encrypted_session_key> parse_encrypted_session_key(byte_view packet_body);

/// Collects the session key packets in front of the encrypted data.
class session_keys {
public:
  explicit session_keys(const keyring::state& keys) noexcept : keys_(&keys) {}

  void add_public_key_packet(byte_view packet_body);
  void add_passphrase_packet() noexcept { passphrase_ = true; }
  bool any() const noexcept { return total_ > 0 || passphrase_; }
  /// Whom the message is for, as far as their packets can be read: the first 100.
  const std::vector<message_info::recipient>& seen() const noexcept { return seen_; }

  /// The session key for a container, once. When packets for keys of ours do not open, the answer is a random key: so
  /// the container fails exactly as if it had been changed, and nobody learns from us why (RFC 9580 §13.4, §13.5).
  /// @throws cannot_decrypt  no packet is for a key that could be tried; the message says for whom they are.
  session_key choose(const container_header& header);

private:
  std::optional<session_key> try_keys(const container_header& header, bool& tried, std::string& locked) const;
  [[noreturn]] void refuse(const container_header& header, const std::string& locked) const;

  static constexpr std::size_t max_packets = 10000;  // more recipients than any list has
  static constexpr std::size_t max_candidates = 64;  // a private key operation takes milliseconds each
  static constexpr std::size_t max_attempts = 128;
  static constexpr std::size_t max_seen = 100;

  const keyring::state* keys_;
  std::vector<encrypted_session_key> candidates_;
  std::vector<std::string> others_;  // the first few recipients that are not ours, for the message
  std::vector<message_info::recipient> seen_;
  std::size_t total_ = 0;
  bool passphrase_ = false;
};

}  // namespace fussy::openpgp
