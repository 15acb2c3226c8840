#include "signature.hpp"

#include <algorithm>

namespace fussy::openpgp {
namespace {

enum class subpacket : std::uint8_t {
  creation_time = 2,
  expiration_time = 3,
  exportable = 4,
  trust = 5,
  regular_expression = 6,
  revocable = 7,
  key_expiration_time = 9,
  preferred_ciphers = 11,
  revocation_key = 12,
  issuer = 16,
  notation = 20,
  preferred_hashes = 21,
  preferred_compression = 22,
  key_server_preferences = 23,
  preferred_key_server = 24,
  primary_user_id = 25,
  policy_uri = 26,
  key_flags = 27,
  signers_user_id = 28,
  revocation_reason = 29,
  features = 30,
  signature_target = 31,
  embedded_signature = 32,
  issuer_fingerprint = 33,
  preferred_aead = 34,
  intended_recipient = 35,
  preferred_aead_suites = 39,
};

/// What a signature must not be refused for when it is marked critical. A critical notation never is: none is known.
bool is_known(subpacket type) {
  switch (type) {
    case subpacket::creation_time:
    case subpacket::expiration_time:
    case subpacket::exportable:
    case subpacket::trust:
    case subpacket::regular_expression:
    case subpacket::revocable:
    case subpacket::key_expiration_time:
    case subpacket::preferred_ciphers:
    case subpacket::revocation_key:
    case subpacket::issuer:
    case subpacket::preferred_hashes:
    case subpacket::preferred_compression:
    case subpacket::key_server_preferences:
    case subpacket::preferred_key_server:
    case subpacket::primary_user_id:
    case subpacket::policy_uri:
    case subpacket::key_flags:
    case subpacket::signers_user_id:
    case subpacket::revocation_reason:
    case subpacket::features:
    case subpacket::signature_target:
    case subpacket::embedded_signature:
    case subpacket::issuer_fingerprint:
    case subpacket::preferred_aead:
    case subpacket::intended_recipient:
    case subpacket::preferred_aead_suites:
      return true;
    case subpacket::notation:
      return false;
  }
  return false;
}

std::size_t read_subpacket_length(cursor& in) {
  const unsigned first = in.u8();
  if (first < 192) return first;
  if (first < 255) return ((first - 192) << 8) + in.u8() + 192;
  return in.u32();
}

template <class Algorithm>
std::vector<Algorithm> algorithms(byte_view octets) {
  std::vector<Algorithm> list;
  for (std::byte b : octets) list.push_back(static_cast<Algorithm>(b));
  return list;
}

std::vector<aead_suite> suites(byte_view octets) {
  std::vector<aead_suite> list;
  for (; octets.size() >= 2; octets = octets.subspan(2))
    list.push_back({static_cast<symmetric_algorithm>(octets[0]), static_cast<aead_algorithm>(octets[1])});
  return list;
}

void read_issuer_fingerprint(signature& sig, cursor data) {
  const unsigned version = data.u8();
  const std::size_t expected = version >= 6 ? 32 : 20;
  if (data.remaining() == expected && (version == 4 || version == 6)) sig.issuer_fingerprint = fingerprint(data.rest());
}

void read_revoker(signature& sig, cursor data) {
  const unsigned kind = data.u8();
  const auto algorithm = static_cast<public_key_algorithm>(data.u8());
  if ((kind & 0x80) != 0 && (data.remaining() == 20 || data.remaining() == 32))
    sig.revokers.push_back({algorithm, fingerprint(data.rest())});
}

/// Subpackets that count wherever they are: they are hints, or prove themselves.
void read_hint(signature& sig, subpacket type, cursor data) {
  switch (type) {
    case subpacket::issuer:
      sig.issuer = data.u64();
      return;
    case subpacket::issuer_fingerprint:
      read_issuer_fingerprint(sig, data);
      return;
    case subpacket::embedded_signature:
      sig.embedded.push_back(to_vector(data.rest()));
      return;
    default:
      return;
  }
}

/// Subpackets that count only where they are signed. The last of several decides.
void read_statement(signature& sig, subpacket type, cursor data) {
  switch (type) {
    case subpacket::creation_time:
      sig.created = time_point(std::chrono::seconds(data.u32()));
      return;
    case subpacket::expiration_time:
      sig.expires_after = data.u32();
      return;
    case subpacket::key_expiration_time:
      sig.key_expires_after = data.u32();
      return;
    case subpacket::preferred_ciphers:
      sig.preferred_ciphers = algorithms<symmetric_algorithm>(data.rest());
      return;
    case subpacket::preferred_hashes:
      sig.preferred_hashes = algorithms<hash_algorithm>(data.rest());
      return;
    case subpacket::preferred_aead_suites:
      sig.preferred_suites = suites(data.rest());
      return;
    case subpacket::primary_user_id:
      sig.primary_user_id = data.u8() != 0;
      return;
    case subpacket::key_flags:
      sig.key_flags = data.empty() ? std::uint8_t{0} : data.u8();
      return;
    case subpacket::features:
      sig.features = data.empty() ? std::uint8_t{0} : data.u8();
      return;
    case subpacket::revocation_reason:
      sig.revocation_reason = data.u8();
      sig.revocation_text = std::string(as_text(data.rest()));
      return;
    case subpacket::revocation_key:
      read_revoker(sig, data);
      return;
    default:
      return;
  }
}

void read_area(signature& sig, cursor area, bool is_signed) {
  const bool had_issuer = sig.issuer.has_value(), had_fingerprint = sig.issuer_fingerprint.has_value();
  while (!area.empty()) {
    cursor data(area.take(read_subpacket_length(area)), "signature subpacket");
    const std::uint8_t octet = data.u8();
    const auto type = static_cast<subpacket>(octet & 0x7f);
    if (is_signed && (octet & 0x80) != 0 && !is_known(type) && sig.defect.empty())
      sig.defect = "it has a critical subpacket of type " + std::to_string(octet & 0x7f) + ", which is not known";
    // An unsigned hint does not replace a signed one.
    if (!is_signed &&
        ((type == subpacket::issuer && had_issuer) || (type == subpacket::issuer_fingerprint && had_fingerprint)))
      continue;
    read_hint(sig, type, data);
    if (is_signed) read_statement(sig, type, data);
  }
}

void read_values(signature& sig, cursor& in) {
  using enum public_key_algorithm;
  const auto numbers = [&](int count) {
    while (count-- > 0) sig.values.push_back(to_vector(in.mpi()));
  };
  switch (sig.algorithm) {
    case rsa:
    case rsa_sign_only:
      numbers(1);
      break;
    case dsa:
    case ecdsa:
    case eddsa_legacy:
      numbers(2);
      break;
    case ed25519:
      sig.values.push_back(to_vector(in.take(64)));
      break;
    case ed448:
      sig.values.push_back(to_vector(in.take(114)));
      break;
    default:
      in.take_rest();
      sig.defect = "its public-key algorithm " + std::to_string(static_cast<unsigned>(sig.algorithm)) +
                   " is not one for signatures";
  }
  if (!in.empty()) in.fail();
}

void check_hash(signature& sig) {
  if (digest_octets(sig.hash) == 0)
    sig.defect = "its hash algorithm " + std::to_string(static_cast<unsigned>(sig.hash)) + " is not known";
  else if (sig.version == 6 && sig.salt.size() != salt_octets(sig.hash))
    sig.defect = "its salt does not have the size that goes with its hash";
  else if (sig.version == 6 && salt_octets(sig.hash) == 0)
    sig.defect = std::string("a v6 signature may not use ") + name(sig.hash);
}

void read_v3(signature& sig, cursor& in) {
  if (in.u8() != 5) in.fail();
  sig.hashed = to_vector(in.rest().first(std::min<std::size_t>(5, in.remaining())));
  sig.type = static_cast<signature_type>(in.u8());
  sig.created = time_point(std::chrono::seconds(in.u32()));
  sig.issuer = in.u64();
  sig.algorithm = static_cast<public_key_algorithm>(in.u8());
  sig.hash = static_cast<hash_algorithm>(in.u8());
  std::ranges::copy(in.take(2), sig.left16.begin());
  using enum public_key_algorithm;
  if (!is_rsa(sig.algorithm) && sig.algorithm != dsa) sig.defect = "a v3 signature may be by RSA or DSA only";
}

void read_v4_or_v6(signature& sig, cursor& in, byte_view whole) {
  const std::size_t length_octets = sig.version == 6 ? 4 : 2;
  sig.type = static_cast<signature_type>(in.u8());
  sig.algorithm = static_cast<public_key_algorithm>(in.u8());
  sig.hash = static_cast<hash_algorithm>(in.u8());
  const auto next_area = [&] { return in.take(static_cast<std::size_t>(load_be(in.take(length_octets)))); };
  const byte_view hashed = next_area();
  sig.hashed = to_vector(whole.first(whole.size() - in.remaining()));
  read_area(sig, cursor(hashed, "signature packet"), true);
  read_area(sig, cursor(next_area(), "signature packet"), false);
  std::ranges::copy(in.take(2), sig.left16.begin());
  if (sig.version == 6) sig.salt = to_vector(in.take(in.u8()));
  if (!sig.created && sig.defect.empty()) sig.defect = "it does not say when it was made";
}

}  // namespace

signature parse_signature(byte_view packet_body) {
  cursor in(packet_body, "signature packet");
  signature sig;
  sig.version = in.u8();
  switch (sig.version) {
    case 3:
      read_v3(sig, in);
      break;
    case 4:
    case 6:
      read_v4_or_v6(sig, in, packet_body);
      break;
    default:
      throw error(errc::unsupported, {.what = "cannot check a signature of version " + std::to_string(sig.version),
                                      .why = "only versions 3, 4 and 6 are known"});
  }
  read_values(sig, in);
  if (sig.defect.empty()) check_hash(sig);
  return sig;
}

bool signature::may_be_by(const public_key& key) const noexcept {
  if (issuer_fingerprint) return *issuer_fingerprint == key.fingerprint;
  return !issuer || *issuer == key.id;
}

bool signature::claims(const public_key& key) const noexcept {
  return (issuer_fingerprint || issuer) && may_be_by(key);
}

std::string signature::issuer_text() const {
  if (issuer_fingerprint) return issuer_fingerprint->hex();
  return issuer ? key_id_hex(*issuer) : "nobody";
}

// ---- Checking -------------------------------------------------------------------------------------------------------

hash_context begin_hash(const signature& sig) {
  hash_context context(sig.hash);
  context.update(sig.salt);
  return context;
}

namespace {

void hash_trailer(hash_context& context, unsigned version, byte_view hashed) {
  context.update(hashed);
  if (version == 3) return;
  context.update_be(version, 1);
  context.update_be(0xff, 1);
  context.update_be(hashed.size(), 4);
}

void hash_user_id(hash_context& context, byte_view user_id) {
  context.update_be(0xb4, 1);
  context.update_be(user_id.size(), 4);
  context.update(user_id);
}

}  // namespace

byte_vector digest_for(const signature& sig, const hash_context& data) {
  hash_context context = data.copy();
  hash_trailer(context, sig.version, sig.hashed);
  return context.finish();
}

bool verifies(const signature& sig, const public_key& key, const hash_context& data) {
  if ((sig.version == 6) != (key.version == 6) || data.algorithm() != sig.hash) return false;
  const bool same_family = is_rsa(sig.algorithm) ? is_rsa(key.algorithm) : sig.algorithm == key.algorithm;
  if (!same_family) return false;
  const byte_vector digest = digest_for(sig, data);
  if (digest.size() < 2 || !equal(byte_view(digest).first(2), sig.left16)) return false;
  return verify_digest(key, sig.hash, digest, sig.values);
}

namespace {

/// Whether it can be checked at all.
bool checkable(const signature& sig) { return hash_context::supported(sig.hash); }

}  // namespace

bool verifies_key(const signature& sig, const public_key& signer, const public_key& primary) {
  if (!checkable(sig)) return false;
  hash_context context = begin_hash(sig);
  context.update(primary.hashed());
  return verifies(sig, signer, context);
}

bool verifies_subkey(const signature& sig, const public_key& signer, const public_key& primary,
                     const public_key& subkey) {
  if (!checkable(sig)) return false;
  hash_context context = begin_hash(sig);
  context.update(primary.hashed());
  context.update(subkey.hashed());
  return verifies(sig, signer, context);
}

bool verifies_user_id(const signature& sig, const public_key& signer, const public_key& primary, byte_view user_id) {
  if (!checkable(sig)) return false;
  hash_context context = begin_hash(sig);
  context.update(primary.hashed());
  if (sig.version == 3)
    context.update(user_id);
  else
    hash_user_id(context, user_id);
  return verifies(sig, signer, context);
}

// ---- Making ---------------------------------------------------------------------------------------------------------

namespace {

void put_subpacket(byte_vector& out, subpacket type, bool critical, byte_view data) {
  put_u8(out, static_cast<std::uint8_t>(data.size() + 1));  // all of ours are short
  put_u8(out, static_cast<std::uint8_t>(static_cast<unsigned>(type) | (critical ? 0x80 : 0)));
  put(out, data);
}

byte_vector signed_area(const public_key& key, time_point created) {
  byte_vector area, data;
  put_be(data, static_cast<std::uint64_t>(created.time_since_epoch().count()), 4);
  put_subpacket(area, subpacket::creation_time, true, data);
  data.clear();
  put_u8(data, key.version);
  put(data, key.fingerprint.octets());
  put_subpacket(area, subpacket::issuer_fingerprint, false, data);
  return area;
}

byte_vector unsigned_area(const public_key& key) {
  byte_vector area, data;
  if (key.version >= 6) return area;  // RFC 9580 section 5.2.3.12: not in v6
  put_be(data, key.id, 8);
  put_subpacket(area, subpacket::issuer, false, data);
  return area;
}

void put_area(byte_vector& out, byte_view area, unsigned version) {
  put_be(out, area.size(), version >= 6 ? 4 : 2);
  put(out, area);
}

}  // namespace

byte_vector salt_for(const secret_key& key, hash_algorithm hash, std::optional<time_point> reproducible) {
  if (key.key.version < 6) return {};
  byte_vector salt(salt_octets(hash));
  if (!reproducible) {
    randomize(salt);
    return salt;
  }
  secret_vector secret;
  for (const secret_vector& value : key.values) put(secret, value);
  byte_vector info = to_vector(as_bytes("fussy signature salt"));
  put_be(info, static_cast<std::uint64_t>(reproducible->time_since_epoch().count()), 8);
  const secret_vector derived = hkdf(hash_algorithm::sha256, secret, key.key.fingerprint.octets(), info, salt.size());
  return to_vector(derived);
}

signature_maker::signature_maker(const secret_key& key, hash_algorithm hash, signature_type type, time_point created,
                                 byte_vector salt)
    : key_(&key), hash_(hash), type_(type), salt_(std::move(salt)) {
  put_u8(hashed_, key.key.version);
  put_u8(hashed_, static_cast<std::uint8_t>(type));
  put_u8(hashed_, static_cast<std::uint8_t>(key.key.algorithm));
  put_u8(hashed_, static_cast<std::uint8_t>(hash));
  put_area(hashed_, signed_area(key.key, created), key.key.version);
}

hash_context signature_maker::begin() const {
  hash_context context(hash_);
  context.update(salt_);
  return context;
}

byte_vector signature_maker::finish(const hash_context& data) const {
  const unsigned version = key_->key.version;
  hash_context context = data.copy();
  hash_trailer(context, version, hashed_);
  const byte_vector digest = context.finish();

  byte_vector body = hashed_;
  put_area(body, unsigned_area(key_->key), version);
  put(body, byte_view(digest).first(2));
  if (version >= 6) {
    put_u8(body, static_cast<std::uint8_t>(salt_.size()));
    put(body, salt_);
  }
  const bool raw =
      key_->key.algorithm == public_key_algorithm::ed25519 || key_->key.algorithm == public_key_algorithm::ed448;
  for (const byte_vector& value : sign_digest(*key_, hash_, digest)) {
    if (raw)
      put(body, value);
    else
      put_mpi(body, value);
  }
  return body;
}

}  // namespace fussy::openpgp
