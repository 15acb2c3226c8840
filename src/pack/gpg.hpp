/// @file gpg.hpp  Signing by the gpg program, for keys that it alone can use: on smart cards, behind its agent.
/// Threads: functions without state.
/// Errors:  missing_program, no_secret_key, no_recipient_key, bad_passphrase, cancelled, process_failed; what the
///          content throws.
#pragma once

#include <fussy/pack.hpp>

#include <functional>
#include <stop_token>

namespace fussy::pack {

/// Writes the content; called once, on a thread of its own.
using content_producer = std::function<void(any_writer&)>;

/// Lets gpg sign, and encrypt where there are recipients, what `content` writes. Its agent asks for PIN or passphrase.
/// @param to  descriptor that gpg writes the message to.
/// @param stop  ends gpg, too, also while it waits for a PIN.
void sign_with_gpg(int to, const signing& proof, const content_producer& content, const std::stop_token& stop);

}  // namespace fussy::pack
