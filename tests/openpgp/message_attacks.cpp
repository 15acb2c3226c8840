// Attacks on the reading of messages, by name. What is refused has yielded nothing that counts: there is no proof.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <fussy/codec.hpp>
#include <fussy/openpgp.hpp>

#include <chrono>
#include <string>
#include <vector>

#include "aead_writer.hpp"
#include "gnupg.hpp"
#include "openpgp/armor.hpp"
#include "packages.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using test::operator+;

namespace {

struct keys_of_the_test {
  test::gnupg vendor;
  std::string rsa, ed25519;
  keyring ring;
};

const keys_of_the_test& keys() {
  static const auto made = [] {
    auto k = std::make_unique<keys_of_the_test>();
    k->rsa = k->vendor.make_key("RSA Vendor <rsa@example.org>", "rsa2048");
    k->ed25519 = k->vendor.make_key("Ed Vendor <ed@example.org>", "ed25519");
    k->ring = k->vendor.keys();
    return k;
  }();
  return *made;
}

const secret_key& ed_secret() { return test::secret(keys().ring, keys().ed25519); }

const public_key& encryption_key(public_key_algorithm algorithm, const std::string& primary = {}) {
  for (const auto& s : keys().ring.internals().secrets)
    if (s->key().algorithm == algorithm && s->key().fingerprint.hex() != primary) return s->key();
  throw std::runtime_error("no such key");
}
const public_key& ecdh_key() { return encryption_key(public_key_algorithm::ecdh); }
const public_key& rsa_encryption_key() { return encryption_key(public_key_algorithm::rsa, keys().rsa); }

test::result read(const byte_vector& message, const policy& rules = {}) {
  return test::read(byte_view(message), keys().ring, rules);
}

const std::string hello = "hello, firmware\n";

byte_vector compressed(codec::format format, compression_algorithm algorithm, byte_view inside) {
  byte_vector body{static_cast<std::byte>(algorithm)};
  codec::compressor writer(any_writer(vector_writer(body)), format);
  writer.write(inside);
  writer.finish();
  return test::packet(packet_type::compressed_data, body);
}

// The body of the first packet of a type.
byte_vector body_of(const byte_vector& message, packet_type type) {
  packet_sequence packets(message);
  while (const auto p = packets.next())
    if (p->type == type) return to_vector(p->body);
  throw std::runtime_error("no such packet");
}

// A source that never ends.
struct endless_reader {
  byte_vector first, repeated;
  std::size_t at = 0;
  std::size_t read(byte_span room) {
    for (std::byte& b : room) {
      b = at < first.size() ? first[at] : repeated[(at - first.size()) % repeated.size()];
      ++at;
    }
    return room.size();
  }
};

long peak_memory_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_SUITE_BEGIN("message_attacks");

TEST_CASE("attack: CVE-2020-10759, a list of signatures that is empty, proves nothing") {
  const auto s = test::sign(ed_secret(), hello);
  CHECK(read({}).code == errc::not_openpgp);
  CHECK(read(test::marker()).code == errc::truncated);
  CHECK(read(test::packet(packet_type::padding, byte_vector(16))).code == errc::truncated);
  CHECK(read(test::literal(hello)).code == errc::no_signature);
  CHECK(read(test::uncompressed({})).code == errc::bad_message);
  CHECK(read(test::uncompressed(test::literal(hello))).code == errc::no_signature);
  CHECK(read(s.one_pass).code == errc::bad_message);
  CHECK(read(s.one_pass + test::literal(hello)).code == errc::no_signature);
  // A signature of an unknown version, instead of one that is right.
  const byte_vector unknown = test::packet(packet_type::signature, byte_vector(20, std::byte{9}));
  CHECK(read(s.one_pass + test::literal(hello) + unknown).code == errc::bad_signature);
  CHECK(read(unknown + test::literal(hello)).code == errc::bad_signature);
  CHECK(read(s.one_pass + test::literal(hello) + test::packet(packet_type::signature, {})).code == errc::bad_signature);
}

TEST_CASE("attack: a message of signatures alone has no content to install") {
  const auto s = test::sign(ed_secret(), "");
  CHECK(read(s.signature).code == errc::bad_message);
  CHECK(read(s.signature + s.signature).code == errc::bad_message);
  CHECK(read(s.one_pass + s.signature).code == errc::bad_message);
  CHECK(read(test::uncompressed(s.signature)).code == errc::bad_message);
  CHECK(test::read(encode_armor(armor_label::message, s.signature), keys().ring).code == errc::bad_message);
}

TEST_CASE("attack: session keys alone") {
  const session_key key = test::random_session_key();
  CHECK(read(test::session_key_packet(ecdh_key(), key)).code == errc::truncated);
  const auto s = test::sign(ed_secret(), hello);
  CHECK(read(test::session_key_packet(ecdh_key(), key) + s.one_pass + test::literal(hello) + s.signature).code ==
        errc::bad_message);
}

TEST_CASE("attack: the MDC is stripped, changed or downgraded") {
  const session_key key = test::random_session_key();
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);
  const byte_vector sealed = test::encrypted(key, test::signed_message(ed_secret(), hello));
  const byte_vector body = body_of(sealed, packet_type::encrypted_and_integrity_protected_data);
  REQUIRE(read(esk + sealed).code == errc::success);
  const auto seipd = [](const byte_vector& b) {
    return test::packet(packet_type::encrypted_and_integrity_protected_data, b);
  };

