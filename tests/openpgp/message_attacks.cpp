// Attacks on the reading of messages, by name. What is refused has yielded nothing that counts: there is no proof.
#include <botan/pubkey.h>
#include <doctest/doctest.h>
#include <malloc.h>
#include <time.h>

#include <fussy/codec.hpp>
#include <fussy/openpgp.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "aead_writer.hpp"
#include "gnupg.hpp"
#include "openpgp/armor.hpp"
#include "openpgp/botan_seam.hpp"
#include "packages.hpp"
#include "support/instrumented.hpp"

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

/// A session key packet of version 6.
byte_vector session_key_packet_6(const public_key& recipient, const session_key& key) {
  byte_vector body{std::byte{6}, std::byte{21}, std::byte{recipient.version}};
  put(body, recipient.fingerprint.octets());
  put_u8(body, static_cast<std::uint8_t>(recipient.algorithm));
  put(body, encrypt_session_key(recipient, 6, key));
  return test::packet(packet_type::public_key_encrypted_session_key, body);
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

// A line of /proc/self/status, in KiB.
long memory_kib(const std::string& what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(what + ":")) return std::stol(line.substr(what.size() + 1));
  throw std::runtime_error("no " + what);
}

// How much more memory than before the process had while it did something.
template <class Work>
long extra_memory_kib(Work&& work) {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts anew
  const long before = memory_kib("VmRSS");
  work();
  return memory_kib("VmHWM") - before;
}

/// Processor time of this thread.
double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// Reads a message and keeps nothing. @return how it ended.
errc verified(const byte_vector& message, const policy& rules = {}) {
  try {
    verify(any_reader(memory_reader(message)), keys().ring, rules);
  } catch (const error& e) {
    return e.code();
  }
  return errc::success;
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
  const byte_vector inside = test::signed_message(ed_secret(), hello);
  const auto seipd = [](const byte_vector& body) {
    return test::packet(packet_type::encrypted_and_integrity_protected_data, body);
  };
  const auto gnupg = [](const byte_vector& body) { return test::packet(packet_type::gnupg_aead_encrypted_data, body); };
  const byte_vector v2 = test::write_aead({}, key.key, inside),
                    tag20 = test::write_aead({.gnupg = true}, key.key, inside);
  const byte_vector esk_6 = session_key_packet_6(ecdh_key(), key);
  REQUIRE(read(esk_6 + seipd(v2)).code == errc::success);
  REQUIRE(read(esk + gnupg(tag20)).code == errc::success);
  CHECK(read(esk + seipd(v2)).code == errc::cannot_decrypt);
  CHECK(read(esk_6 + gnupg(tag20)).code == errc::cannot_decrypt);
  CHECK(read(esk_6 + test::encrypted(key, inside)).code == errc::cannot_decrypt);
  // Both are there, and the one that fits is taken.
  CHECK(read(esk + esk_6 + seipd(v2)).code == errc::success);
  CHECK(read(esk_6 + esk + gnupg(tag20)).code == errc::success);
  // Relabelled, with session keys that go with the new label: other keys and other nonces.
  CHECK(read(esk + gnupg(v2)).code == errc::cannot_decrypt);  // GnuPG's packet has no version 2
  byte_vector as_v2 = tag20;
  as_v2[0] = std::byte{2};
  CHECK(read(esk_6 + seipd(as_v2)).code == errc::tampered);
}

