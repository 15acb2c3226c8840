/// @file key_choice.hpp  Which keys a message is signed with and encrypted for.
/// Threads: functions without state.
/// Errors:  no_secret_key, bad_passphrase, no_recipient_key: with what was wrong with every key that came into question.
#pragma once

#include <string>
#include <vector>

#include "keyring_state.hpp"

namespace fussy::openpgp {

/// Open secret keys for the signers that are asked for; without names the first certificate that has one. Of a
/// certificate the newest signing subkey, else its primary key; of a name that is the fingerprint or key ID of a
/// subkey, that one. They may sign at `at`, and today.
std::vector<const secret_key*> choose_signers(const keyring::state& ring, const std::vector<std::string>& names,
                                              time_point at);

/// Keys to encrypt for: of every certificate that is named the newest encryption key. A name must leave one
/// certificate.
std::vector<key_ref> choose_recipients(const keyring::state& ring, const std::vector<std::string>& names,
                                       const judgement& by);

}  // namespace fussy::openpgp
