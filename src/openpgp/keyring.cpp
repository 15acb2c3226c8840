// Looking keys up in a ring.
#include <algorithm>
#include <cctype>

#include "keyring_loader.hpp"
#include "keyring_state.hpp"
#include "openpgp/build_time.hpp"

namespace fussy::openpgp {

keyring::keyring() : state_(std::make_shared<const state>()) {}

keyring keyring::load(const std::filesystem::path& path, const options& opts) {
  return keyring(keyring_loader(opts).load(path));
}

// ---- Time -----------------------------------------------------------------------------------------------------------

time_point keyring::state::now(const policy& rules) const {
  if (rules.now) return *rules.now;
  time_point now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  now = std::max(now, time_point(std::chrono::seconds(build_time)));
  for (const certificate& cert : certificates) now = std::max(now, cert.newest_self_signature());
  return now;
}

// ---- Signers --------------------------------------------------------------------------------------------------------

void keyring::state::index() {
  for (const certificate& cert : certificates)
    for (std::size_t i = 0; i < cert.key_count(); ++i) by_id_.emplace(cert.key(i).key.id, key_ref{&cert, i});
}

std::vector<key_ref> keyring::state::issuers(const signature& sig) const {
  std::vector<key_ref> found;
  const std::optional<key_id> id = sig.issuer_fingerprint ? id_of(*sig.issuer_fingerprint) : sig.issuer;
  if (!id) return found;
  const auto [first, last] = by_id_.equal_range(*id);
  for (auto at = first; at != last; ++at)
    if (sig.claims(at->second.key())) found.push_back(at->second);
  return found;
}

namespace {

bool is_allowed(const key_ref& key, const std::vector<fingerprint>& allowed) {
  return allowed.empty() || std::ranges::any_of(allowed, [&](const fingerprint& f) {
           return f == key.key().fingerprint || f == key.cert->primary().fingerprint;
         });
}

bool hash_is_allowed(hash_algorithm hash, const std::vector<std::string>& allowed) {
  return allowed.empty() || std::ranges::find(allowed, name(hash)) != allowed.end();
}

}  // namespace

verdict_on_key keyring::state::counts(const key_ref& key, const signature& sig, const policy& rules) const {
  if (!sig.defect.empty()) return {errc::bad_signature, sig.defect};
  if (sig.version < 4) return {errc::weak_algorithm, "signatures of version 3 are not accepted"};
  if (is_broken(sig.hash) || !hash_is_allowed(sig.hash, rules.hashes))
    return {errc::weak_algorithm, std::string("its hash is ") + name(sig.hash) + ", which is not accepted"};
  if (*sig.created < key.key().created)
    return {errc::bad_signature, "it claims to be from " + time_text(*sig.created) + ", before its key was made"};
  const judgement by = judge(rules);
  if (auto why = key.cert->may_sign(key.index, by, &*sig.created); !why) return why;
  if (!rules.ignore_expiry && sig.expired(by.now))
    return {errc::signature_expired,
            "it expired on " + date_text(*sig.created + std::chrono::seconds(sig.expires_after))};
  if (!is_allowed(key, rules.allowed)) return {errc::signer_not_allowed, "the policy does not allow this signer"};
  return {};
}

// ---- Secret keys ----------------------------------------------------------------------------------------------------

std::vector<const locked_secret*> keyring::state::recipients(const openpgp::fingerprint* fingerprint, key_id id,
                                                             public_key_algorithm algorithm) const {
  std::vector<const locked_secret*> found;
  for (const auto& secret : secrets) {
    const public_key& key = secret->key();
    const bool same_algorithm = is_rsa(algorithm) ? is_rsa(key.algorithm) : algorithm == key.algorithm;
    if (secret->is_stub() || !encrypts(key.algorithm) || !same_algorithm) continue;
    const bool named = fingerprint != nullptr ? *fingerprint == key.fingerprint : id == 0 || id == key.id;
    if (named) found.push_back(secret.get());
  }
  return found;
}

const locked_secret* keyring::state::secret_of(const public_key& key) const {
  for (const auto& secret : secrets)
    if (secret->key().fingerprint == key.fingerprint) return secret.get();
  return nullptr;
}

// ---- Names ----------------------------------------------------------------------------------------------------------

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// A fingerprint or key ID as a person writes it: upper case digits, empty when it is something else.
std::string hex_name(std::string_view name) {
  if (name.starts_with("0x") || name.starts_with("0X")) name.remove_prefix(2);
  std::string digits;
  for (const char c : name) {
    if (c == ' ') continue;
    if (!std::isxdigit(static_cast<unsigned char>(c))) return {};
    digits += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  const std::size_t n = digits.size();
  return n == 8 || n == 16 || n == 40 || n == 64 ? digits : std::string{};
}

bool has_hex_name(const public_key& key, const std::string& digits) {
  if (digits.size() > 16) return key.fingerprint.hex() == digits;
  const std::string id = key_id_hex(key.id);
  return digits.size() == 16 ? id == digits : id.ends_with(digits);
}

/// The address in `Name <address>`, or the whole of a user ID that is nothing else.
std::string_view address(std::string_view user_id) {
  const std::size_t end = user_id.rfind('>'), begin = user_id.rfind('<');
  if (begin == user_id.npos || end == user_id.npos || end < begin) return user_id;
  return user_id.substr(begin + 1, end - begin - 1);
}

}  // namespace

bool has_name(const public_key& key, std::string_view name) {
  const std::string digits = hex_name(name);
  return !digits.empty() && has_hex_name(key, digits);
}

std::vector<const certificate*> keyring::state::named(std::string_view name, const judgement& by) const {
  const auto all = [&](const auto& wanted) {
    std::vector<const certificate*> found;
    for (const certificate& cert : certificates)
      if (wanted(cert)) found.push_back(&cert);
    return found;
  };
  if (const std::string digits = hex_name(name); !digits.empty()) {
    auto found = all([&](const certificate& cert) {
      for (std::size_t i = 0; i < cert.key_count(); ++i)
        if (has_hex_name(cert.key(i).key, digits)) return true;
      return false;
    });
    if (!found.empty()) return found;
  }
  const std::string text = lower(name);
  if (text.empty()) return {};
  const auto by_user_id = [&](const auto& matches) {
    return all([&](const certificate& cert) {
      return std::ranges::any_of(cert.user_ids(), [&](const user_id_part& part) {
        return matches(lower(as_text(part.id))) && cert.user_id_valid(part, by);
      });
    });
  };
  std::string_view wanted = text;
  if (wanted.starts_with('<') && wanted.ends_with('>')) wanted = wanted.substr(1, wanted.size() - 2);
  if (auto found = by_user_id([&](const std::string& id) { return address(id) == wanted; }); !found.empty())
    return found;
  return by_user_id([&](const std::string& id) { return id.find(text) != id.npos; });
}

}  // namespace fussy::openpgp
