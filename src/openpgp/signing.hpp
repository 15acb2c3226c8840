/// @file signing.hpp  Signs one content with several keys at once: headers in front, signatures behind.
/// Threads: one object, one thread.
/// Errors:  no_secret_key, bad_passphrase.
#pragma once

#include <vector>

#include "keyring_state.hpp"
#include "signature.hpp"

namespace fussy::openpgp {

class message_signer {
public:
  /// @param ring  outlives it.
  message_signer(const keyring::state& ring, const sign_options& how);

  std::size_t count() const noexcept { return makers_.size(); }
  /// One-pass packets. @param others_follow  further ones, of other signers, come behind them.
  byte_vector headers(bool others_follow = false) const;
  void update(byte_view content);
  /// Signature packets over what update() was given, in the order that goes with headers().
  byte_vector signatures() const;

private:
  std::vector<signature_maker> makers_;
  std::vector<hash_context> contexts_;
};

}  // namespace fussy::openpgp
