// What the self-signatures of a certificate say.
#include "certificate.hpp"

#include <algorithm>
#include <cstdio>

#include "botan_seam.hpp"

namespace fussy::openpgp {
namespace {

bool hash_accepted(hash_algorithm hash, const judgement& by) {
  if (hash == hash_algorithm::md5) return false;
  return by.sha1 || !is_broken(hash);
}

bool in_force(const signature& claim, const judgement& by) {
  if (!claim.defect.empty() || !claim.created || *claim.created > by.now) return false;
  return by.ignore_expiry || !claim.expired(by.now);
}

/// The newest of the signatures that count, or null. They stand newest first.
const signature* current(const signed_part& part, const judgement& by) {
  for (const signature& claim : part.claims)
    if (in_force(claim, by) && hash_accepted(claim.hash, by)) return &claim;
  return nullptr;
}

/// Why there is no current signature.
verdict_on_key nothing_counts(const signed_part& part, const judgement& by, const std::string& what) {
  for (const signature& claim : part.claims)
    if (in_force(claim, by))
      return {errc::weak_algorithm, "its " + what + " uses " + name(claim.hash) + ", which is not accepted"};
  for (const signature& claim : part.claims)
    if (!claim.defect.empty()) return {errc::key_unusable, "its " + what + " counts for nothing: " + claim.defect};
  if (!part.claims.empty()) return {errc::key_expired, "its " + what + " has expired or is not valid yet"};
  return {errc::key_unusable, "it has no valid " + what};
}

const char* reason_text(std::uint8_t reason) {
  switch (reason) {
    case 1:
      return "superseded";
    case 2:
      return "compromised";
    case 3:
      return "retired";
    case 32:
      return "user ID no longer valid";
    default:
      return "no reason given";
  }
}

verdict_on_key is_revoked(const signed_part& part, const char* what) {
  const signature& revocation = part.revocations.front();
  std::string text = std::string(what) + " was revoked";
  if (revocation.created) text += " on " + date_text(*revocation.created);
  text += std::string(" (") + reason_text(revocation.revocation_reason.value_or(0)) + ")";
  return {errc::key_revoked, text};
}

std::uint8_t flags_of_algorithm(const public_key& key) {
  std::uint8_t flags = 0;
  if (signs(key.algorithm)) flags |= key_flag::sign | key_flag::authenticate;
  if (encrypts(key.algorithm)) flags |= key_flag::encrypt_communications | key_flag::encrypt_storage;
  return flags;
}

std::optional<time_point> expiry(const public_key& key, const signature* claim) {
  if (claim == nullptr || claim->key_expires_after.value_or(0) == 0) return std::nullopt;
  return key.created + std::chrono::seconds(*claim->key_expires_after);
}

}  // namespace

std::string time_text(time_point t) {
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::hh_mm_ss time(t - day);
  char text[32];
  std::snprintf(text, sizeof text, " %02d:%02d:%02d UTC", static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()));
  return date_text(t) + text;
}

std::string date_text(time_point t) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(t));
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()));
  return text;
}

// ---- User IDs and the primary key -----------------------------------------------------------------------------------

const signature* certificate::certification(const user_id_part& part, const judgement& by) const {
  return current(part, by);
}

bool certificate::user_id_valid(const user_id_part& part, const judgement& by) const {
  const signature* claim = current(part, by);
  if (claim == nullptr) return false;
  // A certification made after the revocation renews the user ID.
  return part.revocations.empty() || *claim->created > part.revocations.front().created.value_or(time_point::max());
}

bool certificate::user_id_revoked(const user_id_part& part, const judgement& by) const {
  return !part.revocations.empty() && !user_id_valid(part, by);
}

const user_id_part* certificate::primary_user_id_part(const judgement& by) const {
  const user_id_part* best = nullptr;
  const signature* best_claim = nullptr;
  for (const user_id_part& part : user_ids_) {
    if (!user_id_valid(part, by)) continue;
    const signature* claim = current(part, by);
    const auto rank = [](const signature& s) { return std::pair(s.primary_user_id, *s.created); };
    if (best == nullptr || rank(*claim) > rank(*best_claim)) {
      best = &part;
      best_claim = claim;
    }
  }
  return best;
}

std::string certificate::primary_user_id(const judgement& by) const {
  const user_id_part* part = primary_user_id_part(by);
  return part == nullptr ? std::string() : std::string(as_text(part->id));
}

namespace {

/// The newest certification of any valid user ID.
const signature* newest_certification(const certificate& cert, const judgement& by) {
  const signature* newest = nullptr;
  for (const user_id_part& part : cert.user_ids()) {
    if (!cert.user_id_valid(part, by)) continue;
    const signature* claim = current(part, by);
    if (newest == nullptr || *claim->created > *newest->created) newest = claim;
  }
  return newest;
}

}  // namespace

const signature* certificate::preferences(const judgement& by) const {
  if (const signature* direct = current(primary_, by)) return direct;
  const user_id_part* user_id = primary_user_id_part(by);
  return user_id == nullptr ? nullptr : current(*user_id, by);
}

