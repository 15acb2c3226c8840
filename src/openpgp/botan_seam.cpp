// DSA is deprecated in Botan 3, as it should be; the key rings of 2012 are not gone for that.
#define BOTAN_NO_DEPRECATED_WARNINGS

#include "botan_seam.hpp"

#include <botan/ec_group.h>
#include <botan/ecdh.h>
#include <botan/ecdsa.h>
#include <botan/ed25519.h>
#include <botan/kdf.h>
#include <botan/pubkey.h>
#include <botan/rsa.h>
#include <botan/system_rng.h>
#if defined(BOTAN_HAS_DSA) || defined(BOTAN_HAS_ELGAMAL)
#define FUSSY_WITH_DISCRETE_LOGARITHMS
#include <botan/dl_group.h>
#endif
#if defined(BOTAN_HAS_DSA)
#include <botan/dsa.h>
#endif
#if defined(BOTAN_HAS_ELGAMAL)
#include <botan/elgamal.h>
#endif
#if BOTAN_VERSION_MAJOR >= 3
#include <botan/x25519.h>
#if defined(BOTAN_HAS_ED448)
#include <botan/ed448.h>
#endif
#if defined(BOTAN_HAS_X448)
#include <botan/x448.h>
#endif
#else
#include <botan/curve25519.h>
#endif