  SUBCASE("the last 22 octets are cut off") {
    CHECK(read(esk + seipd(byte_vector(body.begin(), body.end() - 22))).code == errc::tampered);
  }
  SUBCASE("relabelled as the packet without integrity protection") {
    const byte_vector old(body.begin() + 1, body.end() - 22);
    CHECK(read(esk + test::packet(packet_type::symmetrically_encrypted_data, old)).code == errc::tampered);
    CHECK(read(test::packet(packet_type::symmetrically_encrypted_data, old)).code == errc::tampered);
  }
  SUBCASE("the version octet is changed") {
    for (unsigned version = 0; version < 256; ++version) {
      if (version == 1) continue;
      byte_vector other = body;
      other[0] = static_cast<std::byte>(version);
      CHECK(read(esk + seipd(other)).code == errc::cannot_decrypt);
    }
  }
  SUBCASE("octets are appended behind the MDC") {
    CHECK(read(esk + seipd(body + byte_vector(22))).code == errc::tampered);
    CHECK(read(esk + seipd(body + byte_vector(1))).code == errc::tampered);
  }
  SUBCASE("a real message by gpg without MDC") {
    const auto made = keys().vendor.gpg({"--rfc2440", "--cipher-algo", "AES", "--local-user", keys().ed25519,
                                         "--recipient", keys().rsa, "--sign", "--encrypt"},
                                        hello);
    if (made.ok()) CHECK(test::read(made.out, keys().ring).code != errc::success);
  }
}

TEST_CASE("attack: an AEAD packet is relabelled, and session keys of another version are put in front") {
  const session_key key = test::random_session_key();
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);  // version 3
  byte_vector v2(200, std::byte{0});
  v2[0] = std::byte{2};
  v2[1] = std::byte{9};
  v2[2] = std::byte{2};
  CHECK(read(esk + test::packet(packet_type::encrypted_and_integrity_protected_data, v2)).code == errc::cannot_decrypt);
}

TEST_CASE("attack: decryption tells nothing: every failure behind a session key looks the same") {
  const session_key key = test::random_session_key();
  const byte_vector sealed = test::encrypted(key, test::signed_message(ed_secret(), hello));
  std::vector<test::result> failures;
  for (const public_key* recipient : {&ecdh_key(), &rsa_encryption_key()}) {
    const byte_vector esk = test::session_key_packet(*recipient, key);
    REQUIRE(read(esk + sealed).code == errc::success);
    // A session key that does not open, in every way there is.
    const std::size_t head = esk.size() - body_of(esk, packet_type::public_key_encrypted_session_key).size();
    for (std::size_t at = head + 10; at < esk.size(); ++at) {
      byte_vector bad = esk;
      bad[at] ^= std::byte{0x10};
      failures.push_back(read(bad + sealed));
    }
    // One that opens, and is for something else, or of a cipher that it does not fit.
    failures.push_back(read(test::session_key_packet(*recipient, test::random_session_key()) + sealed));
    session_key odd = test::random_session_key(symmetric_algorithm::aes128);
    odd.key = key.key;
    failures.push_back(read(test::session_key_packet(*recipient, odd) + sealed));
  }
  // Content that was changed: its first octets, so that packets make no sense, and its last.
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);
  for (const std::size_t at : {std::size_t{4}, std::size_t{20}, std::size_t{25}, std::size_t{60}, sealed.size() - 1}) {
    byte_vector bad = sealed;
    bad[at] ^= std::byte{1};
    failures.push_back(read(esk + bad));
  }
  for (const test::result& f : failures) {
    CHECK(f.code == errc::tampered);
    CHECK(f.message == failures[0].message);
  }
}

