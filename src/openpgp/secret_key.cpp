// Secret key packets (RFC 9580 section 5.5.3) and keys that open with a passphrase.
#include "crypto.hpp"
#include "key.hpp"
#include "s2k.hpp"
#include "secret_values.hpp"

namespace fussy::openpgp {

// ---- Values ---------------------------------------------------------------------------------------------------------

secret_vector native_from_number(byte_view big_endian, std::size_t octets, bool reverse) {
  secret_vector out = padded<secret_vector>(big_endian, octets);
  if (reverse) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<secret_vector> read_secret_values(const public_key& key, cursor& in) {
  using enum public_key_algorithm;
  const auto number = [&] { return to_secret(in.mpi()); };
  switch (key.algorithm) {
    case rsa:
    case rsa_encrypt_only:
    case rsa_sign_only: {
      std::vector<secret_vector> values;
      for (int i = 0; i < 4; ++i) values.push_back(number());
      return values;
    }
    case dsa:
    case elgamal:
    case ecdsa:
      return {number()};
    case ecdh:
      if (key.curve == curve_id::curve25519) return {native_from_number(in.mpi(), 32, true)};
      return {number()};
    case eddsa_legacy:
      return {native_from_number(in.mpi(), 32, false)};
    case x25519:
    case ed25519:
      return {to_secret(in.take(32))};
    case x448:
      return {to_secret(in.take(56))};
    case ed448:
      return {to_secret(in.take(57))};
  }
  throw error(errc::unsupported, {.what = "cannot use secret key " + key.fingerprint.hex(), .why = key.unsupported});
}

void check_secret_values(const public_key& key, const std::vector<secret_vector>& values) {
  for (const secret_vector& value : values)
    if (value.empty())
      throw error(errc::bad_message, {.what = "cannot use secret key " + key.fingerprint.hex(),
                                      .why = "one of its numbers is zero or too large",
                                      .remedy = "export it again"});
}

// ---- Protection -----------------------------------------------------------------------------------------------------

namespace {

constexpr std::uint8_t usage_clear = 0, usage_aead = 253, usage_sha1 = 254, usage_checksum = 255;

/// What stands between the public values and the secret ones.
struct protection {
  std::uint8_t usage = usage_clear;
  symmetric_algorithm cipher{};
  aead_algorithm aead{};
  s2k spec;
  byte_vector iv;
  unsigned tag = 5;  ///< of the packet
};

[[noreturn]] void wrong_passphrase(const public_key& key) {
  throw error(errc::bad_passphrase, {.what = "cannot open secret key " + key.fingerprint.hex(),
                                     .why = "the passphrase is wrong, or the key is damaged",
                                     .remedy = "give the right passphrase"});
}

[[noreturn]] void needs_passphrase(const public_key& key) {
  throw error(errc::bad_passphrase, {.what = "cannot open secret key " + key.fingerprint.hex(),
                                     .why = "it is protected and there is no passphrase",
                                     .remedy = "give the passphrase"});
}

protection read_protection(cursor& in, const public_key& key, unsigned tag) {
  protection p;
  p.tag = tag;
  p.usage = in.u8();
  if (p.usage == usage_clear) return p;
  const bool has_s2k = p.usage >= usage_aead;
  if (key.version >= 6 && (p.usage == usage_checksum || !has_s2k))
    throw error(errc::unsupported,
                {.what = "cannot use secret key " + key.fingerprint.hex(),
                 .why = "a v6 key may not be protected this way (usage " + std::to_string(p.usage) + ")"});
  if (key.version >= 6) in.u8();  // length of the fields up to the IV; they say it themselves
  if (has_s2k) {
    p.cipher = static_cast<symmetric_algorithm>(in.u8());
    if (p.usage == usage_aead) p.aead = static_cast<aead_algorithm>(in.u8());
    if (key.version >= 6) in.u8();  // length of the string-to-key specifier
    p.spec = s2k::parse(in);
    if (p.spec.type == s2k::kind::gnu) return p;  // no IV, and for a card its serial number
  } else {
    p.cipher = static_cast<symmetric_algorithm>(p.usage);
    p.spec.hash = hash_algorithm::md5;
  }
  p.iv = to_vector(in.take(p.usage == usage_aead ? nonce_octets(p.aead) : block_octets(p.cipher)));
  if (key_octets(p.cipher) == 0 || p.iv.empty())
    throw error(errc::unsupported, {.what = "cannot use secret key " + key.fingerprint.hex(),
                                    .why = "the cipher that protects it is not known"});
  return p;
}

unsigned checksum(byte_view octets) {
  unsigned sum = 0;
  for (std::byte b : octets) sum += std::to_integer<unsigned>(b);
  return sum & 0xffff;
}

/// The secret values' octets, checked. @throws bad_passphrase
secret_vector decrypt(const protection& p, const public_key& key, byte_view stored, std::string_view passphrase) {
  secret_vector kek = p.spec.derive(passphrase, key_octets(p.cipher));
  if (p.usage == usage_aead) {
    byte_vector info;
    put_u8(info, static_cast<std::uint8_t>(0xc0 | p.tag));
    byte_vector associated = info;
    put(associated, key.body);
    put_u8(info, key.version);
    put_u8(info, static_cast<std::uint8_t>(p.cipher));
    put_u8(info, static_cast<std::uint8_t>(p.aead));
    kek = hkdf(hash_algorithm::sha256, kek, {}, info, key_octets(p.cipher));
    auto plain = aead_decrypt(p.cipher, p.aead, kek, p.iv, associated, stored);
    if (!plain) wrong_passphrase(key);
    return std::move(*plain);
  }
  secret_vector plain = cfb_decrypt(p.cipher, kek, p.iv, stored);
  const std::size_t check = p.usage == usage_sha1 ? 20 : 2;
  if (plain.size() < check) wrong_passphrase(key);
  const byte_view values = byte_view(plain).first(plain.size() - check);
  const byte_view sum = byte_view(plain).last(check);
  const bool right =
      p.usage == usage_sha1 ? equal(digest_of(hash_algorithm::sha1, values), sum) : load_be(sum) == checksum(values);
  if (!right) wrong_passphrase(key);
  plain.resize(values.size());
  return plain;
}

/// @throws bad_message  the sum is wrong.
secret_vector read_clear(const public_key& key, byte_view stored) {
  if (key.version >= 6) return to_secret(stored);
  if (stored.size() < 2 || load_be(stored.last(2)) != checksum(stored.first(stored.size() - 2)))
    throw error(errc::bad_message, {.what = "cannot use secret key " + key.fingerprint.hex(),
                                    .why = "its checksum is wrong",
                                    .remedy = "export it again"});
  return to_secret(stored.first(stored.size() - 2));
}

secret_key open_stored(const public_key& key, const protection& p, byte_view stored, const std::string* passphrase) {
  if (p.usage != usage_clear && passphrase == nullptr) needs_passphrase(key);
  const secret_vector plain = p.usage == usage_clear ? read_clear(key, stored) : decrypt(p, key, stored, *passphrase);
  cursor in(plain, "secret key");
  secret_key secret{key, read_secret_values(key, in)};
  if (!in.empty()) in.fail();
  check_secret_values(key, secret.values);
  return secret;
}

const char* gnu_reason(std::uint8_t mode) {
  return mode == 1 ? "its file holds the public part only" : "it is on a smart card";
}

}  // namespace

std::shared_ptr<const locked_secret> parse_secret_key(byte_view packet_body, unsigned tag, const std::string& where) {
  std::size_t used = 0;
  public_key key = parse_public_key(packet_body, &used);
  if (!key.usable())
    throw error(errc::unsupported, {.what = "cannot use secret key " + key.fingerprint.hex(), .why = key.unsupported});
  cursor in(packet_body.subspan(used), "secret key packet");
  protection p = read_protection(in, key, tag);
  if (p.usage >= usage_aead && p.spec.type == s2k::kind::gnu)
    return std::make_shared<locked_secret>(std::move(key), gnu_reason(p.spec.gnu_mode), where);
  const bool is_protected = p.usage != usage_clear;
  auto opener = [key, p = std::move(p), stored = to_secret(in.rest())](const std::string* passphrase) {
    return open_stored(key, p, stored, passphrase);
  };
  return std::make_shared<locked_secret>(std::move(key), std::move(opener), is_protected, where);
}

// ---- Locked keys ----------------------------------------------------------------------------------------------------

locked_secret::locked_secret(public_key key, opener open, bool is_protected, std::string where)
    : key_(std::move(key)), open_(std::move(open)), protected_(is_protected), where_(std::move(where)) {}

locked_secret::locked_secret(public_key key, std::string why, std::string where)
    : key_(std::move(key)), where_(std::move(where)), why_(std::move(why)) {}

std::string locked_secret::why_not() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

const secret_key* locked_secret::unlock(const passphrase_callback& ask) const {
  const std::lock_guard lock(mutex_);
  if (open_ && !tried_) {
    try {
      if (!protected_) {
        open_key_ = open_(nullptr);
      } else if (ask) {
        const std::optional<std::string> passphrase = ask(key_.fingerprint);
        open_key_ = open_(passphrase ? &*passphrase : nullptr);
      } else {
        open_key_ = open_(nullptr);
      }
    } catch (const error& e) {
      if (e.code() == errc::cancelled) throw;  // by who was asked: about more than this key
      why_ = e.parts().why;
    }
    tried_ = true;
  }
  return open_key_ ? &*open_key_ : nullptr;
}

}  // namespace fussy::openpgp