verdict_on_key certificate::self_signed(const judgement& by) const {
  if (current(primary_, by) != nullptr) return {};
  if (primary_.key.version >= 6) return nothing_counts(primary_, by, "direct-key signature");
  if (newest_certification(*this, by) != nullptr) return {};
  for (const user_id_part& part : user_ids_)
    if (current(part, by) != nullptr) return {errc::key_revoked, "all of its user IDs were revoked"};
  for (const user_id_part& part : user_ids_)
    if (const auto why = nothing_counts(part, by, "self-signature"); why.code != errc::key_unusable) return why;
  // Exports with as little as possible leave only the revocation of a revoked user ID.
  if (std::ranges::any_of(user_ids_, [&](const user_id_part& part) { return user_id_revoked(part, by); }))
    return {errc::key_revoked, "all of its user IDs were revoked"};
  return nothing_counts(user_ids_.empty() ? static_cast<const signed_part&>(primary_) : user_ids_.front(), by,
                        "self-signature");
}

// ---- Questions ------------------------------------------------------------------------------------------------------

verdict_on_key certificate::bound(const key_part& subkey, const judgement& by) const {
  return current(subkey, by) != nullptr ? verdict_on_key{} : nothing_counts(subkey, by, "binding signature");
}

std::optional<time_point> certificate::expires(std::size_t index, const judgement& by) const {
  if (index != 0) return expiry(key(index).key, current(key(index), by));
  const signature* direct = current(primary_, by);
  if (direct != nullptr && direct->key_expires_after) return expiry(primary_.key, direct);
  return expiry(primary_.key, newest_certification(*this, by));
}

std::uint8_t certificate::flags(std::size_t index, const judgement& by) const {
  const signature* claim = current(key(index), by);
  if (index == 0 && (claim == nullptr || !claim->key_flags)) claim = newest_certification(*this, by);
  if (claim != nullptr && claim->key_flags) return *claim->key_flags;
  if (claim == nullptr && index != 0) return 0;
  const std::uint8_t primary_only = index == 0 ? key_flag::certify : std::uint8_t{0};
  return static_cast<std::uint8_t>(flags_of_algorithm(key(index).key) | primary_only);
}

verdict_on_key certificate::valid(std::size_t index, const judgement& by, const time_point* at) const {
  const time_point when = at != nullptr ? *at : by.now;
  const auto expired = [&](std::size_t i, const char* what) -> verdict_on_key {
    const auto end = expires(i, by);
    if (by.ignore_expiry || !end || *end > when) return {};
    return {errc::key_expired, std::string(what) + " expired on " + date_text(*end)};
  };
  // What a primary key has signed that cannot be checked here counts for nothing, its own revocation included.
  if (auto why = seam::objection(primary_.key); !why.empty()) return {errc::key_unusable, why};
  if (revoked(0)) return is_revoked(primary_, "its primary key");
  if (auto why = self_signed(by); !why) return why;
  if (auto why = expired(0, "its primary key"); !why) return why;
  if (index == 0) return {};

  const key_part& subkey = key(index);
  if (auto why = seam::objection(subkey.key); !why.empty()) return {errc::key_unusable, why};
  if (revoked(index)) return is_revoked(subkey, "the subkey");
  if (auto why = bound(subkey, by); !why) return why;
  return expired(index, "the subkey");
}

verdict_on_key certificate::may_sign(std::size_t index, const judgement& by, const time_point* at) const {
  const public_key& asked = key(index).key;
  if (!signs(asked.algorithm)) return {errc::key_unusable, std::string(name(asked.algorithm)) + " keys do not sign"};
  if (auto why = valid(index, by, at); !why) return why;
  if ((flags(index, by) & key_flag::sign) == 0) return {errc::key_unusable, "its key flags do not permit signing data"};
  if (index != 0) {
    // A binding alone proves nothing: without the subkey's consent, anybody's subkey could be adopted.
    const key_part& subkey = key(index);
    const signature* claim = current(subkey, by);
    const hash_algorithm back = subkey.back_signatures[static_cast<std::size_t>(claim - subkey.claims.data())];
    if (back == hash_algorithm::none) return {errc::key_unusable, "it has no valid back-signature"};
    if (!hash_accepted(back, by))
      return {errc::weak_algorithm, std::string("its back-signature uses ") + name(back) + ", which is not accepted"};
  }
  const bool sized = is_rsa(asked.algorithm) || asked.algorithm == public_key_algorithm::dsa;
  if (sized && asked.bits() < by.min_rsa_bits)
    return {errc::weak_algorithm,
            "it has " + std::to_string(asked.bits()) + " bits, fewer than " + std::to_string(by.min_rsa_bits)};
  return {};
}

verdict_on_key certificate::may_encrypt(std::size_t index, const judgement& by) const {
  const public_key& asked = key(index).key;
  if (!encrypts(asked.algorithm))
    return {errc::key_unusable, std::string(name(asked.algorithm)) + " keys are not for encryption"};
  if (auto why = valid(index, by); !why) return why;
  if ((flags(index, by) & (key_flag::encrypt_communications | key_flag::encrypt_storage)) == 0)
    return {errc::key_unusable, "its key flags do not permit encryption"};
  return {};
}

time_point certificate::newest_self_signature() const noexcept {
  time_point newest = primary_.key.created;
  const auto look = [&](const signed_part& part) {
    for (const auto* list : {&part.claims, &part.revocations})
      for (const signature& sig : *list)
        if (sig.created) newest = std::max(newest, *sig.created);
  };
  look(primary_);
  for (const key_part& part : subkeys_) look(part);
  for (const user_id_part& part : user_ids_) look(part);
  return newest;
}

}  // namespace fussy::openpgp