namespace fussy::openpgp::seam {
namespace {

using octets = std::vector<std::uint8_t>;
using secret_octets = Botan::secure_vector<std::uint8_t>;

#if BOTAN_VERSION_MAJOR >= 3
using X25519_PublicKey = Botan::X25519_PublicKey;
using X25519_PrivateKey = Botan::X25519_PrivateKey;

Botan::EC_Group group_named(const char* name) { return Botan::EC_Group::from_name(name); }
octets group_bits(const Botan::EC_Group& group) { return group.DER_encode(); }
template <class Key>
std::unique_ptr<Botan::Private_Key> ec_private(const Botan::EC_Group& group, byte_view scalar) {
  return std::make_unique<Key>(group, Botan::EC_Scalar::from_bigint(group, number(scalar)));
}
#if defined(FUSSY_WITH_DISCRETE_LOGARITHMS)
template <class Key>
std::unique_ptr<Botan::Private_Key> dl_private(const Botan::DL_Group& group, byte_view x) {
  return std::make_unique<Key>(group, number(x));
}
#endif
#else
using X25519_PublicKey = Botan::Curve25519_PublicKey;
using X25519_PrivateKey = Botan::Curve25519_PrivateKey;

Botan::EC_Group group_named(const char* name) { return Botan::EC_Group(std::string(name)); }
octets group_bits(const Botan::EC_Group& group) { return group.DER_encode(Botan::EC_DOMPAR_ENC_OID); }
template <class Key>
std::unique_ptr<Botan::Private_Key> ec_private(const Botan::EC_Group& group, byte_view scalar) {
  return std::make_unique<Key>(random(), group, number(scalar));
}
#if defined(FUSSY_WITH_DISCRETE_LOGARITHMS)
template <class Key>
std::unique_ptr<Botan::Private_Key> dl_private(const Botan::DL_Group& group, byte_view x) {
  return std::make_unique<Key>(random(), group, number(x));
}
#endif
#endif

octets to_octets(byte_view v) { return {as_uint8(v), as_uint8(v) + v.size()}; }
secret_octets to_secret_octets(byte_view v) { return {as_uint8(v), as_uint8(v) + v.size()}; }

[[noreturn]] void unsupported(const public_key& key) {
  throw error(errc::unsupported, {.what = "cannot use key " + key.fingerprint.hex(),
                                  .why = objection(key),
                                  .remedy = "use a key of another algorithm"});
}

/// A Weierstrass curve; never null for ECDSA and ECDH keys that are usable, but for Curve25519.
Botan::EC_Group group_of(const public_key& key) {
  const curve_info* curve = find_curve(key.curve);
  if (curve == nullptr || curve->botan_name == nullptr) unsupported(key);
  return group_named(curve->botan_name);
}

template <class Key>
std::unique_ptr<Botan::Public_Key> ec_public(const char* algorithm, const public_key& key) {
  // From octets, so that no type of a point appears: Botan 2 and 3 have different ones. Points off the curve throw.
  const Botan::AlgorithmIdentifier id(algorithm, group_bits(group_of(key)));
  return std::make_unique<Key>(id, to_octets(key.values.at(0)));
}

}  // namespace

const char* hash_name(hash_algorithm algorithm) noexcept {
  switch (algorithm) {
    case hash_algorithm::sha3_256:
      return "SHA-3(256)";
    case hash_algorithm::sha3_512:
      return "SHA-3(512)";
    default:
      return name(algorithm);
  }
}

Botan::RandomNumberGenerator& random() { return Botan::system_rng(); }

bool supports(const public_key& key) noexcept {
  if (!key.usable()) return false;
  switch (key.algorithm) {
    // What a Botan without deprecated modules lacks.
    case public_key_algorithm::dsa:
#if defined(BOTAN_HAS_DSA)
      return true;
#else
      return false;
#endif
    case public_key_algorithm::elgamal:
#if defined(BOTAN_HAS_ELGAMAL)
      return true;
#else
      return false;
#endif
    // What Botan 2 lacks.
    case public_key_algorithm::ed448:
#if defined(BOTAN_HAS_ED448)
      return true;
#else
      return false;
#endif
    case public_key_algorithm::x448:
#if defined(BOTAN_HAS_X448)
      return true;
#else
      return false;
#endif
    default:
      return true;
  }
}

std::string objection(const public_key& key) {
  if (!key.usable() || supports(key)) return key.unsupported;
  return "unsupported algorithm: Botan " + Botan::short_version_string() + " has no " + key.describe();
}

std::unique_ptr<Botan::Public_Key> load(const public_key& key) {
  if (!supports(key)) unsupported(key);
  const auto& v = key.values;
  using enum public_key_algorithm;
  switch (key.algorithm) {
    case rsa:
    case rsa_encrypt_only:
    case rsa_sign_only:
      return std::make_unique<Botan::RSA_PublicKey>(number(v.at(0)), number(v.at(1)));
#if defined(BOTAN_HAS_DSA)
    case dsa:
      return std::make_unique<Botan::DSA_PublicKey>(Botan::DL_Group(number(v.at(0)), number(v.at(1)), number(v.at(2))),
                                                    number(v.at(3)));
#endif
#if defined(BOTAN_HAS_ELGAMAL)
    case elgamal:
      return std::make_unique<Botan::ElGamal_PublicKey>(Botan::DL_Group(number(v.at(0)), number(v.at(1))),
                                                        number(v.at(2)));
#endif
    case ecdsa:
      return ec_public<Botan::ECDSA_PublicKey>("ECDSA", key);
    case ecdh:
      if (key.curve == curve_id::curve25519) return std::make_unique<X25519_PublicKey>(to_octets(v.at(0)));
      return ec_public<Botan::ECDH_PublicKey>("ECDH", key);
    case x25519:
      return std::make_unique<X25519_PublicKey>(to_octets(v.at(0)));
    case eddsa_legacy:
    case ed25519:
      return std::make_unique<Botan::Ed25519_PublicKey>(to_octets(v.at(0)));
#if defined(BOTAN_HAS_ED448)
    case ed448:
      return std::make_unique<Botan::Ed448_PublicKey>(to_octets(v.at(0)));
#endif
#if defined(BOTAN_HAS_X448)
    case x448:
      return std::make_unique<Botan::X448_PublicKey>(to_octets(v.at(0)));
#endif
    default:
      unsupported(key);
  }
}

std::unique_ptr<Botan::Private_Key> load(const secret_key& secret) {
  const public_key& key = secret.key;
  if (!supports(key)) unsupported(key);
  const auto& v = key.values;
  const auto& s = secret.values;
  using enum public_key_algorithm;
  switch (key.algorithm) {
    case rsa:
    case rsa_encrypt_only:
    case rsa_sign_only:
      return std::make_unique<Botan::RSA_PrivateKey>(number(s.at(1)), number(s.at(2)), number(v.at(1)), number(s.at(0)),
                                                     number(v.at(0)));
#if defined(BOTAN_HAS_DSA)
    case dsa:
      return dl_private<Botan::DSA_PrivateKey>(Botan::DL_Group(number(v.at(0)), number(v.at(1)), number(v.at(2))),
                                               s.at(0));
#endif
#if defined(BOTAN_HAS_ELGAMAL)
    case elgamal:
      return dl_private<Botan::ElGamal_PrivateKey>(Botan::DL_Group(number(v.at(0)), number(v.at(1))), s.at(0));
#endif
    case ecdsa:
      return ec_private<Botan::ECDSA_PrivateKey>(group_of(key), s.at(0));
    case ecdh:
      if (key.curve == curve_id::curve25519) return std::make_unique<X25519_PrivateKey>(to_secret_octets(s.at(0)));
      return ec_private<Botan::ECDH_PrivateKey>(group_of(key), s.at(0));
    case x25519:
      return std::make_unique<X25519_PrivateKey>(to_secret_octets(s.at(0)));
    case eddsa_legacy:
    case ed25519:
      return ed25519_from(to_secret_octets(s.at(0)));
#if defined(BOTAN_HAS_ED448)
    case ed448:
      return std::make_unique<Botan::Ed448_PrivateKey>(to_secret_octets(s.at(0)));
#endif
#if defined(BOTAN_HAS_X448)
    case x448:
      return std::make_unique<Botan::X448_PrivateKey>(to_secret_octets(s.at(0)));
#endif
    default:
      unsupported(key);
  }
}

std::unique_ptr<Botan::Private_Key> ed25519_from(const Botan::secure_vector<std::uint8_t>& seed) {
  return std::make_unique<Botan::Ed25519_PrivateKey>(seed);  // deprecated from 3.8 on, its successor is not in 3.7
}

std::unique_ptr<Botan::Private_Key> ephemeral_for(const public_key& recipient) {
  if (!supports(recipient)) unsupported(recipient);
  if (recipient.algorithm == public_key_algorithm::x25519 || recipient.curve == curve_id::curve25519)
    return std::make_unique<X25519_PrivateKey>(random());
#if defined(BOTAN_HAS_X448)
  if (recipient.algorithm == public_key_algorithm::x448) return std::make_unique<Botan::X448_PrivateKey>(random());
#endif
  return std::make_unique<Botan::ECDH_PrivateKey>(random(), group_of(recipient));
}

std::vector<std::uint8_t> public_value(const Botan::Private_Key& key) {
  return dynamic_cast<const Botan::PK_Key_Agreement_Key&>(key).public_value();
}

Botan::secure_vector<std::uint8_t> agree(const Botan::Private_Key& key, const std::vector<std::uint8_t>& peer) {
  const Botan::PK_Key_Agreement agreement(key, random(), "Raw");
  return agreement.derive_key(0, peer).bits_of();
}

Botan::secure_vector<std::uint8_t> hkdf(hash_algorithm hash, byte_view input, byte_view salt, byte_view info,
                                        std::size_t size) {
  const auto kdf = Botan::KDF::create_or_throw(std::string("HKDF(") + hash_name(hash) + ")");
  return kdf->derive_key(size, as_uint8(input), input.size(), as_uint8(salt), salt.size(), as_uint8(info), info.size());
}

}  // namespace fussy::openpgp::seam
