// Keys of gpg-agent: read or refused; what was read has a canonical form that reads the same, and opens or says why
// not.
#include "openpgp/agent_key.hpp"

#include "fuzz.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

public_key some_key(public_key_algorithm algorithm, curve_id curve) {
  public_key key;
  key.algorithm = algorithm;
  key.curve = curve;
  key.values.assign(is_rsa(algorithm) ? 2 : algorithm == public_key_algorithm::dsa ? 4 : 1, byte_vector(32));
  return key;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  agent_key file;
  const errc code = fuzz::refusal_of([&] { file = parse_agent_key(as_bytes(data, size)); });
  fuzz::require(code == errc::success || code == errc::bad_message, "it is refused for a strange reason");
  if (code != errc::success) return 0;
  const secret_vector form = canonical(file.expression);
  fuzz::require(canonical(parse_sexp(form)) == form, "the canonical form reads as something else");
  // Whatever the public part says: opening must cope with every secret part.
  using enum public_key_algorithm;
  for (const auto& [algorithm, curve] :
       {std::pair(rsa, curve_id::none), std::pair(dsa, curve_id::none), std::pair(eddsa_legacy, curve_id::ed25519),
        std::pair(ecdh, curve_id::curve25519), std::pair(ecdsa, curve_id::p256)}) {
    const public_key key = some_key(algorithm, curve);
    belongs_to(file, key);
    try {
      const auto secret = as_secret(file, key, "input");
      fuzz::require(secret->unlock({}) != nullptr || !secret->why_not().empty(), "it stays locked without a reason");
    } catch (const error& e) {
      fuzz::require(e.code() == errc::bad_message, e.what());
    }
  }
  return 0;
}
