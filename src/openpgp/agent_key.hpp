/// @file agent_key.hpp  Secret keys as gpg-agent stores them below private-keys-v1.d (GnuPG 2.1 and newer).
/// Threads: values.
/// Errors:  bad_message, unsupported; opening: bad_passphrase.
#pragma once

#include <memory>
#include <string>

#include "key.hpp"
#include "sexp.hpp"

namespace fussy::openpgp {

struct agent_key {
  sexp expression;  ///< (private-key …), (protected-private-key …) or (shadowed-private-key …)
};

/// @param file  in the canonical or the extended format.
agent_key parse_agent_key(byte_view file);

/// Its public values are those of this key.
bool belongs_to(const agent_key& file, const public_key& key);

/// The secret of the public key it belongs to. @param where  the file, for messages.
std::shared_ptr<const locked_secret> as_secret(const agent_key& file, const public_key& key, const std::string& where);

}  // namespace fussy::openpgp
