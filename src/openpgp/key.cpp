#include "key.hpp"

#include "crypto.hpp"

namespace fussy::openpgp {
namespace {

constexpr unsigned max_number_bits = 16384;  // gpg makes 4096 at most; beyond this checking one signature takes seconds

/// The octets of a curve's point without the prefix of the native forms. Empty when the size is wrong.
byte_view point_octets(const curve_info& curve, byte_view point) {
  if (curve.botan_name == nullptr)
    return point.size() == 33 && point[0] == std::byte{0x40} ? point.subspan(1) : byte_view{};
  return point.size() == 1 + 2 * curve.field_octets() && point[0] == std::byte{0x04} ? point : byte_view{};
}

bool curve_fits(public_key_algorithm algorithm, curve_id curve, unsigned version) {
  using enum public_key_algorithm;
  const bool legacy = curve == curve_id::ed25519 || curve == curve_id::curve25519;
  if (legacy && version >= 6) return false;  // RFC 9580 section 9.2: of v4 keys only
  switch (algorithm) {
    case eddsa_legacy:
      return curve == curve_id::ed25519;
    case ecdh:
      return curve != curve_id::ed25519;
    default:
      return !legacy;
  }
}

void read_curve_key(public_key& key, cursor& in) {
  const byte_view oid = in.take(in.u8());
  const byte_view point = in.mpi();
  if (key.algorithm == public_key_algorithm::ecdh) {
    cursor kdf(in.take(in.u8()), "key packet");
    kdf.u8();  // reserved, 1
    key.kdf_hash = static_cast<hash_algorithm>(kdf.u8());
    key.kdf_cipher = static_cast<symmetric_algorithm>(kdf.u8());
  }
  const curve_info* curve = find_curve(oid);
  if (curve == nullptr) {
    key.unsupported = "its curve (OID " + to_hex(oid) + ") is not known";
    return;
  }
  key.curve = curve->id;
  const byte_view octets = point_octets(*curve, point);
  key.values.push_back(to_vector(octets));
  if (octets.empty())
    key.unsupported = "its point is no point of " + std::string(curve->name);
  else if (!curve_fits(key.algorithm, curve->id, key.version))
    key.unsupported = std::string(name(key.algorithm)) + " does not go with curve " + curve->name;
}

void check_kdf(public_key& key) {
  using enum symmetric_algorithm;
  const bool is_aes = key.kdf_cipher == aes128 || key.kdf_cipher == aes192 || key.kdf_cipher == aes256;
  const bool fits = is_aes && digest_octets(key.kdf_hash) >= key_octets(key.kdf_cipher) && !is_broken(key.kdf_hash);
  if (key.usable() && !fits) key.unsupported = "its ECDH parameters name algorithms that do not go together";
}

void read_numbers(public_key& key, cursor& in, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const byte_view number = in.mpi();
    key.values.push_back(to_vector(number));
    if (number.empty()) key.unsupported = "one of its numbers is zero";
    if (bit_length(number) > max_number_bits)
      key.unsupported = "one of its numbers has more than " + std::to_string(max_number_bits) + " bits";
  }
}

void read_material(public_key& key, cursor& in) {
  using enum public_key_algorithm;
  switch (key.algorithm) {
    case rsa:
    case rsa_encrypt_only:
    case rsa_sign_only:
      return read_numbers(key, in, 2);
    case elgamal:
      return read_numbers(key, in, 3);
    case dsa:
      return read_numbers(key, in, 4);
    case ecdsa:
    case eddsa_legacy:
      return read_curve_key(key, in);
    case ecdh:
      read_curve_key(key, in);
      return check_kdf(key);
    case x25519:
    case ed25519:
      key.values.push_back(to_vector(in.take(32)));
      return;
    case x448:
      key.values.push_back(to_vector(in.take(56)));
      return;
    case ed448:
      key.values.push_back(to_vector(in.take(57)));
      return;
  }
  in.take_rest();
  key.unsupported = "public-key algorithm " + std::to_string(static_cast<unsigned>(key.algorithm)) + " is not known";
}

void compute_fingerprint(public_key& key) {
  const byte_vector digest = digest_of(key.version >= 6 ? hash_algorithm::sha256 : hash_algorithm::sha1, key.hashed());
  key.fingerprint = fingerprint(digest);
  key.id = id_of(key.fingerprint);
}

}  // namespace

std::string key_id_hex(key_id id) {
  std::array<std::byte, 8> octets{};
  store_be(octets, id);
  return to_hex(octets);
}

key_id id_of(const fingerprint& of) {
  const byte_view octets = of.octets();
  if (octets.size() < 20) return 0;
  return load_be(octets.size() == 20 ? octets.last(8) : octets.first(8));
}

public_key parse_public_key(byte_view packet_body, std::size_t* used) {
  cursor in(packet_body, "key packet");
  public_key key;
  key.version = in.u8();
  if (key.version != 4 && key.version != 6)
    throw error(errc::unsupported, {.what = "cannot use a key of version " + std::to_string(key.version),
                                    .why = "only versions 4 and 6 are known",
                                    .remedy = "make a new key"});
  key.created = time_point(std::chrono::seconds(in.u32()));
  key.algorithm = static_cast<public_key_algorithm>(in.u8());
  if (key.version >= 6) {
    cursor material(in.take(in.u32()), "key packet");
    read_material(key, material);
    if (!material.empty()) key.unsupported = "there are octets behind its public values";
  } else {
    read_material(key, in);
  }
  const std::size_t size = packet_body.size() - in.remaining();
  key.body = to_vector(packet_body.first(size));
  if (used != nullptr) *used = size;
  compute_fingerprint(key);
  return key;
}

unsigned public_key::bits() const noexcept {
  using enum public_key_algorithm;
  switch (algorithm) {
    case x25519:
    case ed25519:
    case eddsa_legacy:
      return 255;
    case x448:
    case ed448:
      return 448;
    case ecdh:
    case ecdsa: {
      const curve_info* c = find_curve(curve);
      return c == nullptr ? 0 : c->bits;
    }
    default:
      return values.empty() ? 0 : bit_length(values[0]);
  }
}

std::string public_key::describe() const {
  std::string text = name(algorithm);
  if (const curve_info* c = find_curve(curve)) return text + " " + c->name;
  const bool sized =
      is_rsa(algorithm) || algorithm == public_key_algorithm::dsa || algorithm == public_key_algorithm::elgamal;
  if (sized && !values.empty()) text += " " + std::to_string(bits());
  return text;
}

byte_vector public_key::hashed() const {
  byte_vector out;
  out.reserve(body.size() + 5);
  put_u8(out, version >= 6 ? 0x9b : 0x99);
  put_be(out, body.size(), version >= 6 ? 4 : 2);
  put(out, body);
  return out;
}

// ---- Fingerprints ---------------------------------------------------------------------------------------------------

std::optional<fingerprint> fingerprint::parse(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  byte_vector octets;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    int digit = 0;
    if (c >= '0' && c <= '9')
      digit = c - '0';
    else if (c >= 'a' && c <= 'f')
      digit = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F')
      digit = c - 'A' + 10;
    else
      return std::nullopt;
    if (high < 0) {
      high = digit;
    } else {
      octets.push_back(static_cast<std::byte>(high << 4 | digit));
      high = -1;
    }
  }
  if (high >= 0 || (octets.size() != 20 && octets.size() != 32)) return std::nullopt;
  return fingerprint(octets);
}

}  // namespace fussy::openpgp
