// Private keys in the two formats of gpg-agent, open and protected, and files that are made to hurt.
#include <doctest/doctest.h>
#include <fussy/openpgp.hpp>

#include <botan/cipher_mode.h>

#include "forge.hpp"
#include "openpgp/agent_key.hpp"
#include "openpgp/s2k.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using namespace test;

namespace {

std::string text_of(byte_view octets) { return std::string(as_text(octets)); }

/// An item in canonical form.
std::string item(std::string_view octets) { return std::to_string(octets.size()) + ":" + std::string(octets); }

std::string public_part(const secret_key& key) {
  const std::string point = "\x40" + text_of(key.key.values[0]);
  return "(" + item("curve") + item("Ed25519") + ")(" + item("flags") + item("eddsa") + ")(" + item("q") + item(point) +
         ")";
}
std::string secret_part(const secret_key& key) { return "(" + item("d") + item(text_of(key.values[0])) + ")"; }

std::string canonical_file(const secret_key& key) {
  return "(" + item("private-key") + "(" + item("ecc") + public_part(key) + secret_part(key) + "))";
}

std::string hex(byte_view octets) { return "#" + to_hex(octets) + "#"; }

/// The extended format, with a secret written as `secret`.
std::string extended_file(const secret_key& key, const std::string& secret) {
  return "Created: 20200101T000000\nKey: (private-key (ecc (curve Ed25519)(flags eddsa)(q\n  #40" +
         to_hex(key.key.values[0]) + "#)(d " + secret + ")))\n";
}

std::shared_ptr<const locked_secret> loaded(const std::string& file, const secret_key& key) {
  const agent_key parsed = parse_agent_key(as_bytes(file));
  REQUIRE(belongs_to(parsed, key.key));
  return as_secret(parsed, key.key, "test.key");
}

bool opens(const std::string& file, const secret_key& key, const passphrase_callback& ask = {}) {
  const auto secret = loaded(file, key);
  const secret_key* open = secret->unlock(ask);
  return open != nullptr && open->values == key.values;
}

passphrase_callback saying(const std::string& passphrase) {
  return [passphrase](const openpgp::fingerprint&) { return std::optional<std::string>(passphrase); };
}

errc refusal(const std::string& file) {
  try {
    parse_agent_key(as_bytes(file));
  } catch (const error& e) {
    CHECK_FALSE(e.parts().why.empty());
    return e.code();
  }
  return errc::success;
}

/// A key whose seed is of printable octets.
secret_key key_with_seed(std::string_view seed) {
  const Botan::secure_vector<std::uint8_t> octets(seed.begin(), seed.end());
  const auto point = seam::ed25519_from(octets)->public_key_bits();
  byte_vector body =
      number(4, 1) + number(epoch, 4) + number(22, 1) + number(9, 1) + to_octets(find_curve(curve_id::ed25519)->oid);
  byte_vector prefixed{std::byte{0x40}};
  put(prefixed, as_bytes(point.data(), point.size()));
  put_mpi(body, prefixed);
  return {parse_public_key(body), {to_secret(as_bytes(seed))}};
}

}  // namespace

TEST_SUITE_BEGIN("openpgp: keys of gpg-agent");

TEST_CASE("the canonical format of gpg 2.1") {
  const secret_key key = make_key();
  CHECK(opens(canonical_file(key), key));
  CHECK_FALSE(loaded(canonical_file(key), key)->is_protected());
}

TEST_CASE("the extended format: names in any case, other names, comments, folded lines") {
  const secret_key key = make_key();
  CHECK(opens(extended_file(key, hex(key.values[0])), key));
  CHECK(opens("# a comment\nToken: 1234 5678\nkEy: (private-key (ecc (q #40" + to_hex(key.key.values[0]) + "#)(d " +
                  hex(key.values[0]) + ")))\nUse-for-ssh: yes\n and a second line\n",
              key));
  const std::string digits = to_hex(key.values[0]);
  CHECK(opens(extended_file(key, "#" + digits.substr(0, 11) + "  \n  " + digits.substr(11) + "#"), key));
}

TEST_CASE("gotcha: a secret of printable octets is written as a quoted string or a token") {
  SUBCASE("token") {
    const std::string seed = "abcdefghijklmnopqrstuvwxyzABCDEF";
    CHECK(opens(extended_file(key_with_seed(seed), seed), key_with_seed(seed)));
  }
  SUBCASE("quoted, with escapes") {
    const std::string seed = "a b\"c\\d\te\nf\rg\bh\vi\fj'k(l)m#n:op\x80\xff";
    REQUIRE(seed.size() == 32);
    CHECK(opens(extended_file(key_with_seed(seed), "\"a b\\\"c\\\\d\\te\\nf\\rg\\bh\\vi\\fj\\'k(l)m#n:op\\x80\\377\""),
                key_with_seed(seed)));
    CHECK(opens(extended_file(key_with_seed(seed), "\"a b\\\"c\\\\d\\te\\nf\\rg\\bh\\vi\\fj'k(l)m#n:op\x80\xff\""),
                key_with_seed(seed)));
  }
  SUBCASE("gotcha: folded where a blank is data: of two blanks one goes") {
    const std::string seed = "abcdefghijkl nopqrstuvwxyzABCDEF";
    CHECK(opens(extended_file(key_with_seed(seed), "\"abcdefghijkl\n  nopqrstuvwxyzABCDEF\""), key_with_seed(seed)));
  }
}

