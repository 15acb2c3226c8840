#include "agent_key.hpp"

#include <charconv>

#include "crypto.hpp"
#include "s2k.hpp"
#include "secret_values.hpp"

namespace fussy::openpgp {
namespace {

[[noreturn]] void damaged(const std::string& why) {
  throw error(errc::bad_message, {.what = "cannot read a private key of gpg-agent",
                                  .why = why,
                                  .remedy = "export the key with gpg and import it again"});
}

// ---- The extended format: lines `Name: value`, folded ---------------------------------------------------------------

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view without_trailing_blanks(std::string_view line) {
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  return line;
}

bool names_key(std::string_view line) { return line.size() >= 4 && ::strncasecmp(line.data(), "Key:", 4) == 0; }

/// The value of `Key:`. Of a continuation line exactly one leading blank goes; a second one is data.
secret_vector value_of_key(std::string_view text) {
  secret_vector value;
  bool inside = false, found = false;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    const bool goes_on = !line.empty() && (line.front() == ' ' || line.front() == '\t');
    if (goes_on) {
      line.remove_prefix(1);
    } else {
      if (found && inside) break;
      inside = names_key(line);
      found |= inside;
      if (inside) line.remove_prefix(4);
    }
    if (inside) put(value, as_bytes(without_trailing_blanks(line)));
  }
  if (!found) damaged("it has no line that begins with \"Key:\"");
  return value;
}

// ---- Values ---------------------------------------------------------------------------------------------------------

/// (rsa …), (dsa …), (elg …) or (ecc …).
const sexp& algorithm_list(const agent_key& file) { return file.expression.at(1); }

bool same_number(const sexp& list, const char* name, const byte_vector& value) {
  return equal(without_leading_zeros(list.value(name)), value);
}

bool same_numbers(const sexp& list, std::string_view names, const public_key& key) {
  if (names.size() != key.values.size()) return false;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!same_number(list, std::string(1, names[i]).c_str(), key.values[i])) return false;
  return true;
}

bool is_native_curve(const public_key& key) {
  return key.curve == curve_id::ed25519 || key.curve == curve_id::curve25519;
}

bool same_point(const sexp& list, const public_key& key) {
  byte_view q = list.value("q");
  if (is_native_curve(key) && q.size() == 33 && q[0] == std::byte{0x40}) q = q.subspan(1);
  return key.values.size() == 1 && equal(q, key.values[0]);
}

/// Names of the secret values, in the order of secret_key::values.
std::string_view secret_names(const public_key& key) {
  if (is_rsa(key.algorithm)) return "dpqu";
  using enum public_key_algorithm;
  return key.algorithm == dsa || key.algorithm == elgamal ? "x" : "d";
}

secret_key with_values(const public_key& key, const sexp& list) {
  secret_key secret{key, {}};
  for (const char name : secret_names(key)) {
    const byte_view number = list.value(std::string(1, name));
    if (is_native_curve(key))
      secret.values.push_back(native_from_number(number, 32, key.curve == curve_id::curve25519));
    else
      secret.values.push_back(to_secret(without_leading_zeros(number)));
  }
  check_secret_values(key, secret.values);
  return secret;
}

// ---- Protection -----------------------------------------------------------------------------------------------------

[[noreturn]] void cannot_open(const public_key& key, const char* why) {
  throw error(
      errc::bad_passphrase,
      {.what = "cannot open secret key " + key.fingerprint.hex(), .why = why, .remedy = "give the right passphrase"});
}
constexpr const char* no_passphrase = "it is protected and there is no passphrase";
constexpr const char* wrong_passphrase = "the passphrase is wrong, or the key is damaged";

std::size_t decimal(byte_view digits) {
  const std::string_view text = as_text(digits);
  std::size_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || end != text.data() + text.size()) damaged("a number in it is none");
  return number;
}

constexpr std::size_t max_count = std::size_t{1} << 30;  // octets hashed for one passphrase

/// ((sha1 SALT COUNT) IV)
secret_vector key_from_passphrase(const sexp& parameters, const std::string& passphrase) {
  const sexp& derivation = parameters.at(0);
  s2k spec;
  spec.type = s2k::kind::iterated;
  spec.hash = hash_algorithm::sha1;
  spec.salt = to_vector(derivation.at(1).atom);
  spec.count = decimal(derivation.at(2).atom);
  if (!derivation.at(0).is("sha1") || spec.count > max_count) damaged("its passphrase parameters are not known");
  return spec.derive(passphrase, 16);
}

/// The algorithm's list with the element `protected` taken out, or replaced.
sexp without_protection(const sexp& algorithm, const std::vector<sexp>& instead = {}) {
  sexp out;
  out.is_list = true;
  for (const sexp& item : algorithm.items) {
    if (item.is_list && item.head() == "protected")
      out.items.insert(out.items.end(), instead.begin(), instead.end());
    else
      out.items.push_back(item);
  }
  return out;
}

