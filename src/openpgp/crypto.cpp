#include "crypto.hpp"

#include <botan/aead.h>
#include <botan/block_cipher.h>
#include <botan/exceptn.h>
#include <botan/hash.h>
#include <botan/nist_keywrap.h>
#include <botan/pubkey.h>

#include "botan_seam.hpp"

namespace fussy::openpgp {
namespace {

template <class Vector>
byte_view view(const Vector& v) {
  return as_bytes(v.data(), v.size());
}

[[noreturn]] void no_such_algorithm(const std::string& name) {
  throw error(errc::unsupported,
              {.what = "cannot compute " + name, .why = "this build lacks it", .remedy = "use another algorithm"});
}

}  // namespace

// ---- Digests --------------------------------------------------------------------------------------------------------

struct hash_context::impl {
  std::unique_ptr<Botan::HashFunction> hash;
};

hash_context::hash_context(hash_algorithm algorithm) : algorithm_(algorithm), impl_(std::make_unique<impl>()) {
  impl_->hash = Botan::HashFunction::create(seam::hash_name(algorithm));
  if (!impl_->hash) no_such_algorithm(std::string("hash ") + name(algorithm));
}
hash_context::hash_context(hash_algorithm algorithm, std::unique_ptr<impl> state)
    : algorithm_(algorithm), impl_(std::move(state)) {}
hash_context::hash_context(hash_context&&) noexcept = default;
hash_context& hash_context::operator=(hash_context&&) noexcept = default;
hash_context::~hash_context() = default;

bool hash_context::supported(hash_algorithm algorithm) {
  return digest_octets(algorithm) != 0 && Botan::HashFunction::create(seam::hash_name(algorithm)) != nullptr;
}

void hash_context::update(byte_view bytes) { impl_->hash->update(as_uint8(bytes), bytes.size()); }

void hash_context::update_be(std::uint64_t value, std::size_t octets) {
  std::array<std::byte, 8> buffer{};
  const byte_span number = byte_span(buffer).first(octets);
  store_be(number, value);
  update(number);
}

hash_context hash_context::copy() const {
  auto state = std::make_unique<impl>();
  state->hash = impl_->hash->copy_state();
  return {algorithm_, std::move(state)};
}

byte_vector hash_context::finish() {
  byte_vector digest(impl_->hash->output_length());
  impl_->hash->final(as_uint8(byte_span(digest)));
  return digest;
}

byte_vector digest_of(hash_algorithm algorithm, byte_view bytes) {
  hash_context context(algorithm);
  context.update(bytes);
  return context.finish();
}

// ---- Signatures -----------------------------------------------------------------------------------------------------

namespace {

/// Order of Ed25519's base point, big endian.
constexpr std::array<std::uint8_t, 32> ed25519_order{0x10, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
                                                     0,    0,    0,    0,    0,    0x14, 0xde, 0xf9, 0xde, 0xa2, 0xf7,
                                                     0x9c, 0xd6, 0x58, 0x12, 0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed};

/// S < L (RFC 8032 section 5.1.7); without it a second valid signature can be made from every one.
bool is_canonical_ed25519(byte_view rs) {
  const auto s = rs.subspan(32);
  return std::lexicographical_compare(s.rbegin(), s.rend(), view(ed25519_order).begin(), view(ed25519_order).end());
}

/// The leftmost bits of a digest, as many as the order of the group has (FIPS 186-4 section 4.6).
byte_vector leftmost_bits(byte_view digest, unsigned bits) {
  if (digest.size() * 8 <= bits) return to_vector(digest);
  byte_vector number = to_vector(digest.first((bits + 7) / 8));
  if (const unsigned drop = static_cast<unsigned>(number.size()) * 8 - bits; drop != 0) {
    unsigned carry = 0;
    for (std::byte& b : number) {
      const unsigned value = std::to_integer<unsigned>(b);
      b = static_cast<std::byte>((value >> drop | carry << (8 - drop)) & 0xff);
      carry = value;
    }
  }
  return number;
}

/// r || s, each in `octets`; empty when one does not fit.
byte_vector concatenated(const signature_values& values, std::size_t octets) {
  byte_vector both = padded(values.at(0), octets);
  const byte_vector second = padded(values.at(1), octets);
  if (both.empty() || second.empty()) return {};
  put(both, second);
  return both;
}

/// How Botan is asked to check or make a signature of this kind, and its value as Botan has it.
struct signature_form {
  std::string padding;
  byte_vector message;
  std::size_t value_octets;  ///< of each value
};

signature_form form_of(const public_key& key, hash_algorithm hash, byte_view digest) {
  using enum public_key_algorithm;
  switch (key.algorithm) {
    case dsa: {
      const unsigned q_bits = bit_length(key.values.at(1));
      return {"Raw", leftmost_bits(digest, q_bits), (q_bits + 7) / 8};
    }
    // The order of every curve in the table is as long as its field.
    case ecdsa:
      return {"Raw", to_vector(digest), find_curve(key.curve)->field_octets()};
    case eddsa_legacy:
      return {"Pure", to_vector(digest), 32};
    case ed25519:
      return {"Pure", to_vector(digest), 64};
    case ed448:
      return {"Pure", to_vector(digest), 114};
    default:
      return {std::string("PKCS1v15(Raw,") + seam::hash_name(hash) + ")", to_vector(digest), key.values.at(0).size()};
  }
}

bool is_eddsa(public_key_algorithm a) {
  using enum public_key_algorithm;
  return a == eddsa_legacy || a == ed25519 || a == ed448;
}

/// RFC 9580 section 5.2.3.3 ff.: hashes below these sizes do not go with the key.
bool hash_is_large_enough(const public_key& key, hash_algorithm hash) {
  using enum public_key_algorithm;
  if (key.algorithm == ed448) return digest_octets(hash) >= 64;
  if (is_eddsa(key.algorithm)) return digest_octets(hash) >= 32;
  return true;
}

}  // namespace

bool verify_digest(const public_key& key, hash_algorithm hash, byte_view digest, const signature_values& values) {
  if (!signs(key.algorithm) || !seam::supports(key)) return false;
  if (!hash_is_large_enough(key, hash) || digest.size() != digest_octets(hash)) return false;
  const std::size_t expected = is_rsa(key.algorithm) || key.algorithm == public_key_algorithm::ed25519 ||
                                       key.algorithm == public_key_algorithm::ed448
                                   ? 1
                                   : 2;
  if (values.size() != expected) return false;
  try {
    const signature_form form = form_of(key, hash, digest);
    const byte_vector value =
        expected == 1 ? padded(values[0], form.value_octets) : concatenated(values, form.value_octets);
    if (value.empty()) return false;
    if (is_eddsa(key.algorithm) && value.size() == 64 && !is_canonical_ed25519(value)) return false;
    const auto loaded = seam::load(key);
    Botan::PK_Verifier verifier(*loaded, form.padding);
    return verifier.verify_message(as_uint8(form.message), form.message.size(), as_uint8(value), value.size());
  } catch (const Botan::Exception&) {
    return false;  // values that make no key, a point that is not on its curve, …
  }
}

signature_values sign_digest(const secret_key& secret, hash_algorithm hash, byte_view digest) {
  const public_key& key = secret.key;
  try {
    const signature_form form = form_of(key, hash, digest);
    const auto loaded = seam::load(secret);
    // RSA is deterministic, EdDSA too, and Botan makes DSA and ECDSA so (RFC 6979): the same input, the same octets.
    Botan::PK_Signer signer(*loaded, seam::random(), form.padding);
    const std::vector<std::uint8_t> made =
        signer.sign_message(as_uint8(form.message), form.message.size(), seam::random());
    const byte_view octets = view(made);
    signature_values values;
    if (is_rsa(key.algorithm)) {
      values = {to_vector(without_leading_zeros(octets))};
    } else if (key.algorithm == public_key_algorithm::ed25519 || key.algorithm == public_key_algorithm::ed448) {
      values = {to_vector(octets)};
    } else {
      const std::size_t half = octets.size() / 2;
      values = {to_vector(without_leading_zeros(octets.first(half))),
                to_vector(without_leading_zeros(octets.subspan(half)))};
    }
    // A secret that does not belong to its public key, or a fault while computing, must not get out: with RSA it could
    // give away the key.
    if (!verify_digest(key, hash, digest, values)) throw Botan::Invalid_Argument("what it made does not verify");
    return values;
  } catch (const Botan::Exception& e) {
    throw error(errc::failure, {.what = "cannot sign with key " + key.fingerprint.hex(),
                                .why = e.what(),
                                .remedy = "check the secret key, its file may be damaged"});
  }
}

// ---- Keys and modes -------------------------------------------------------------------------------------------------

namespace {

std::unique_ptr<Botan::BlockCipher> keyed_cipher(byte_view kek) {
  auto cipher = Botan::BlockCipher::create_or_throw("AES-" + std::to_string(kek.size() * 8));
  cipher->set_key(as_uint8(kek), kek.size());
  return cipher;
}

secret_vector run_mode(const std::string& algorithm, byte_view key, byte_view iv, byte_view input) {
  const auto mode = Botan::Cipher_Mode::create(algorithm, seam::decrypting);
  if (!mode) no_such_algorithm("cipher " + algorithm);
  mode->set_key(as_uint8(key), key.size());
  mode->start(as_uint8(iv), iv.size());
  Botan::secure_vector<std::uint8_t> buffer(as_uint8(input), as_uint8(input) + input.size());
  mode->finish(buffer);
  return to_secret(view(buffer));
}

}  // namespace

void randomize(byte_span out) { seam::random().randomize(as_uint8(out), out.size()); }

std::optional<secret_vector> key_unwrap(byte_view kek, byte_view wrapped) {
  if (wrapped.size() < 24 || wrapped.size() % 8 != 0) return std::nullopt;
  try {
    return to_secret(view(Botan::nist_key_unwrap(as_uint8(wrapped), wrapped.size(), *keyed_cipher(kek))));
  } catch (const Botan::Exception&) {
    return std::nullopt;
  }
}

byte_vector key_wrap(byte_view kek, byte_view key) {
  return to_vector(view(Botan::nist_key_wrap(as_uint8(key), key.size(), *keyed_cipher(kek))));
}

secret_vector hkdf(hash_algorithm hash, byte_view input, byte_view salt, byte_view info, std::size_t octets) {
  return to_secret(view(seam::hkdf(hash, input, salt, info, octets)));
}

secret_vector cfb_decrypt(symmetric_algorithm cipher, byte_view key, byte_view iv, byte_view ciphertext) {
  return run_mode(std::string(name(cipher)) + "/CFB", key, iv, ciphertext);
}

secret_vector cbc_decrypt(symmetric_algorithm cipher, byte_view key, byte_view iv, byte_view ciphertext) {
  if (ciphertext.empty() || ciphertext.size() % block_octets(cipher) != 0) return {};
  return run_mode(std::string(name(cipher)) + "/CBC/NoPadding", key, iv, ciphertext);
}

std::optional<secret_vector> aead_decrypt(symmetric_algorithm cipher, aead_algorithm mode, byte_view key,
                                          byte_view nonce, byte_view associated, byte_view ciphertext) {
  const std::string algorithm = std::string(name(cipher)) + "/" + name(mode);
  const auto aead = Botan::AEAD_Mode::create(algorithm, seam::decrypting);
  if (!aead) no_such_algorithm("cipher " + algorithm);
  if (ciphertext.size() < aead_tag_octets) return std::nullopt;
  try {
    aead->set_key(as_uint8(key), key.size());
    aead->set_associated_data(as_uint8(associated), associated.size());
    aead->start(as_uint8(nonce), nonce.size());
    Botan::secure_vector<std::uint8_t> buffer(as_uint8(ciphertext), as_uint8(ciphertext) + ciphertext.size());
    aead->finish(buffer);
    return to_secret(view(buffer));
  } catch (const Botan::Exception&) {
    return std::nullopt;
  }
}

}  // namespace fussy::openpgp
