/// @file keybox.hpp  GnuPG's pubring.kbx: a file of blobs that hold key blocks.
/// Threads: functions without state.
/// Errors:  none; where the file is damaged the blobs in front of the damage are found, and the damage is named.
#pragma once

#include <string>
#include <vector>

#include "wire.hpp"

namespace fussy::openpgp {

/// The file begins with the blob every keybox begins with.
bool is_keybox(byte_view file) noexcept;

struct keybox_contents {
  std::vector<byte_view> blocks;  ///< key blocks (packets), in order; deleted and ephemeral ones are left out
  std::string damage;             ///< why reading stopped early; empty: it did not
};
keybox_contents read_keybox(byte_view file);

}  // namespace fussy::openpgp
