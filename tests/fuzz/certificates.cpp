// Certificates and secret keys: whatever a file of keys holds, it is read to its end, and every question about what was
// found has an answer.
#include "openpgp/keyring_loader.hpp"

#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const keyring::options options;
  keyring_loader loader(options);
  loader.add_file(as_bytes(data, size), "input");
  const auto ring = loader.finish();
  const judgement by = ring->judge({});
  for (const certificate& cert : ring->certificates) {
    for (std::size_t i = 0; i < cert.key_count(); ++i) {
      const verdict_on_key valid = cert.valid(i, by), signs = cert.may_sign(i, by), encrypts = cert.may_encrypt(i, by);
      fuzz::require(valid || !valid.reason.empty(), "a refusal without a reason");
      fuzz::require(valid || (!signs && !encrypts), "a key that is not valid may do something");
      fuzz::require(!cert.revoked(0) || !signs, "a revoked certificate signs");
      cert.expires(i, by);
      cert.key(i).key.describe();
    }
    fuzz::require(!ring->named(cert.primary().fingerprint.hex(), by).empty(), "a certificate cannot be found");
    cert.primary_user_id(by);
    cert.preferences(by);
  }
  for (const auto& secret : ring->secrets) {
    const bool open = ring->unlock(*secret) != nullptr;
    fuzz::require(open || !secret->why_not().empty(), "a secret stays locked without a reason");
  }
  return 0;
}