TEST_CASE("attack: what stands inside of changed encrypted data is not told by the error") {
  // A stranger's one-pass header inside would be refused early with its key ID. Not before the content is proven.
  const session_key key = test::random_session_key();
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);
  const byte_vector body =
      body_of(test::encrypted(key, test::literal(hello)), packet_type::encrypted_and_integrity_protected_data);
  byte_vector bad = body;
  bad.back() ^= std::byte{1};
  CHECK(read(esk + test::packet(packet_type::encrypted_and_integrity_protected_data, body)).code == errc::no_signature);
  CHECK(read(esk + test::packet(packet_type::encrypted_and_integrity_protected_data, bad)).code == errc::tampered);
}

TEST_CASE("attack: compression bombs stop at the policy's limit, and take no memory") {
  const auto s = test::sign(ed_secret(), hello);
  std::vector<byte_vector> bombs;
  for (const auto& [format, algorithm] : {std::pair{codec::format::deflate, compression_algorithm::zip},
                                          std::pair{codec::format::zlib, compression_algorithm::zlib},
                                          std::pair{codec::format::bzip2, compression_algorithm::bzip2}}) {
    const std::string zeros(48 << 20, '\0');
    const byte_vector padding = test::packet(packet_type::padding, test::to_octets(zeros));
    bombs.push_back(compressed(format, algorithm, s.one_pass + test::literal(zeros) + s.signature));
    bombs.push_back(compressed(format, algorithm, padding + padding + s.one_pass));
    bombs.push_back(compressed(format, algorithm, test::packet(packet_type::signature, test::to_octets(zeros))));
    bombs.push_back(compressed(format, algorithm, compressed(format, algorithm, s.one_pass + test::literal(zeros))));
  }
  policy rules;
  rules.max_content = 10 << 20;
  const long before = peak_memory_kib();
  for (const byte_vector& bomb : bombs) CHECK(read(bomb, rules).code == errc::message_too_large);
  CHECK(peak_memory_kib() - before < 16 * 1024 + 20 * 1024);  // the test itself keeps what it read, up to the limit
}

TEST_CASE("attack: 30 000 nested containers") {
  byte_vector nested;
  for (int i = 0; i < 30000; ++i) nested = byte_vector{std::byte{0xa3}, std::byte{0}};
  byte_vector all;
  for (int i = 0; i < 30000; ++i) all.insert(all.end(), nested.begin(), nested.end());
  CHECK(read(all).code == errc::message_too_large);
  const byte_vector good = test::signed_message(ed_secret(), hello);
  CHECK(read(test::uncompressed(good)).code == errc::success);
  CHECK(read(test::uncompressed(test::uncompressed(good))).code == errc::success);
  CHECK(read(test::uncompressed(test::uncompressed(test::uncompressed(good)))).code == errc::message_too_large);
}

TEST_CASE("attack: streams that never end are given up") {
  const auto refused = [](endless_reader source) {
    policy rules;
    rules.max_content = 100 << 20;
    try {
      verify(any_reader(std::move(source)), keys().ring, rules);
    } catch (const error& e) {
      return e.code();
    }
    return errc::success;
  };
  const auto s = test::sign(ed_secret(), hello);
  const byte_vector good = test::signed_message(ed_secret(), hello);
  CHECK(refused({{}, test::marker()}) == errc::message_too_large);
  CHECK(refused({{}, test::packet(static_cast<packet_type>(60), {})}) == errc::message_too_large);
  CHECK(refused({good, test::packet(packet_type::padding, byte_vector(1000))}) == errc::message_too_large);
  CHECK(refused({{}, s.one_pass}) == errc::message_too_large);
  CHECK(refused({{}, test::session_key_packet(ecdh_key(), test::random_session_key())}) == errc::message_too_large);
  CHECK(refused({s.one_pass + byte_vector{std::byte{0xaf}, std::byte{'b'}}, byte_vector(1)}) ==
        errc::message_too_large);
  CHECK(refused({{}, test::to_octets("\n")}) == errc::not_openpgp);
  CHECK(refused({test::to_octets("-----BEGIN PGP MESSAGE-----\n"), test::to_octets("Comment: x\n")}) ==
        errc::message_too_large);
  CHECK(refused({test::to_octets("-----BEGIN PGP MESSAGE-----\n\n"), test::to_octets("\n")}) ==
        errc::message_too_large);
}

