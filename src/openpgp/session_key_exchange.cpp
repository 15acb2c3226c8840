// The algorithm's part of PKESK packets (RFC 9580 section 5.1): RSA, ElGamal, ECDH, X25519, X448.
#include <botan/exceptn.h>
#include <botan/pubkey.h>

#include "botan_seam.hpp"
#include "crypto.hpp"

namespace fussy::openpgp {
namespace {

using secret_octets = Botan::secure_vector<std::uint8_t>;

template <class Vector>
byte_view view(const Vector& v) {
  return as_bytes(v.data(), v.size());
}
std::vector<std::uint8_t> to_octets(byte_view v) { return {as_uint8(v), as_uint8(v) + v.size()}; }

bool all_zero(byte_view octets) {
  std::byte any{};
  for (std::byte b : octets) any |= b;
  return any == std::byte{};
}

unsigned checksum(byte_view octets) {
  unsigned sum = 0;
  for (std::byte b : octets) sum += std::to_integer<unsigned>(b);
  return sum & 0xffff;
}

// ---- What is encrypted: [cipher] key checksum -----------------------------------------------------------------------

secret_vector encode(unsigned version, const session_key& session) {
  secret_vector m;
  if (version < 6) put_u8(m, static_cast<std::uint8_t>(session.cipher.value()));
  put(m, session.key);
  put_be(m, checksum(session.key), 2);
  return m;
}

std::optional<session_key> decode(unsigned version, byte_view m) {
  const std::size_t front = version < 6 ? 1 : 0;
  if (m.size() < front + 2 + 16) return std::nullopt;
  session_key session;
  const byte_view key = m.subspan(front, m.size() - front - 2);
  if (version < 6) {
    session.cipher = static_cast<symmetric_algorithm>(m[0]);
    if (key_octets(*session.cipher) != key.size()) return std::nullopt;
  }
  if (load_be(m.last(2)) != checksum(key)) return std::nullopt;
  session.key = to_secret(key);
  return session;
}

// ---- RSA and ElGamal ------------------------------------------------------------------------------------------------

std::optional<session_key> decrypt_with_pkcs1(const secret_key& secret, unsigned version, byte_view ciphertext) {
  const auto key = seam::load(secret);
  const Botan::PK_Decryptor_EME decryptor(*key, seam::random(), "PKCS1v15");
  const secret_octets m = decryptor.decrypt(as_uint8(ciphertext), ciphertext.size());
  return decode(version, view(m));
}

std::optional<session_key> decrypt_rsa(const secret_key& secret, unsigned version, cursor fields) {
  const byte_vector value = padded(fields.mpi(), secret.key.values.at(0).size());
  if (value.empty() || !fields.empty()) return std::nullopt;
  return decrypt_with_pkcs1(secret, version, value);
}

std::optional<session_key> decrypt_elgamal(const secret_key& secret, unsigned version, cursor fields) {
  const std::size_t p_octets = secret.key.values.at(0).size();
  byte_vector value = padded(fields.mpi(), p_octets);
  const byte_vector second = padded(fields.mpi(), p_octets);
  if (value.empty() || second.empty() || !fields.empty()) return std::nullopt;
  put(value, second);
  return decrypt_with_pkcs1(secret, version, value);
}

std::vector<std::uint8_t> encrypt_with_pkcs1(const public_key& recipient, unsigned version,
                                             const session_key& session) {
  const auto key = seam::load(recipient);
  const Botan::PK_Encryptor_EME encryptor(*key, seam::random(), "PKCS1v15");
  const secret_vector m = encode(version, session);
  return encryptor.encrypt(as_uint8(m), m.size(), seam::random());
}

// ---- ECDH (RFC 6637, RFC 9580 section 11.5) -------------------------------------------------------------------------

/// The key that wraps: one block of a digest over counter, shared secret and who it is for.
secret_vector ecdh_kek(const public_key& recipient, byte_view shared) {
  const curve_info& curve = *find_curve(recipient.curve);
  byte_vector param;
  put_u8(param, static_cast<std::uint8_t>(curve.oid.size()));
  put(param, as_bytes(curve.oid));
  put_u8(param, static_cast<std::uint8_t>(public_key_algorithm::ecdh));
  put_be(param, 0x0301, 2);
  put_u8(param, static_cast<std::uint8_t>(recipient.kdf_hash));
  put_u8(param, static_cast<std::uint8_t>(recipient.kdf_cipher));
  put(param, as_bytes("Anonymous Sender    "));
  put(param, recipient.fingerprint.octets());

  hash_context hash(recipient.kdf_hash);
  hash.update_be(1, 4);
  hash.update(shared);
  hash.update(param);
  const byte_vector digest = hash.finish();
  return to_secret(byte_view(digest).first(key_octets(recipient.kdf_cipher)));
}

/// PKCS#5 padding off; some pad m to 40 octets to hide the size of the key.
std::optional<byte_view> without_padding(byte_view m) {
  const std::size_t n = std::to_integer<std::size_t>(m.back());
  if (n == 0 || n > m.size()) return std::nullopt;
  for (std::byte b : m.last(n))
    if (std::to_integer<std::size_t>(b) != n) return std::nullopt;
  return m.first(m.size() - n);
}

bool is_montgomery(const public_key& key) { return key.curve == curve_id::curve25519; }

std::optional<session_key> decrypt_ecdh(const secret_key& secret, unsigned version, cursor fields) {
  byte_view point = fields.mpi();
  const byte_view wrapped = fields.take(fields.u8());
  if (!fields.empty()) return std::nullopt;
  if (is_montgomery(secret.key)) {
    if (point.size() != 33 || point[0] != std::byte{0x40}) return std::nullopt;
    point = point.subspan(1);
  }
  const secret_octets shared = seam::agree(*seam::load(secret), to_octets(point));
  if (all_zero(view(shared))) return std::nullopt;
  const auto padded_m = key_unwrap(ecdh_kek(secret.key, view(shared)), wrapped);
  if (!padded_m || padded_m->empty()) return std::nullopt;
  const auto m = without_padding(*padded_m);
  return m ? decode(version, *m) : std::nullopt;
}

byte_vector encrypt_ecdh(const public_key& recipient, unsigned version, const session_key& session) {
  secret_vector m = encode(version, session);
  const std::size_t size = std::max<std::size_t>(40, m.size() / 8 * 8 + 8);
  m.resize(size, static_cast<std::byte>(size - m.size()));

  const auto ephemeral = seam::ephemeral_for(recipient);
  const secret_octets shared = seam::agree(*ephemeral, to_octets(recipient.values.at(0)));
  if (all_zero(view(shared))) throw Botan::Invalid_Argument("the recipient's point has a small order");
  byte_vector point = to_vector(view(seam::public_value(*ephemeral)));
  if (is_montgomery(recipient)) point.insert(point.begin(), std::byte{0x40});
  const byte_vector wrapped = key_wrap(ecdh_kek(recipient, view(shared)), m);

  byte_vector fields;
  put_mpi(fields, point);
  put_u8(fields, static_cast<std::uint8_t>(wrapped.size()));
  put(fields, wrapped);
  return fields;
}

// ---- X25519 and X448 (RFC 9580 sections 5.1.6 and 5.1.7) ------------------------------------------------------------

struct x_parameters {
  std::size_t octets;  ///< of a public value
  hash_algorithm hash;
  std::string_view info;
  std::size_t kek_octets;
};
x_parameters parameters(public_key_algorithm a) {
  if (a == public_key_algorithm::x25519) return {32, hash_algorithm::sha256, "OpenPGP X25519", 16};
  return {56, hash_algorithm::sha512, "OpenPGP X448", 32};
}

secret_vector x_kek(const x_parameters& p, byte_view ephemeral, const public_key& recipient, byte_view shared) {
  secret_vector input = to_secret(ephemeral);
  put(input, recipient.values.at(0));
  put(input, shared);
  return hkdf(p.hash, input, {}, as_bytes(p.info), p.kek_octets);
}

std::optional<session_key> decrypt_x(const secret_key& secret, unsigned version, cursor fields) {
  const x_parameters p = parameters(secret.key.algorithm);
  const byte_view ephemeral = fields.take(p.octets);
  cursor following(fields.take(fields.u8()));
  if (!fields.empty()) return std::nullopt;
  session_key session;
  if (version < 6) session.cipher = static_cast<symmetric_algorithm>(following.u8());
  const secret_octets shared = seam::agree(*seam::load(secret), to_octets(ephemeral));
  if (all_zero(view(shared))) return std::nullopt;
  auto key = key_unwrap(x_kek(p, ephemeral, secret.key, view(shared)), following.rest());
  if (!key || (session.cipher && key_octets(*session.cipher) != key->size())) return std::nullopt;
  session.key = std::move(*key);
  return session;
}

byte_vector encrypt_x(const public_key& recipient, unsigned version, const session_key& session) {
  const x_parameters p = parameters(recipient.algorithm);
  const auto own = seam::ephemeral_for(recipient);
  const byte_vector ephemeral = to_vector(view(seam::public_value(*own)));
  const secret_octets shared = seam::agree(*own, to_octets(recipient.values.at(0)));
  if (all_zero(view(shared))) throw Botan::Invalid_Argument("the recipient's point has a small order");
  const byte_vector wrapped = key_wrap(x_kek(p, ephemeral, recipient, view(shared)), session.key);

  byte_vector fields = ephemeral;
  put_u8(fields, static_cast<std::uint8_t>(wrapped.size() + (version < 6 ? 1 : 0)));
  if (version < 6) put_u8(fields, static_cast<std::uint8_t>(session.cipher.value()));
  put(fields, wrapped);
  return fields;
}

}  // namespace

std::optional<session_key> decrypt_session_key(const secret_key& secret, unsigned version, byte_view fields) {
  using enum public_key_algorithm;
  try {
    const cursor in(fields, "session key packet");
    switch (secret.key.algorithm) {
      case rsa:
      case rsa_encrypt_only:
        return decrypt_rsa(secret, version, in);
      case elgamal:
        return decrypt_elgamal(secret, version, in);
      case ecdh:
        return decrypt_ecdh(secret, version, in);
      case x25519:
      case x448:
        return decrypt_x(secret, version, in);
      default:
        return std::nullopt;
    }
  } catch (const Botan::Exception&) {
    return std::nullopt;
  } catch (const error&) {
    return std::nullopt;
  }
}

byte_vector encrypt_session_key(const public_key& recipient, unsigned version, const session_key& session) {
  using enum public_key_algorithm;
  try {
    byte_vector fields;
    switch (recipient.algorithm) {
      case rsa:
      case rsa_encrypt_only:
        put_mpi(fields, view(encrypt_with_pkcs1(recipient, version, session)));
        return fields;
      case elgamal: {
        const std::vector<std::uint8_t> both = encrypt_with_pkcs1(recipient, version, session);
        put_mpi(fields, view(both).first(both.size() / 2));
        put_mpi(fields, view(both).subspan(both.size() / 2));
        return fields;
      }
      case ecdh:
        return encrypt_ecdh(recipient, version, session);
      case x25519:
      case x448:
        return encrypt_x(recipient, version, session);
      default:
        throw error(errc::unsupported, {.what = "cannot encrypt for key " + recipient.fingerprint.hex(),
                                        .why = recipient.describe() + " is not for encryption"});
    }
  } catch (const Botan::Exception& e) {
    throw error(errc::no_recipient_key, {.what = "cannot encrypt for key " + recipient.fingerprint.hex(),
                                         .why = e.what(),
                                         .remedy = "get the recipient's key again, this copy may be damaged"});
  }
}

}  // namespace fussy::openpgp
