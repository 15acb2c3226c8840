// What is in a key ring, for a person to look at.
#include <algorithm>

#include "botan_seam.hpp"
#include "keyring_state.hpp"

namespace fussy::openpgp {
namespace {

/// Why the secret part cannot be used as it is, without asking anybody.
std::string why_locked(const keyring::state& ring, const locked_secret& secret) {
  if (secret.is_stub()) return secret.why_not();
  if (auto why = seam::objection(secret.key()); !why.empty()) return why;
  if (secret.is_protected()) return ring.passphrase ? std::string() : "it is protected by a passphrase";
  return ring.unlock(secret) != nullptr ? std::string() : secret.why_not();
}

key_info describe_key(const keyring::state& ring, const certificate& cert, std::size_t index, const judgement& by) {
  const public_key& key = cert.key(index).key;
  key_info info;
  info.fingerprint = key.fingerprint;
  info.key_id = key_id_hex(key.id);
  info.algorithm = key.describe();
  info.algorithm_number = static_cast<unsigned>(key.algorithm);
  info.bits = key.bits();
  if (const curve_info* curve = find_curve(key.curve)) info.curve = curve->name;
  info.created = key.created;
  info.expires = cert.expires(index, by);

  const verdict_on_key valid = cert.valid(index, by);
  info.expired = valid.code == errc::key_expired;
  info.revoked = cert.revoked(0) || cert.revoked(index);
  info.invalid = !valid && !info.expired && !info.revoked;
  const std::uint8_t flags = cert.flags(index, by);
  info.certifies = (flags & key_flag::certify) != 0;
  info.signs = (flags & key_flag::sign) != 0 && signs(key.algorithm);
  info.encrypts =
      (flags & (key_flag::encrypt_communications | key_flag::encrypt_storage)) != 0 && encrypts(key.algorithm);
  info.authenticates = (flags & key_flag::authenticate) != 0;
  info.cannot_verify = cert.may_sign(index, by).reason;
  info.cannot_encrypt = cert.may_encrypt(index, by).reason;

  if (const locked_secret* secret = ring.secret_of(key)) {
    info.has_secret = true;
    info.cannot_open = why_locked(ring, *secret);
  }
  return info;
}

user_id_info describe_user_id(const certificate& cert, const user_id_part& part, const judgement& by) {
  user_id_info info;
  info.text = std::string(as_text(part.id));
  info.valid = cert.user_id_valid(part, by);
  const signature* claim = cert.certification(part, by);
  if (claim != nullptr) info.certified = claim->created;
  info.revoked = cert.user_id_revoked(part, by);
  return info;
}

}  // namespace

std::vector<certificate_info> list(const keyring& keys, const policy& rules) {
  const keyring::state& ring = keys.internals();
  const judgement by = ring.judge(rules);
  std::vector<certificate_info> all;
  for (const certificate& cert : ring.certificates) {
    certificate_info info;
    for (std::size_t i = 0; i < cert.key_count(); ++i) info.keys.push_back(describe_key(ring, cert, i, by));
    const user_id_part* primary = cert.primary_user_id_part(by);
    for (const user_id_part& part : cert.user_ids()) {
      user_id_info user_id = describe_user_id(cert, part, by);
      info.user_ids.insert(&part == primary ? info.user_ids.begin() : info.user_ids.end(), std::move(user_id));
    }
    all.push_back(std::move(info));
  }
  return all;
}

std::vector<std::string> warnings(const keyring& keys) { return keys.internals().warnings; }

}  // namespace fussy::openpgp
