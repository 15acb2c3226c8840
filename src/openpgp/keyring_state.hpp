/// @file keyring_state.hpp  What is in a key ring, and how keys are found in it: for checking signatures, for
/// decrypting, by the name a person gives. Threads: immutable; shared by copies of a keyring and between threads.
/// (Opening a protected key locks.) Errors:  lookups have none.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "certificate.hpp"
#include "key.hpp"
#include "signature.hpp"

namespace fussy::openpgp {

/// One key of a certificate.
struct key_ref {
  const certificate* cert;
  std::size_t index;  ///< 0: the primary key
  const public_key& key() const noexcept { return cert->key(index).key; }
};

/// The name is the fingerprint or key ID of this key (8, 16, 40 or 64 hexadecimal digits).
bool has_name(const public_key& key, std::string_view name);

struct keyring::state {
  std::vector<certificate> certificates;  ///< trust anchors, one per primary fingerprint
  std::vector<std::shared_ptr<const locked_secret>> secrets;
  passphrase_callback passphrase;
  log_sink log;
  std::string path;                   ///< where it was loaded from, for messages; empty for an empty ring
  std::vector<std::string> warnings;  ///< what was skipped and why, as it was logged

  /// The clock rule: policy.now, else max(system clock, newest self-signature of all certificates, build of the
  /// library).
  time_point now(const policy& rules) const;
  judgement judge(const policy& rules) const {
    return {now(rules), rules.sha1_self_signatures, rules.ignore_expiry, rules.min_rsa_bits};
  }

  /// Keys a signature may be by: all that have its issuer fingerprint, else its key ID (which may collide). Empty: an
  /// unknown signer. A signature that names nobody is by nobody.
  std::vector<key_ref> issuers(const signature& sig) const;

  /// Whether a document signature by this key, verified and made when it says, counts under the policy: key flags,
  /// bindings, expiry, revocation, sizes, the policy's list of allowed fingerprints. `code` is success or one of
  /// key_expired, key_revoked, key_unusable, weak_algorithm, signer_not_allowed, bad_signature (made before the key).
  verdict_on_key counts(const key_ref& key, const signature& sig, const policy& rules) const;

  /// Secret keys a session key may be encrypted to. One of these, or all null for a hidden recipient:
  /// @param fingerprint  of a v6 PKESK.  @param id  of a v3 PKESK, 0 is hidden.  @param algorithm  of the PKESK.
  std::vector<const locked_secret*> recipients(const openpgp::fingerprint* fingerprint, key_id id,
                                               public_key_algorithm algorithm) const;
  /// The open key, or null: asks for a passphrase at most once per key.
  const secret_key* unlock(const locked_secret& secret) const { return secret.unlock(passphrase); }
  /// The secret of this public key, or null.
  const locked_secret* secret_of(const public_key& key) const;

  /// Certificates a person may mean: by fingerprint or key ID of any of their keys, else by e-mail address, else by
  /// part of a user ID (both in any case of letters, valid user IDs only).
  std::vector<const certificate*> named(std::string_view name, const judgement& by) const;

  /// To be called once `certificates` is complete.
  void index();

private:
  std::multimap<key_id, key_ref> by_id_;
};

}  // namespace fussy::openpgp
