// Listing the keys of a key ring.
#include "session.hpp"

using namespace fussy;
using namespace fussy::capi;

namespace {

uint32_t flags_of(const openpgp::key_info& key, bool primary) noexcept {
  return (primary ? FUSSY_KEY_PRIMARY : 0) | (key.signs ? FUSSY_KEY_SIGNS : 0) |
         (key.encrypts ? FUSSY_KEY_ENCRYPTS : 0) | (key.has_secret ? FUSSY_KEY_HAS_SECRET : 0) |
         (key.expired ? FUSSY_KEY_IS_EXPIRED : 0) | (key.revoked ? FUSSY_KEY_IS_REVOKED : 0) |
         (key.cannot_verify.empty() ? FUSSY_KEY_COUNTS : 0);
}

fussy_key describe(const openpgp::certificate_info& certificate, const openpgp::key_info& from) {
  fussy_key key = FUSSY_KEY_INIT;
  const openpgp::key_info& primary = certificate.keys.front();
  key.flags = flags_of(from, &from == &primary);
  key.created = from.created.time_since_epoch().count();
  if (from.expires) key.expires = from.expires->time_since_epoch().count();
  copy_text(key.fingerprint, from.fingerprint.hex());
  copy_text(key.primary, primary.fingerprint.hex());
  if (!certificate.user_ids.empty()) copy_text(key.user_id, certificate.user_ids.front().text);
  copy_text(key.algorithm, from.algorithm);
  return key;
}

}  // namespace

int32_t fussy_session_keys(fussy_session* session, uint32_t* count) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    s.keys.clear();
    const auto ring = openpgp::keyring::load(how.keyring, {.log = how.log, .passphrase = how.passphrase});
    std::vector<fussy_key> keys;
    for (const auto& certificate : openpgp::list(ring, how.policy))
      for (const auto& key : certificate.keys) keys.push_back(describe(certificate, key));
    s.keys = std::move(keys);
    if (count != nullptr) *count = static_cast<uint32_t>(s.keys.size());
  });
}