TEST_CASE("a passphrase of gpg-agent's CBC protection") {
  const secret_key key = make_key();
  const std::string at_time = "(" + item("protected-at") + item("20200101T000000") + ")";
  const byte_vector salt(8, std::byte{5}), iv(16, std::byte{6});
  s2k spec;
  spec.type = s2k::kind::iterated;
  spec.hash = hash_algorithm::sha1;
  spec.salt = salt;
  spec.count = 65536;
  const secret_vector kek = spec.derive("secret", 16);

  const auto file = [&](bool right_digest) {
    const std::string whole = "(" + item("ecc") + public_part(key) + secret_part(key) + at_time + ")";
    byte_vector digest = digest_of(hash_algorithm::sha1, as_bytes(whole));
    if (!right_digest) digest[0] ^= std::byte{1};
    std::string plain =
        "((" + secret_part(key) + ")(" + item("hash") + item("sha1") + item(as_text(byte_view(digest))) + "))";
    while (plain.size() % 16 != 0) plain += 'x';
    const auto mode = Botan::Cipher_Mode::create_or_throw("AES-128/CBC/NoPadding", seam::encrypting);
    mode->set_key(as_uint8(byte_view(kek)), kek.size());
    mode->start(as_uint8(byte_view(iv)), iv.size());
    Botan::secure_vector<std::uint8_t> buffer(plain.begin(), plain.end());
    mode->finish(buffer);
    return "(" + item("protected-private-key") + "(" + item("ecc") + public_part(key) + "(" + item("protected") +
           item("openpgp-s2k3-sha1-aes-cbc") + "((" + item("sha1") + item(as_text(byte_view(salt))) + item("65536") +
           ")" + item(as_text(byte_view(iv))) + ")" + item(as_text(as_bytes(buffer.data(), buffer.size()))) + ")" +
           at_time + "))";
  };
  CHECK(loaded(file(true), key)->is_protected());
  CHECK(opens(file(true), key, saying("secret")));
  CHECK_FALSE(opens(file(true), key, saying("wrong")));
  CHECK_FALSE(opens(file(true), key));
  CHECK_FALSE(opens(file(false), key, saying("secret")));
}

TEST_CASE("the passphrase is asked for once, and why a key stays locked can be told") {
  const secret_key key = make_key();
  int asked = 0;
  std::string file = "(" + item("protected-private-key") + "(" + item("ecc") + public_part(key) + "(" +
                     item("protected") + item("openpgp-s2k3-ocb-aes") + "((" + item("sha1") + item("saltsalt") +
                     item("1024") + ")" + item("nonce-nonce-") + ")" + item(std::string(40, 'x')) + ")))";
  const auto secret = loaded(file, key);
  const passphrase_callback ask = [&](const openpgp::fingerprint& who) {
    CHECK(who == key.key.fingerprint);
    ++asked;
    return std::optional<std::string>("wrong");
  };
  CHECK(secret->unlock(ask) == nullptr);
  CHECK(secret->unlock(ask) == nullptr);
  CHECK(asked == 1);
  CHECK(secret->why_not().find("passphrase is wrong") != std::string::npos);
}

TEST_CASE("a key on a card is a stub") {
  const secret_key key = make_key();
  const auto secret = loaded("(" + item("shadowed-private-key") + "(" + item("ecc") + public_part(key) + "(" +
                                 item("shadowed") + item("t1-v1") + "(" + item("serial") + ")))" + ")",
                             key);
  CHECK(secret->is_stub());
  CHECK(secret->unlock({}) == nullptr);
  CHECK(secret->why_not() == "it is on a smart card");
}

TEST_CASE("a file of another key is not taken for this one") {
  const secret_key key = make_key(), other = make_key();
  CHECK_FALSE(belongs_to(parse_agent_key(as_bytes(canonical_file(key))), other.key));
}

TEST_CASE("attack: a file whose secret is not that of its public point signs nothing") {
  const secret_key key = make_key(), other = make_key();
  secret_key mixed = key;
  mixed.values = other.values;
  const auto secret = loaded(canonical_file(mixed), key);
  const secret_key* open = secret->unlock({});
  REQUIRE(open != nullptr);
  CHECK_THROWS_AS(sign_digest(*open, hash_algorithm::sha512, byte_vector(64)), error);
}

TEST_CASE("attack: files that are damaged, endless or nested without end") {
  const secret_key key = make_key();
  const std::string good = canonical_file(key);
  CHECK(refusal("") == errc::bad_message);
  CHECK(refusal("no key") == errc::bad_message);
  CHECK(refusal("Key:") == errc::bad_message);
  CHECK(refusal("Key: (private-key") == errc::bad_message);
  CHECK(refusal("(" + item("public-key") + "())") == errc::bad_message);
  CHECK(refusal("(" + item("private-key") + ")") == errc::bad_message);
  CHECK(refusal("(99999999999999999999:x)") == errc::bad_message);
  CHECK(refusal("(" + item("private-key") + std::string(100000, '(')) == errc::bad_message);
  CHECK(refusal("(#1#)") == errc::bad_message);
  CHECK(refusal("Key: (private-key \"\\q\")") == errc::bad_message);
  for (std::size_t i = 0; i < good.size(); ++i) CHECK(refusal(good.substr(0, i)) == errc::bad_message);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x15);
    try {
      const agent_key parsed = parse_agent_key(as_bytes(damaged));
      if (belongs_to(parsed, key.key)) as_secret(parsed, key.key, "x")->unlock(saying("x"));
    } catch (const error& e) {
      CHECK(e.code() == errc::bad_message);
    }
  }
}

TEST_SUITE_END();