TEST_CASE("attack: endless padding behind the end of compressed data is given up") {
  const byte_vector inside = test::signed_message(ed_secret(), hello);
  byte_vector packet =
      body_of(compressed(codec::format::deflate, compression_algorithm::zip, inside), packet_type::compressed_data);
  const byte_vector padded = byte_vector{std::byte{0xa3}} + packet;
  CHECK(read(padded + byte_vector(1000)).code == errc::success);  // sq pads so
  try {
    verify(any_reader(endless_reader{padded, byte_vector(1)}), keys().ring);
    FAIL("no error");
  } catch (const error& e) {
    CHECK(e.code() == errc::message_too_large);
  }
}

TEST_CASE("attack: declared lengths of 4 GiB") {
  const auto s = test::sign(ed_secret(), hello);
  for (const unsigned type : {1U, 2U, 3U, 4U, 8U, 10U, 11U, 18U, 20U, 21U, 60U}) {
    byte_vector message{static_cast<std::byte>(0xc0 | type),
                        std::byte{255},
                        std::byte{255},
                        std::byte{255},
                        std::byte{255},
                        std::byte{255}};
    const auto code = read(s.one_pass + message + byte_vector(100)).code;
    CHECK(code != errc::success);
    CHECK(static_cast<int>(code) >= 2000);
    CHECK(static_cast<int>(code) < 2100);
  }
}

TEST_CASE("attack: signatures that claim the right key and are rubbish") {
  const auto s = test::sign(ed_secret(), hello);
  const byte_vector body = body_of(s.signature, packet_type::signature);
  for (std::size_t size = 0; size < body.size(); ++size) {
    const byte_vector cut(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(read(s.one_pass + test::literal(hello) + test::packet(packet_type::signature, cut)).code != errc::success);
  }
}

TEST_CASE("a package that is cut anywhere is refused, as truncated or as lacking its signature") {
  for (const std::string& key : {keys().rsa, keys().ed25519}) {
    for (const bool encrypt : {false, true})
      for (const std::string z : {"0", "6"}) {
        const std::string message =
            encrypt ? keys().vendor.sign_and_encrypt(key, hello, {"-z", z}) : keys().vendor.sign(key, hello, {"-z", z});
        for (std::size_t size = 0; size < message.size(); ++size) {
          CAPTURE(size);
          const auto r = test::read(message.substr(0, size), keys().ring);
          const bool expected = r.code == errc::truncated || (size == 0 && r.code == errc::not_openpgp) ||
                                (r.code == errc::no_signature && !encrypt) || r.code == errc::bad_message;
          CHECK_MESSAGE(expected, r.message);
          // Only where a cut looks like another, whole thing: between packets.
          if (r.code == errc::no_signature) CHECK(z == "0");
          if (r.code == errc::bad_message) CHECK(z == "0");
        }
      }
  }
}

TEST_CASE("memory for a message of any size is bounded by 16 MiB") {
  const std::string content(48 << 20, 'x');
  const session_key key = test::random_session_key();
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);
  const byte_vector signed_content = test::signed_message(ed_secret(), content);
  const std::vector<byte_vector> messages{
      signed_content,
      esk + test::encrypted(key, signed_content),
      esk + test::packet(packet_type::gnupg_aead_encrypted_data,
                         test::write_aead({.gnupg = true, .chunk_size = 16}, key.key, signed_content)),
      esk + test::packet(packet_type::gnupg_aead_encrypted_data,
                         test::write_aead({.gnupg = true, .chunk_size = 22}, key.key, signed_content)),
      esk + test::encrypted(key, compressed(codec::format::bzip2, compression_algorithm::bzip2, signed_content)),
  };
  const long before = peak_memory_kib();
  for (const byte_vector& message : messages)
    CHECK(verify(any_reader(memory_reader(message)), keys().ring).content_size() == content.size());
  CHECK(peak_memory_kib() - before < 16 * 1024);
}