TEST_CASE("session key packets that are not known, damaged, or for nobody here are skipped") {
  const session_key key = test::random_session_key();
  const byte_vector sealed = test::encrypted(key, test::signed_message(ed_secret(), hello));
  const byte_vector ours = test::session_key_packet(ecdh_key(), key);
  const auto esk = [](byte_vector body) {
    return test::packet(packet_type::public_key_encrypted_session_key, std::move(body));
  };
  const auto passphrase = [](byte_vector body) {
    return test::packet(packet_type::symmetric_key_encrypted_session_key, std::move(body));
  };
  byte_vector future(40, std::byte{9}), odd_algorithm(40, std::byte{3});
  odd_algorithm[9] = std::byte{99};
  const byte_vector argon2 = byte_vector{std::byte{6}, std::byte{30}} + byte_vector(30, std::byte{0xff});  // 2^255 KiB
  for (const byte_vector& skipped : {esk(future), esk(odd_algorithm), esk({}), esk({std::byte{3}}), passphrase(argon2),
                                     passphrase({}), passphrase(future)}) {
    CHECK(read(skipped + ours + sealed).code == errc::success);
    CHECK(read(ours + skipped + sealed).code == errc::success);
    CHECK(read(skipped + sealed).code == errc::cannot_decrypt);
  }
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
  // A point of small order, for which the shared secret is zero, and one that is none of the curve's.
  for (const std::byte octet : {std::byte{0}, std::byte{0xff}}) {
    byte_vector body;
    put_u8(body, 3);
    put_be(body, ecdh_key().id, 8);
    put_u8(body, static_cast<std::uint8_t>(public_key_algorithm::ecdh));
    put_mpi(body, byte_vector{std::byte{0x40}} + byte_vector(32, octet));
    put_u8(body, 48);
    put(body, byte_vector(48, std::byte{7}));
    failures.push_back(read(test::packet(packet_type::public_key_encrypted_session_key, body) + sealed));
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

TEST_CASE("attack: Bleichenbacher's: whether the padding of an RSA session key is right cannot be told by the time") {
  const session_key key = test::random_session_key();
  const byte_vector sealed = test::encrypted(key, test::signed_message(ed_secret(), std::string(256 << 10, 'x')));
  const public_key& recipient = rsa_encryption_key();
  const auto packet_of = [&](const std::vector<std::uint8_t>& m) {
    const Botan::PK_Encryptor_EME padded(*seam::load(recipient), seam::random(), "PKCS1v15");
    byte_vector body = byte_vector{std::byte{3}};
    put_be(body, recipient.id, 8);
    put_u8(body, static_cast<std::uint8_t>(recipient.algorithm));
    const auto ciphertext = padded.encrypt(m.data(), m.size(), seam::random());
    put_mpi(body, as_bytes(ciphertext.data(), ciphertext.size()));
    return test::packet(packet_type::public_key_encrypted_session_key, body);
  };
  byte_vector no_padding = test::session_key_packet(recipient, key);
  no_padding[no_padding.size() / 2] ^= std::byte{1};
  const std::vector<byte_vector> packets{
      no_padding, packet_of(std::vector<std::uint8_t>(35, 9)),          // padded, checksum wrong
      packet_of(std::vector<std::uint8_t>(5, 9)),                       // padded, of no key's length
      test::session_key_packet(recipient, test::random_session_key()),  // all is right, but it is another key
  };
  std::vector<std::vector<double>> times(packets.size());
  for (int round = 0; round < 41; ++round)
    for (std::size_t i = 0; i < packets.size(); ++i) {
      const byte_vector message = packets[i] + sealed;
      const double before = thread_seconds();
      CHECK(verified(message) == errc::tampered);
      times[i].push_back(thread_seconds() - before);
    }
  std::vector<double> medians;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    std::nth_element(times[i].begin(), times[i].begin() + 20, times[i].end());
    medians.push_back(times[i][20]);
    MESSAGE("kind " << i << ": " << medians.back() * 1e6 << " us");
  }
  const auto [least, most] = std::minmax_element(medians.begin(), medians.end());
  if (!instrumented) CHECK(*most < *least * 1.15);
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
  for (const byte_vector& bomb : bombs) {
    const long extra = extra_memory_kib([&] { CHECK(verified(bomb, rules) == errc::message_too_large); });
    if (!instrumented) CHECK(extra < 16 * 1024);
  }
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

TEST_CASE("memory for a message of any size and form is bounded by 16 MiB") {
  const std::string content(48 << 20, 'x');
  const session_key key = test::random_session_key();
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);
  const byte_vector signed_content = test::signed_message(ed_secret(), content);
  const auto tag20 = [&](unsigned chunk_size) {
    return esk + test::packet(packet_type::gnupg_aead_encrypted_data,
                              test::write_aead({.gnupg = true, .chunk_size = chunk_size}, key.key, signed_content));
  };
  const auto v2 = [&](unsigned chunk_size) {
    return session_key_packet_6(ecdh_key(), key) +
           test::packet(packet_type::encrypted_and_integrity_protected_data,
                        test::write_aead({.chunk_size = chunk_size}, key.key, signed_content));
  };
  const auto sealed_bzip2 = [&] {
    return esk + test::encrypted(key, compressed(codec::format::bzip2, compression_algorithm::bzip2, signed_content));
  };
  const std::vector<std::pair<const char*, std::function<byte_vector()>>> forms{
      {"signed", [&] { return signed_content; }},
      {"SEIPD v1", [&] { return esk + test::encrypted(key, signed_content); }},
      {"SEIPD v2, small chunks", [&] { return v2(0); }},
      {"SEIPD v2, chunks of 4 MiB", [&] { return v2(16); }},
      {"GnuPG's packet, chunks of 4 MiB", [&] { return tag20(16); }},
      {"GnuPG's packet, chunks of 256 MiB", [&] { return tag20(22); }},
      {"SEIPD v1 around bzip2", sealed_bzip2},
      {"armored", [&] { return test::to_octets(encode_armor(armor_label::message, signed_content)); }},
  };
  for (const auto& form : forms) {
    const std::string what = form.first;  // Clang 14 captures no structured bindings, as CAPTURE does
    CAPTURE(what);
    const byte_vector message = form.second();
    const long extra = extra_memory_kib([&] { CHECK(verified(message) == errc::success); });
    MESSAGE(what << ": " << extra << " KiB");
    if (!instrumented) CHECK(extra < 16 * 1024);
  }
}

namespace {

/// `count` session key packets of 125 KiB for hidden recipients: for us, as far as anybody can tell.
byte_vector fat_session_keys(int count) {
  byte_vector body{std::byte{3}};
  put_be(body, 0, 8);
  put_u8(body, static_cast<std::uint8_t>(public_key_algorithm::rsa));
  put(body, byte_vector(125 * 1024, std::byte{0x55}));
  const byte_vector one = test::packet(packet_type::public_key_encrypted_session_key, body);
  byte_vector all;
  for (int i = 0; i < count; ++i) put(all, one);
  return all;
}

/// Puts an embedded signature of `size` octets into an area of subpackets.
void put_fat_subpacket(byte_vector& area, std::size_t size) {
  put_u8(area, 255);
  put_be(area, size + 1, 4);
  put_u8(area, 32);
  put(area, byte_vector(size, std::byte{4}));
}

/// `count` signatures of 2 * `size` octets that claim our key and stand in front of the content.
byte_vector fat_signatures(int count, std::size_t size) {
  byte_vector hashed{std::byte{5}, std::byte{2}}, unhashed;
  put_be(hashed, 1'700'000'000, 4);
  put_u8(hashed, 22), put_u8(hashed, 33), put_u8(hashed, 4);
  put(hashed, ed_secret().key.fingerprint.octets());
  put_fat_subpacket(hashed, size);
  put_fat_subpacket(unhashed, size);
  byte_vector body{std::byte{4}, std::byte{0}, std::byte{22}, std::byte{8}};
  for (const byte_vector* area : {&hashed, &unhashed}) put_be(body, area->size(), 2), put(body, *area);
  put_be(body, 0, 2);
  put_mpi(body, byte_vector(32, std::byte{1}));
  put_mpi(body, byte_vector(32, std::byte{1}));
  const byte_vector one = test::packet(packet_type::signature, body);
  byte_vector all;
  for (int i = 0; i < count; ++i) put(all, one);
  return all;
}

}  // namespace

TEST_CASE("attack: everything that takes memory at once: fat session keys, large chunks, bzip2 twice, fat signatures") {
  byte_vector noise(6 << 20);
  randomize(noise);
  const session_key key = test::random_session_key();
  const byte_vector esk = test::session_key_packet(ecdh_key(), key);
  const byte_vector content = test::signed_message(ed_secret(), std::string(as_text(noise)));
  const auto bzip2_twice = [](const byte_vector& inside) {
    const auto bzip2 = [](byte_view of) { return compressed(codec::format::bzip2, compression_algorithm::bzip2, of); };
    return bzip2(bzip2(inside));
  };
  const auto sealed = [&](const byte_vector& inside) {
    return fat_session_keys(63) + esk +
           test::packet(packet_type::gnupg_aead_encrypted_data,
                        test::write_aead({.gnupg = true, .chunk_size = 16}, key.key, inside));
  };
  const std::vector<std::pair<const char*, std::function<byte_vector()>>> forms{
      {"as many as are read", [&] { return sealed(bzip2_twice(fat_signatures(15, 16'000) + content)); }},
      {"more than are read", [&] { return sealed(bzip2_twice(fat_signatures(30, 60'000) + content)); }},
      {"signatures in clear", [&] { return fat_signatures(30, 60'000) + content; }},
  };
  for (const auto& form : forms) {
    const std::string what = form.first;
    CAPTURE(what);
    const byte_vector message = form.second();
    errc end{};
    const long extra = extra_memory_kib([&] { end = verified(message); });
    CHECK(end == (what.starts_with("as many") ? errc::success : errc::message_too_large));
    MESSAGE(what << ": " << extra << " KiB");
    if (!instrumented) CHECK(extra < 16 * 1024);
  }
}

TEST_CASE("memory for what a message merely claims is bounded by 16 MiB, too") {
  const auto s = test::sign(ed_secret(), hello);
  byte_vector many_keys, many_headers;
  const byte_vector esk = test::session_key_packet(rsa_encryption_key(), test::random_session_key(), true);
  for (int i = 0; i < 10'000; ++i) many_keys.insert(many_keys.end(), esk.begin(), esk.end());
  for (int i = 0; i < 32; ++i) many_headers = many_headers + s.one_pass;
  const byte_vector huge = test::packet(packet_type::padding, byte_vector(40 << 20));
  for (const byte_vector& message : {many_keys, many_headers + huge, huge + s.one_pass,
                                     test::packet(packet_type::signature, byte_vector(40 << 20))}) {
    const long extra = extra_memory_kib([&] { CHECK(verified(message) != errc::success); });
    if (!instrumented) CHECK(extra < 16 * 1024);
  }
}
