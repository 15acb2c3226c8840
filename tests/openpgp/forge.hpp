// Makes keys and certificates packet by packet, right and wrong ones, without any program.
#pragma once

#include <botan/rsa.h>
#include <doctest/doctest.h>

#include <fstream>

#include "openpgp/botan_seam.hpp"
#include "openpgp/certificate.hpp"
#include "openpgp/keyring_state.hpp"
#include "packages.hpp"
#include "support/temporary_directory.hpp"

namespace test {

namespace pgp = fussy::openpgp;

inline pgp::time_point at(long long seconds) { return pgp::time_point(std::chrono::seconds(seconds)); }
/// When forged keys are made unless a test says otherwise: 2020-01-01.
inline constexpr long long epoch = 1577836800;
inline constexpr long long day = 86400;

inline byte_vector number(std::uint64_t value, std::size_t octets) {
  byte_vector out;
  pgp::put_be(out, value, octets);
  return out;
}

/// A fresh Ed25519 key: EdDSA of version 4, or Ed25519 of version 6.
inline pgp::secret_key make_key(long long created = epoch, unsigned version = 4) {
  Botan::secure_vector<std::uint8_t> seed(32);
  pgp::seam::random().randomize(seed.data(), seed.size());
  const auto octets = pgp::seam::ed25519_from(seed)->public_key_bits();
  const byte_view point = fussy::as_bytes(octets.data(), octets.size());
  byte_vector body = number(version, 1) + number(static_cast<std::uint64_t>(created), 4);
  if (version == 6) {
    body = body + number(27, 1) + number(32, 4) + byte_vector(point.begin(), point.end());
  } else {
    byte_vector prefixed{std::byte{0x40}};
    pgp::put(prefixed, point);
    const auto& curve = *pgp::find_curve(pgp::curve_id::ed25519);
    body = body + number(22, 1) + number(curve.oid.size(), 1) + to_octets(curve.oid);
    pgp::put_mpi(body, prefixed);
  }
  return {pgp::parse_public_key(body), {pgp::to_secret(fussy::as_bytes(seed.data(), seed.size()))}};
}

/// A fresh RSA key of version 4.
inline pgp::secret_key make_rsa_key(std::size_t bits = 2048, long long created = epoch) {
  const Botan::RSA_PrivateKey made(pgp::seam::random(), bits);
  const auto octets = [](const Botan::BigInt& n) {
    byte_vector out;
    for (std::size_t i = n.bytes(); i-- > 0;) out.push_back(static_cast<std::byte>(n.byte_at(i)));
    return out;
  };
  byte_vector body = number(4, 1) + number(static_cast<std::uint64_t>(created), 4) + number(1, 1);
  pgp::put_mpi(body, octets(made.get_n()));
  pgp::put_mpi(body, octets(made.get_e()));
  const auto secret = [&](const Botan::BigInt& n) { return pgp::to_secret(octets(n)); };
  return {pgp::parse_public_key(body),
          {secret(made.get_d()), secret(made.get_p()), secret(made.get_q()), pgp::secret_vector(1, std::byte{1})}};
}

inline byte_vector subpacket(unsigned type, const byte_vector& data, bool critical = false) {
  return number(data.size() + 1, 1) + number(type | (critical ? 0x80U : 0U), 1) + data;
}
inline byte_vector created(long long seconds) { return subpacket(2, number(static_cast<std::uint64_t>(seconds), 4)); }
inline byte_vector key_flags(unsigned flags) { return subpacket(27, number(flags, 1)); }
inline byte_vector key_expires(long long after) { return subpacket(9, number(static_cast<std::uint64_t>(after), 4)); }
inline byte_vector reason(unsigned code) { return subpacket(29, number(code, 1) + to_octets("words")); }
inline byte_vector issuer(const pgp::public_key& key) {
  return subpacket(33, number(key.version, 1) + pgp::to_vector(key.fingerprint.octets()));
}

/// Body of a signature over what `over` hashes.
inline byte_vector signature_body(const pgp::secret_key& by, pgp::signature_type type, const byte_vector& over,
                                  byte_vector hashed, const byte_vector& unhashed = {},
                                  pgp::hash_algorithm hash = pgp::hash_algorithm::sha512) {
  const unsigned version = by.key.version;
  const std::size_t width = version == 6 ? 4 : 2;
  hashed = hashed + issuer(by.key);
  byte_vector body = number(version, 1) + number(static_cast<unsigned>(type), 1) +
                     number(static_cast<unsigned>(by.key.algorithm), 1) + number(static_cast<unsigned>(hash), 1) +
                     number(hashed.size(), width) + hashed;
  const byte_vector salt(version == 6 ? pgp::salt_octets(hash) : 0, std::byte{7});
  pgp::hash_context context(hash);
  context.update(salt);
  context.update(over);
  context.update(body);
  context.update(number(version, 1) + number(0xff, 1) + number(body.size(), 4));
  const byte_vector digest = context.finish();
  body = body + number(unhashed.size(), width) + unhashed + byte_vector(digest.begin(), digest.begin() + 2);
  if (version == 6) body = body + number(salt.size(), 1) + salt;
  for (const auto& value : pgp::sign_digest(by, hash, digest)) {
    if (version == 6)
      pgp::put(body, value);
    else
      pgp::put_mpi(body, value);
  }
  return body;
}

inline byte_vector signature_packet(const byte_vector& body) { return packet(pgp::packet_type::signature, body); }
inline byte_vector over_user_id(const pgp::public_key& primary, std::string_view user_id) {
  return primary.hashed() + number(0xb4, 1) + number(user_id.size(), 4) + to_octets(user_id);
}
inline byte_vector over_subkey(const pgp::public_key& primary, const pgp::public_key& subkey) {
  return primary.hashed() + subkey.hashed();
}
inline byte_vector primary_packet(const pgp::secret_key& key) {
  return packet(pgp::packet_type::public_key, key.key.body);
}
inline byte_vector subkey_packet(const pgp::secret_key& key) {
  return packet(pgp::packet_type::public_subkey, key.key.body);
}

inline constexpr std::string_view vendor = "Vendor <vendor@example.org>";

/// User ID packet and its certification.
inline byte_vector certified(const pgp::secret_key& primary, const byte_vector& hashed,
                             std::string_view user_id = vendor,
                             pgp::hash_algorithm hash = pgp::hash_algorithm::sha512) {
  return packet(pgp::packet_type::user_id, to_octets(user_id)) +
         signature_packet(signature_body(primary, pgp::signature_type::certification_positive,
                                         over_user_id(primary.key, user_id), hashed, {}, hash));
}

/// The back-signature as an unhashed subpacket, as gpg places it.
inline byte_vector back_signed(const pgp::secret_key& subkey, const pgp::public_key& primary,
                               const pgp::public_key& over) {
  const byte_vector body =
      signature_body(subkey, pgp::signature_type::primary_key_binding, over_subkey(primary, over), created(epoch));
  return subpacket(32, body);
}

/// Subkey packet and its binding.
inline byte_vector bound(const pgp::secret_key& primary, const pgp::secret_key& subkey, const byte_vector& hashed,
                         const byte_vector& unhashed) {
  return subkey_packet(subkey) +
         signature_packet(signature_body(primary, pgp::signature_type::subkey_binding,
                                         over_subkey(primary.key, subkey.key), hashed, unhashed));
}

inline byte_vector revocation(const pgp::secret_key& by, const pgp::public_key& primary, const byte_vector& hashed) {
  return signature_packet(signature_body(by, pgp::signature_type::key_revocation, primary.hashed(), hashed));
}

/// A certificate whose primary key signs and certifies.
inline byte_vector plain_certificate(const pgp::secret_key& primary, std::string_view user_id = vendor) {
  return primary_packet(primary) + certified(primary, created(epoch) + key_flags(0x03), user_id);
}

inline pgp::keyring ring_of(const byte_vector& octets, const pgp::keyring::options& options = {}) {
  const temporary_directory directory;
  std::ofstream(directory / "keys.gpg", std::ios::binary) << fussy::as_text(octets);
  return pgp::keyring::load(directory / "keys.gpg", options);
}

/// How a message by this key, made at this time, ends with this key ring.
inline result read_signed(const pgp::secret_key& key, const pgp::keyring& ring, const pgp::policy& rules = {},
                          long long made = epoch + 100 * day) {
  const signed_pair s = sign(key, "content", pgp::hash_algorithm::sha512, pgp::signature_type::binary, at(made));
  return read(s.one_pass + literal("content") + s.signature, ring, rules);
}

}  // namespace test