/// (protected openpgp-s2k3-ocb-aes ((sha1 SALT COUNT) NONCE) CIPHERTEXT)
secret_key open_ocb(const public_key& key, const sexp& algorithm, const sexp& protection,
                    const std::string& passphrase) {
  const sexp& parameters = protection.at(2);
  const secret_vector kek = key_from_passphrase(parameters, passphrase);
  const auto plain = aead_decrypt(symmetric_algorithm::aes128, aead_algorithm::ocb, kek, parameters.at(1).atom,
                                  canonical(without_protection(algorithm)), protection.at(3).atom);
  if (!plain) cannot_open(key, wrong_passphrase);
  return with_values(key, parse_sexp(*plain).at(0));
}

/// (protected openpgp-s2k3-sha1-aes-cbc ((sha1 SALT COUNT) IV) CIPHERTEXT)
secret_key open_cbc(const public_key& key, const sexp& algorithm, const sexp& protection,
                    const std::string& passphrase) {
  const sexp& parameters = protection.at(2);
  const secret_vector kek = key_from_passphrase(parameters, passphrase);
  const secret_vector plain =
      cbc_decrypt(symmetric_algorithm::aes128, kek, parameters.at(1).atom, protection.at(3).atom);
  if (plain.empty() || plain[0] != std::byte{'('}) cannot_open(key, wrong_passphrase);
  try {
    const sexp secret = parse_sexp(plain);
    const sexp whole = without_protection(algorithm, secret.at(0).items);
    if (!secret.at(1).is_list || !equal(secret.at(1).at(2).atom, digest_of(hash_algorithm::sha1, canonical(whole))))
      cannot_open(key, wrong_passphrase);
    return with_values(key, secret.at(0));
  } catch (const error& e) {
    if (e.code() != errc::bad_message) throw;
    cannot_open(key, wrong_passphrase);  // garbage that begins with a parenthesis
  }
}

// ---- openpgp-native: a secret key packet in other words -------------------------------------------------------------

struct native_key {
  const sexp& skey;        ///< (skey _ P1 … e PN)
  const sexp& protection;  ///< (protection none) or (protection sha1 AES IV "3" SHA1 SALT "96")
};

native_key native_parts(const sexp& protection) {
  const sexp& key = protection.at(2);
  const sexp* skey = key.find("skey");
  const sexp* how = key.find("protection");
  if (key.head() != "openpgp-private-key" || skey == nullptr || how == nullptr) damaged("a part of the key is missing");
  return {*skey, *how};
}

bool is_native_and_open(const sexp& protection) {
  return protection.at(1).is("openpgp-native") && native_parts(protection).protection.at(1).is("none");
}

template <class Algorithm>
Algorithm named(byte_view name, std::initializer_list<std::pair<const char*, Algorithm>> table) {
  const std::string text(as_text(name));
  for (const auto& [known, algorithm] : table)
    if (::strcasecmp(known, text.c_str()) == 0) return algorithm;
  damaged("it is protected with " + text + ", which is not known");
}

symmetric_algorithm cipher_named(byte_view name) {
  using enum symmetric_algorithm;
  return named<symmetric_algorithm>(name, {{"IDEA", idea},
                                           {"3DES", triple_des},
                                           {"CAST5", cast5},
                                           {"BLOWFISH", blowfish},
                                           {"AES", aes128},
                                           {"AES128", aes128},
                                           {"AES192", aes192},
                                           {"AES256", aes256},
                                           {"TWOFISH", twofish},
                                           {"CAMELLIA128", camellia128},
                                           {"CAMELLIA192", camellia192},
                                           {"CAMELLIA256", camellia256}});
}

hash_algorithm hash_named(byte_view name) {
  using enum hash_algorithm;
  return named<hash_algorithm>(name, {{"MD5", md5},
                                      {"SHA1", sha1},
                                      {"RMD160", ripemd160},
                                      {"RIPEMD160", ripemd160},
                                      {"SHA224", sha224},
                                      {"SHA256", sha256},
                                      {"SHA384", sha384},
                                      {"SHA512", sha512}});
}

std::size_t decoded_count(std::size_t coded) { return (16 + (coded & 15)) << ((coded >> 4 & 15) + 6); }

secret_key open_native_clear(const public_key& key, const sexp& skey) {
  // The numbers stand in the order of the packet; the public ones come first.
  std::vector<byte_view> numbers;
  for (std::size_t i = 2; i < skey.items.size(); i += 2) numbers.push_back(skey.at(i).atom);
  const std::string_view names = secret_names(key);
  if (numbers.size() < names.size()) damaged("a number is missing");
  sexp list;
  list.is_list = true;
  for (std::size_t i = 0; i < names.size(); ++i) {
    sexp pair, name, value;
    pair.is_list = true;
    name.atom = to_secret(as_bytes(names.substr(i, 1)));
    value.atom = to_secret(numbers[numbers.size() - names.size() + i]);
    pair.items = {std::move(name), std::move(value)};
    list.items.push_back(std::move(pair));
  }
  return with_values(key, list);
}

