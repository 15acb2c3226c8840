/// @file secret_values.hpp  The secret values of a key in their normal form, from packets and from agent files.
/// Threads: functions without state.
/// Errors:  bad_message, unsupported.
#pragma once

#include "key.hpp"

namespace fussy::openpgp {

/// A number as the native octets of a curve: padded, and reversed where the number is big endian by accident of history
/// (Curve25519). Empty when it is too large.
secret_vector native_from_number(byte_view big_endian, std::size_t octets, bool reverse);

/// Secret values as they stand in a packet.
std::vector<secret_vector> read_secret_values(const public_key& key, cursor& in);
/// @throws bad_message  when one is zero or does not fit.
void check_secret_values(const public_key& key, const std::vector<secret_vector>& values);

}  // namespace fussy::openpgp
