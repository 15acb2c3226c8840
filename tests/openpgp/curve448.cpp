// Ed448 and X448 (RFC 9580 sections 5.2.3.5 and 5.1.7): keys and packages by gosop (version 6) and OpenPGP.js (version
// 4), stored in data/curve448. Botan has these curves from 3.4 on. With an older one every use of such a key is
// refused, and the refusal names the algorithm: that is what this program tests then.
#include <botan/build.h>
#include <botan/pubkey.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "forge.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using test::operator+;

namespace {

byte_vector load(const std::string& name) {
  return read_all(file_reader(std::filesystem::path(FUSSY_TEST_DATA "/curve448") / name));
}
std::string load_text(const std::string& name) { return std::string(as_text(load(name))); }

/// The files were made on 27 November 2026: a machine whose clock is late must come to the same results.
const policy at_that_time{.now = test::at(1795860000)};
const std::string content = load_text("content");

keyring ring(const std::string& name, const std::string& passphrase = {}) {
  keyring::options options;
  if (!passphrase.empty())
    options.passphrase = [passphrase](const openpgp::fingerprint&) { return std::optional<std::string>(passphrase); };
  return keyring::load(std::filesystem::path(FUSSY_TEST_DATA "/curve448") / (name + ".key"), options);
}

test::result read(const byte_vector& message, const keyring& keys) {
  return test::read(byte_view(message), keys, at_that_time);
}

std::string made(const keyring& keys, sign_options how) {
  how.time = at_that_time.now;
  byte_vector out;
  message_writer writer(vector_writer(out), keys, how);
  writer.write(as_bytes(content));
  writer.finish();
  return std::string(as_text(out));
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const public_key& primary(const keyring& keys) { return keys.internals().certificates.at(0).primary(); }
const public_key& subkey(const keyring& keys) { return keys.internals().certificates.at(0).key(1).key; }
const secret_key& open_secret(const keyring& keys, const public_key& key) {
  return test::secret(keys, key.fingerprint.hex());
}

#if defined(BOTAN_HAS_ED448)
constexpr bool has_ed448 = true;
#else
constexpr bool has_ed448 = false;
#endif
#if defined(BOTAN_HAS_X448)
constexpr bool has_x448 = true;
#else
constexpr bool has_x448 = false;
#endif
/// What a refusal says, and of which library.
const std::string no_ed448 = "unsupported algorithm: Botan " + Botan::short_version_string() + " has no Ed448";
const std::string no_x448 = "unsupported algorithm: Botan " + Botan::short_version_string() + " has no X448";

struct fixture {
  std::string name, fingerprint, subkey_fingerprint;
  unsigned version;
};
const std::vector<fixture> fixtures{
    {"v4", "C4072ACE714A379D7D92FBB56D24FDA9EF3A4243", "A01C3F1D7780DE674784B3AB580CC1415C03ED03", 4},
    {"v4-aead", "A826CFECC1749FCF49FEAA2487BC2A13544D101A", "8227E15AFE538BBC988F0D7A5885CA44F1980D81", 4},
    {"v6", "6B165E186F4642D88D001C350353A61953BCD239B7D9EE37F5244B1494FC1654",
     "7D54D2890199EA32405DD9D65EF8B48016A10E38F269287601E3BDC9FA09A0A4", 6},
};

/// Every bit of the message, one at a time: refused as a package, or it gives the signed content.
void check_every_bit(const byte_vector& message, const keyring& keys) {
  for (std::size_t bit = 0; bit < message.size() * 8; ++bit) {
    byte_vector bad = message;
    bad[bit / 8] ^= std::byte(1U << bit % 8);
    const test::result r = read(bad, keys);
    CAPTURE(bit);
    if (r.code == errc::success)
      CHECK(r.content == content);
    else
      CHECK(exit_status(r.code) == 20);
  }
}

}  // namespace

TEST_SUITE_BEGIN("openpgp: Ed448 and X448");

TEST_CASE("what is said to be supported is what Botan was built with") {
  CHECK(seam::supports(primary(ring("v6"))) == has_ed448);
  CHECK(seam::supports(subkey(ring("v6"))) == has_x448);
}

TEST_CASE("certificates are read whatever Botan has: fingerprints, algorithms, sizes") {
  for (const fixture& f : fixtures) {
    CAPTURE(f.name);
    const keyring keys = ring(f.name);
    const auto listed = list(keys, at_that_time);
    REQUIRE(listed.size() == 1);
    REQUIRE(listed[0].keys.size() == 2);
    const key_info &signing = listed[0].keys[0], &encrypting = listed[0].keys[1];
    CHECK(signing.fingerprint.hex() == f.fingerprint);
    CHECK(signing.algorithm == "Ed448");
    CHECK(signing.algorithm_number == 28);
    CHECK(signing.bits == 448);
    CHECK(signing.has_secret);
    CHECK(encrypting.fingerprint.hex() == f.subkey_fingerprint);
    CHECK(encrypting.algorithm == "X448");
    CHECK(encrypting.algorithm_number == 26);
    CHECK(encrypting.bits == 448);
    CHECK(primary(keys).version == f.version);
  }
}

TEST_CASE(
    "with Botan's curves: these certificates sign, certify and encrypt; without: they are listed with the reason") {
  for (const fixture& f : fixtures) {
    CAPTURE(f.name);
    const auto listed = list(ring(f.name), at_that_time);
    const key_info &signing = listed.at(0).keys.at(0), &encrypting = listed.at(0).keys.at(1);
    if (has_ed448 && has_x448) {
      CHECK(signing.certifies);
      CHECK(signing.signs);
      CHECK(signing.cannot_verify == "");
      CHECK(signing.cannot_open == "");
      CHECK_FALSE(signing.invalid);
      CHECK(encrypting.encrypts);
      CHECK(encrypting.cannot_encrypt == "");
      CHECK(encrypting.cannot_open == "");
      CHECK_FALSE(encrypting.invalid);
    } else {
      CHECK(signing.invalid);
      CHECK(signing.cannot_verify == no_ed448);
      CHECK(signing.cannot_open == no_ed448);
      CHECK(encrypting.invalid);
      CHECK(encrypting.cannot_encrypt == no_ed448);  // whose signature binds it
      CHECK(encrypting.cannot_open == no_x448);
    }
  }
}

TEST_CASE("signed by Ed448: proven, or refused by name") {
  for (const char* name : {"v4", "v6"}) {
    CAPTURE(name);
    const keyring keys = ring(name);
    const test::result r = read(load(std::string(name) + ".signed"), keys);
    if (has_ed448) {
      CHECK(r.message == "");
      CHECK(r.content == content);
      REQUIRE(r.signers.size() == 1);
      CHECK(r.signers[0].key == primary(keys).fingerprint);
      CHECK(r.signers[0].algorithm == "Ed448, SHA-512");
      CHECK_FALSE(r.encrypted);
    } else {
      CHECK(r.code == errc::key_unusable);
      CHECK_MESSAGE(says(r.message, no_ed448), r.message);
    }
  }
}

TEST_CASE("encrypted for X448, session keys of version 3 and 6, SEIPD 1 and 2: proven, or refused by name") {
  for (const fixture& f : fixtures) {
    CAPTURE(f.name);
    const test::result r = read(load(f.name + ".encrypted"), ring(f.name));
    if (has_x448) {
      CHECK(r.message == "");
      CHECK(r.content == content);
      CHECK(r.signers.size() == 1);
      CHECK(r.encrypted);
    } else {
      CHECK(r.code == errc::cannot_decrypt);
      CHECK_MESSAGE(says(r.message, no_x448), r.message);
      CHECK(r.content == "");
    }
  }
}

TEST_CASE("a package for X448 that a stranger signed, and one by a known key for a stranger, are refused") {
  CHECK(read(load("v4.signed"), ring("v6")).code == errc::unknown_signer);
  CHECK(read(load("v4.encrypted"), ring("v6")).code == errc::cannot_decrypt);
}

TEST_CASE("every single flipped bit of packages of Ed448 and X448 is refused, or nothing is said by it" *
          doctest::skip(!has_ed448 || !has_x448)) {
  check_every_bit(load("v6.signed"), ring("v6"));
  check_every_bit(load("v6.encrypted"), ring("v6"));
  check_every_bit(load("v4.encrypted"), ring("v4"));
}

TEST_CASE("secret keys behind a passphrase: CFB with SHA-1 in version 4, AEAD with Argon2 in version 6") {
  for (const auto& locked_file : {std::pair{"v4-locked", "v4.encrypted"}, {"v6-locked", "v6-locked.signed"}}) {
    const std::string name = locked_file.first, package = locked_file.second;
    CAPTURE(name);
    const keyring locked = ring(name), wrong = ring(name, "open barley"), right = ring(name, "open sesame");
    if (!has_ed448) {
      CHECK_THROWS_WITH_AS(made(right, {}), doctest::Contains(no_ed448.c_str()), error);
      continue;
    }
    CHECK_THROWS_AS(made(locked, {}), error);
    CHECK_THROWS_AS(made(wrong, {}), error);
    CHECK(test::read(made(right, {}), right, at_that_time).content == content);
    CHECK(read(load(package), right).message == "");
  }
  if (has_x448) CHECK(read(load("v4.encrypted"), ring("v4-locked")).code == errc::cannot_decrypt);
}

TEST_CASE("what is written with Ed448 and for X448 is read again, or is refused before anything is written") {
  for (const fixture& f : fixtures) {
    CAPTURE(f.name);
    const keyring keys = ring(f.name);
    if (has_ed448 && has_x448) {
      const test::result plain = test::read(made(keys, {}), keys, at_that_time);
      CHECK(plain.message == "");
      CHECK(plain.signers.size() == 1);
      const test::result sealed = test::read(made(keys, {.recipients = {f.fingerprint}}), keys, at_that_time);
      CHECK(sealed.message == "");
      CHECK(sealed.content == content);
      CHECK(sealed.encrypted);
      CHECK(made(keys, {}) == made(keys, {}));  // the same input and time, the same octets
    } else {
      CHECK_THROWS_WITH_AS(made(keys, {}), doctest::Contains(no_ed448.c_str()), error);
      CHECK_THROWS_WITH_AS(made(keys, {.sign = false, .recipients = {f.fingerprint}}),
                           doctest::Contains(no_ed448.c_str()), error);
    }
  }
}

TEST_CASE("the newest key for encryption is an X448 one: taken where Botan has it, else the next is") {
  const secret_key signer = test::make_key();
  // Of an X25519 or X448 key the owner has signed nothing himself: any octets make one.
  const auto encryption_key = [&](unsigned algorithm, std::size_t size, long long made_at) {
    const byte_vector body = test::number(4, 1) + test::number(static_cast<std::uint64_t>(made_at), 4) +
                             test::number(algorithm, 1) + byte_vector(size, std::byte{9});
    return secret_key{parse_public_key(body), {}};
  };
  const auto bound = [&](const secret_key& key) {
    return test::bound(signer, key, test::created(test::epoch + test::day) + test::key_flags(0x0c), {});
  };
  const secret_key older = encryption_key(25, 32, test::epoch), newer = encryption_key(26, 56, test::epoch + test::day);
  const keyring keys = test::ring_of(test::plain_certificate(signer) + bound(older) + bound(newer));
  byte_vector out;
  message_writer writer(vector_writer(out), keys, {.sign = false, .recipients = {signer.key.fingerprint.hex()}});
  writer.finish();
  const message_info info = [&] {
    message_reader reader(memory_reader(byte_view(out)), keyring(), {});
    CHECK_THROWS_AS(reader.finish(), error);
    return reader.info();
  }();
  REQUIRE(info.recipients.size() == 1);
  CHECK(info.recipients[0].key == key_id_hex((has_x448 ? newer : older).key.id));
  if (!has_x448)
    CHECK_THROWS_WITH_AS(
        message_writer(vector_writer(out), keys, {.sign = false, .recipients = {newer.key.fingerprint.hex()}}),
        doctest::Contains(no_x448.c_str()), error);
}

TEST_CASE("attack: a signature of Ed448 over a hash that is too short for it, however right, counts for nothing" *
          doctest::skip(!has_ed448)) {
  const keyring keys = ring("v6");
  const secret_key& secret = open_secret(keys, primary(keys));
  const auto loaded = seam::load(secret);
  const auto verifies = [&](hash_algorithm hash) {
    const byte_vector digest(digest_octets(hash), std::byte{3});
    Botan::PK_Signer signer(*loaded, seam::random(), "Pure");
    const auto value = signer.sign_message(as_uint8(digest), digest.size(), seam::random());
    return verify_digest(secret.key, hash, digest, {to_vector(as_bytes(value.data(), value.size()))});
  };
  CHECK(verifies(hash_algorithm::sha512));
  CHECK(verifies(hash_algorithm::sha3_512));
  CHECK_FALSE(verifies(hash_algorithm::sha256));
  CHECK_FALSE(verifies(hash_algorithm::sha384));
  CHECK_FALSE(verifies(hash_algorithm::sha3_256));
}

TEST_CASE("attack: the second form of an Ed448 signature, S plus the order of the group, and other lengths" *
          doctest::skip(!has_ed448)) {
  const keyring keys = ring("v6");
  const secret_key& secret = open_secret(keys, primary(keys));
  const byte_vector digest(64, std::byte{3});
  const byte_vector good = sign_digest(secret, hash_algorithm::sha512, digest).at(0);
  const auto verifies = [&](const byte_vector& value) {
    return verify_digest(secret.key, hash_algorithm::sha512, digest, {value});
  };
  REQUIRE(good.size() == 114);
  CHECK(verifies(good));

  // RFC 8032 section 5.2: the order is 2^446 minus this number.
  const Botan::BigInt order = Botan::BigInt::power_of_2(446) -
                              Botan::BigInt("13818066809895115352007386748515426880336692474882178609894547503885");
  Botan::BigInt s = 0;
  for (std::size_t i = 114; i-- > 57;) s = s * 256 + std::to_integer<unsigned>(good[i]);
  REQUIRE(s < order);
  s += order;
  byte_vector other(good.begin(), good.begin() + 57);
  for (std::size_t i = 0; i < 57; ++i) other.push_back(std::byte{s.byte_at(i)});
  CHECK_FALSE(verifies(other));

  CHECK_FALSE(verifies(byte_vector(good.begin(), good.end() - 1)));
  CHECK_FALSE(verifies(good + byte_vector(1)));
  CHECK_FALSE(verifies(byte_vector(114)));
  CHECK_FALSE(verifies({}));
}

TEST_CASE("attack: an X448 point of small order opens nothing, and nothing is encrypted for one" *
          doctest::skip(!has_x448)) {
  const keyring keys = ring("v4");
  const public_key& key = subkey(keys);
  const auto package = [&](std::byte octet) {
    // 56 octets of the ephemeral key; length, cipher, wrapped session key
    const byte_vector fields = byte_vector(56, octet) + test::number(41, 1) + test::number(9, 1) + byte_vector(40);
    const byte_vector body = test::number(3, 1) + test::number(key.id, 8) + test::number(26, 1) + fields;
    return test::packet(packet_type::public_key_encrypted_session_key, body) +
           test::encrypted(test::random_session_key(), test::signed_message(open_secret(keys, primary(keys)), content));
  };
  const test::result small_order = read(package(std::byte{0}), keys), wrong = read(package(std::byte{9}), keys);
  CHECK(small_order.code == errc::tampered);
  CHECK(small_order.message == wrong.message);  // no oracle: one error for all of them

  public_key weak = key;
  weak.values.at(0) = byte_vector(56);
  CHECK_THROWS_AS(encrypt_session_key(weak, 3, test::random_session_key()), error);
}