secret_key open_native(const public_key& key, const sexp& protection, const std::string* passphrase) {
  const native_key native = native_parts(protection);
  if (native.protection.at(1).is("none")) return open_native_clear(key, native.skey);
  if (passphrase == nullptr) cannot_open(key, no_passphrase);

  const sexp& how = native.protection;
  const symmetric_algorithm cipher = cipher_named(how.at(2).atom);
  s2k spec;
  spec.type = static_cast<s2k::kind>(decimal(how.at(4).atom));
  spec.hash = hash_named(how.at(5).atom);
  spec.salt = to_vector(how.at(6).atom);
  spec.count = decoded_count(decimal(how.at(7).atom));
  if (how.at(3).atom.size() != block_octets(cipher)) damaged("its initialization vector has a wrong size");
  const secret_vector kek = spec.derive(*passphrase, key_octets(cipher));
  const secret_vector plain =
      cfb_decrypt(cipher, kek, how.at(3).atom, native.skey.at(native.skey.items.size() - 1).atom);

  const bool sha1 = how.at(1).is("sha1");
  const std::size_t check = sha1 ? 20 : 2;
  if (plain.size() < check) cannot_open(key, wrong_passphrase);
  const byte_view values = byte_view(plain).first(plain.size() - check), sum = byte_view(plain).last(check);
  unsigned total = 0;
  for (std::byte b : values) total += std::to_integer<unsigned>(b);
  const bool right = sha1 ? equal(digest_of(hash_algorithm::sha1, values), sum) : load_be(sum) == (total & 0xffff);
  if (!right) cannot_open(key, wrong_passphrase);
  cursor in(values, "secret key");
  secret_key secret{key, read_secret_values(key, in)};
  check_secret_values(key, secret.values);
  return secret;
}

secret_key open_protected(const public_key& key, const sexp& algorithm, const std::string* passphrase) {
  const sexp* protection = algorithm.find("protected");
  if (protection == nullptr) damaged("its protection is missing");
  const sexp& mode = protection->at(1);
  if (mode.is("openpgp-native")) return open_native(key, *protection, passphrase);
  if (passphrase == nullptr) cannot_open(key, no_passphrase);
  if (mode.is("openpgp-s2k3-ocb-aes")) return open_ocb(key, algorithm, *protection, *passphrase);
  if (mode.is("openpgp-s2k3-sha1-aes-cbc")) return open_cbc(key, algorithm, *protection, *passphrase);
  throw error(errc::unsupported,
              {.what = "cannot open secret key " + key.fingerprint.hex(),
               .why = "it is protected in a way that is not known: " + std::string(as_text(mode.atom)),
               .remedy = "change its passphrase with gpg, which writes it anew"});
}

}  // namespace

agent_key parse_agent_key(byte_view file) {
  agent_key key;
  if (!file.empty() && file[0] == std::byte{'('})
    key.expression = parse_sexp(file);
  else
    key.expression = parse_sexp(value_of_key(as_text(file)));
  const std::string_view head = key.expression.head();
  if (head != "private-key" && head != "protected-private-key" && head != "shadowed-private-key")
    damaged("it is no private key");
  if (!algorithm_list(key).is_list) damaged("it has no algorithm");
  return key;
}

bool belongs_to(const agent_key& file, const public_key& key) {
  if (!key.usable()) return false;
  const sexp& list = algorithm_list(file);
  const std::string_view name = list.head();
  using enum public_key_algorithm;
  if (name == "rsa" || name == "openpgp-rsa") return is_rsa(key.algorithm) && same_numbers(list, "ne", key);
  if (name == "dsa" || name == "openpgp-dsa") return key.algorithm == dsa && same_numbers(list, "pqgy", key);
  if (name == "elg" || name == "openpgp-elg") return key.algorithm == elgamal && same_numbers(list, "pgy", key);
  const bool is_curve = key.algorithm == ecdsa || key.algorithm == ecdh || key.algorithm == eddsa_legacy;
  return is_curve && same_point(list, key);
}

std::shared_ptr<const locked_secret> as_secret(const agent_key& file, const public_key& key, const std::string& where) {
  const std::string_view head = file.expression.head();
  if (head == "shadowed-private-key")
    return std::make_shared<locked_secret>(key, std::string("it is on a smart card"), where);
  const sexp& list = algorithm_list(file);
  bool is_protected = head == "protected-private-key";
  // What gpg imported and never used is called protected and is open.
  if (const sexp* protection = list.find("protected"); protection != nullptr && is_native_and_open(*protection))
    is_protected = false;
  const bool stored_clear = head == "private-key";
  auto opener = [key, list, stored_clear](const std::string* passphrase) {
    return stored_clear ? with_values(key, list) : open_protected(key, list, passphrase);
  };
  return std::make_shared<locked_secret>(key, std::move(opener), is_protected, where);
}

}  // namespace fussy::openpgp
