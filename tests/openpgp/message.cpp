// What a package may look like, made by gpg and packet by packet, and what is refused with which reason.
#include <doctest/doctest.h>

#include <fussy/openpgp.hpp>

#include <string>
#include <vector>

#include "gnupg.hpp"
#include "openpgp/armor.hpp"
#include "packages.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using test::operator+;

namespace {

// One home with keys of the kinds people have, and a stranger's.
struct keys_of_the_test {
  test::gnupg vendor, stranger;
  std::string rsa, ed25519, strange;
  keyring ring;
};

const keys_of_the_test& keys() {
  static const auto made = [] {
    auto k = std::make_unique<keys_of_the_test>();
    k->rsa = k->vendor.make_key("RSA Vendor <rsa@example.org>", "rsa3072");
    k->ed25519 = k->vendor.make_key("Ed Vendor <ed@example.org>", "ed25519");
    k->strange = k->stranger.make_key("Stranger <s@example.net>", "ed25519");
    k->ring = k->vendor.keys();
    return k;
  }();
  return *made;
}

const secret_key& ed_secret() { return test::secret(keys().ring, keys().ed25519); }

/// A reader of what a function gives.
template <class Read>
struct reading {
  Read from;
  std::size_t read(byte_span room) { return from(room); }
};
template <class Read>
reading(Read) -> reading<Read>;

std::string sample(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < size; ++i) {
    state = state * 1664525 + 1013904223;
    text[i] = i % 64 < 40 ? static_cast<char>(state >> 24) : 'x';
  }
  return text;
}

test::result read(const byte_vector& message, const policy& rules = {}) {
  return test::read(byte_view(message), keys().ring, rules);
}
test::result read(const std::string& message, const policy& rules = {}) {
  return test::read(message, keys().ring, rules);
}

const std::string hello = "hello, firmware\n";

byte_vector encrypted_for_ed(const byte_vector& inside) {
  const session_key key = test::random_session_key();
  const public_key* recipient = nullptr;
  for (const auto& s : keys().ring.internals().secrets)
    if (s->key().algorithm == public_key_algorithm::ecdh) recipient = &s->key();
  REQUIRE(recipient != nullptr);
  return test::session_key_packet(*recipient, key) + test::encrypted(key, inside);
}

}  // namespace

TEST_SUITE_BEGIN("message");

TEST_CASE("what gpg --sign writes is proven") {
  for (const std::string& key : {keys().rsa, keys().ed25519})
    for (const std::size_t size : {0U, 1U, 511U, 8192U, 100000U, 3000000U})
      for (const std::vector<std::string>& options :
           std::vector<std::vector<std::string>>{{},
                                                 {"-z", "0"},
                                                 {"--armor"},
                                                 {"--compress-algo", "zlib"},
                                                 {"--compress-algo", "bzip2"},
                                                 {"--digest-algo", "SHA256"}}) {
        CAPTURE(size);
        CAPTURE(options.empty() ? "default" : options.back());
        const std::string data = sample(size);
        const test::result r = read(keys().vendor.sign(key, data, options));
        CHECK(r.message == "");
        CHECK(r.content == data);
        REQUIRE(r.signers.size() == 1);
        CHECK(r.signers[0].primary.hex() == key);
        CHECK(r.signers[0].user_id.find("example.org") != std::string::npos);
        CHECK(!r.encrypted);
      }
}

TEST_CASE("what gpg --sign --encrypt writes is decrypted and proven") {
  for (const std::string& key : {keys().rsa, keys().ed25519})
    for (const std::size_t size : {0U, 1000U, 3000000U})
      for (const std::vector<std::string>& options :
           std::vector<std::vector<std::string>>{{},
                                                 {"-z", "0"},
                                                 {"--armor"},
                                                 {"--cipher-algo", "AES128"},
                                                 {"--cipher-algo", "3DES"},
                                                 {"--cipher-algo", "CAMELLIA256"},
                                                 {"--throw-keyids"}}) {
        CAPTURE(options.empty() ? "default" : options.back());
        const std::string data = sample(size);
        const test::result r = read(keys().vendor.sign_and_encrypt(key, data, options));
        CHECK(r.message == "");
        CHECK(r.content == data);
        CHECK(r.encrypted);
      }
}

TEST_CASE("the size of the reads makes no difference") {
  const std::string data = sample(20000);
  const std::string message = keys().vendor.sign_and_encrypt(keys().ed25519, data);
  for (const std::size_t room : {1U, 2U, 7U, 4096U, 100000U})
    CHECK(test::read(as_bytes(message), keys().ring, {}, room).content == data);
}

TEST_CASE("what was not signed by a key of the ring is refused") {
  const auto& k = keys();
  SUBCASE("no signature") {
    const auto r = read(k.vendor.output({"--store"}, hello));
    CHECK(r.code == errc::no_signature);
    CHECK(r.content.empty());  // refused before any content
  }
  SUBCASE("encrypted, but not signed") {
    CHECK(read(k.vendor.output({"--recipient", k.rsa, "--encrypt"}, hello)).code == errc::no_signature);
    CHECK(read(k.vendor.output({"--recipient", k.rsa, "--encrypt"}, hello)).content.empty());
  }
  SUBCASE("by a stranger: refused without reading the content") {
    const auto r = read(k.stranger.sign(k.strange, sample(100000)));
    CHECK(r.code == errc::unknown_signer);
    CHECK(r.content.empty());
    CHECK(r.message.find(k.strange.substr(24)) != std::string::npos);  // names the key
  }
  SUBCASE("with an empty key ring") {
    CHECK(test::read(k.vendor.sign(k.rsa, hello), keyring()).code == errc::unknown_signer);
  }
}

TEST_CASE("what can be refused at the head of a package is, however large the rest is") {
  const auto& k = keys();
  constexpr std::size_t large = 8'000'000, head = 256 * 1024;
  const auto octets_read = [](const std::string& message, errc refusal) {
    std::size_t taken = 0;
    memory_reader from(as_bytes(message));
    const auto counted = [&](byte_span room) {
      const std::size_t n = from.read(room);
      taken += n;
      return n;
    };
    errc code = errc::success;
    try {
      openpgp::verify(reading{counted}, keys().ring);
    } catch (const error& e) {
      code = e.code();
    }
    CHECK(code == refusal);
    return taken;
  };
  const std::string rest(large, '\x01');
  CHECK(octets_read(k.stranger.sign(k.strange, sample(large)), errc::unknown_signer) <= head);
  CHECK(octets_read("plain text\n" + rest, errc::bad_message) <= head);
  CHECK(octets_read("\x1f\x8b\x08" + rest, errc::not_openpgp) <= head);
  CHECK(octets_read("\xc0\x7f" + rest, errc::bad_message) <= head);  // the packet type that is never used
  CHECK(octets_read(k.vendor.sign(k.rsa, sample(large)), errc::success) > 10 * head);  // so it would be seen
}

TEST_CASE("what is no message at all is refused") {
  const auto& k = keys();
  CHECK(read(std::string()).code == errc::not_openpgp);
  CHECK(read(std::string("plain text\n")).code == errc::not_openpgp);
  CHECK(read(std::string("\x1f\x8b\x08\x00", 4)).code == errc::not_openpgp);
  CHECK(read(std::string("\x1f\x8b\x08\x00", 4)).message.find("gzip") != std::string::npos);
  CHECK(read(k.vendor.output({"--clearsign", "--local-user", k.rsa}, hello)).code == errc::bad_message);
  CHECK(read(k.vendor.output({"--detach-sign", "--local-user", k.rsa}, hello)).code == errc::bad_message);
  CHECK(read(k.vendor.output({"--detach-sign", "--armor", "--local-user", k.rsa}, hello)).code == errc::bad_message);
  CHECK(read(k.vendor.output({"--export", k.rsa})).code == errc::bad_message);
  CHECK(read(k.vendor.output({"--export", "--armor", k.rsa})).code == errc::bad_message);
}

TEST_CASE("several signers: one that is known is enough, unless the policy asks for more") {
  const auto& k = keys();
  const std::string both = k.vendor.output({"--local-user", k.rsa, "--local-user", k.ed25519, "--sign"}, hello);
  policy two;
  two.min_signers = 2;
  CHECK(read(both).signers.size() == 2);
  CHECK(read(both, two).code == errc::success);
  const auto one = read(k.vendor.sign(k.rsa, hello), two);
  CHECK(one.code == errc::too_few_signers);

  SUBCASE("a stranger beside, in both orders") {
    const byte_vector content = test::literal(hello);
    const auto a = test::sign(ed_secret(), hello);
    const keyring other = k.stranger.keys();
    const auto b = test::sign(test::secret(other, k.strange), hello);
    CHECK(read(a.one_pass + b.one_pass + content + b.signature + a.signature).code == errc::success);
    CHECK(read(b.one_pass + a.one_pass + content + a.signature + b.signature).code == errc::success);
    CHECK(read(b.one_pass + content + b.signature).code == errc::unknown_signer);
  }
  SUBCASE("the same signer twice counts once") {
    const auto a = test::sign(ed_secret(), hello);
    const auto b = test::sign(ed_secret(), hello, hash_algorithm::sha256);
    const byte_vector twice = a.one_pass + b.one_pass + test::literal(hello) + b.signature + a.signature;
    CHECK(read(twice).signers.size() == 1);
    CHECK(read(twice, two).code == errc::too_few_signers);
  }
  SUBCASE("a wrong signature beside a right one does not spoil it") {
    const auto good = test::sign(ed_secret(), hello);
    const auto bad = test::sign(test::secret(k.ring, k.rsa), "something else");
    CHECK(read(good.one_pass + bad.one_pass + test::literal(hello) + bad.signature + good.signature).signers.size() ==
          1);
  }
  SUBCASE("a broken hash beside a good one") {
    const auto weak = test::sign(test::secret(k.ring, k.rsa), hello, hash_algorithm::sha1);
    const auto good = test::sign(ed_secret(), hello);
    CHECK(read(weak.one_pass + good.one_pass + test::literal(hello) + good.signature + weak.signature).code ==
          errc::success);
    CHECK(read(weak.one_pass + test::literal(hello) + weak.signature).code == errc::weak_algorithm);
  }
  SUBCASE("too many are refused, not computed") {
    byte_vector message;
    for (int i = 0; i < 40; ++i) message = message + test::sign(ed_secret(), hello).one_pass;
    CHECK(read(message + test::literal(hello)).code == errc::message_too_large);
  }
}

TEST_CASE("the policy names who may sign") {
  const auto& k = keys();
  policy only_rsa;
  only_rsa.allowed = {fingerprint::parse(k.rsa).value()};
  CHECK(read(k.vendor.sign(k.rsa, hello), only_rsa).code == errc::success);
  CHECK(read(k.vendor.sign(k.ed25519, hello), only_rsa).code == errc::signer_not_allowed);
}

TEST_CASE("small keys are refused by the policy's measure") {
  const auto& k = keys();
  policy large;
  large.min_rsa_bits = 4096;
  CHECK(read(k.vendor.sign(k.rsa, hello), large).code == errc::weak_algorithm);
}

TEST_CASE("signatures that stand in front of their content (PGP's way) count as well") {
  const auto s = test::sign(ed_secret(), hello);
  CHECK(read(s.signature + test::literal(hello)).content == hello);
  CHECK(read(s.signature + test::literal(hello)).code == errc::success);
  CHECK(read(s.signature + test::literal("other")).code == errc::bad_signature);
}

TEST_CASE("a text signature is over CR LF line ends, whatever the content has") {
  const std::string unix_text = "one\ntwo\n\nthree", dos_text = "one\r\ntwo\r\n\r\nthree";
  const auto s = test::sign(ed_secret(), dos_text, hash_algorithm::sha512, signature_type::text);
  for (const std::string& text : {unix_text, dos_text}) {
    const byte_vector message = s.one_pass + test::literal(text, 't') + s.signature;
    for (const std::size_t room : {1U, 2U, 3U, 5U, 4096U}) {
      const auto r = test::read(byte_view(message), keys().ring, {}, room);
      CHECK(r.message == "");
      CHECK(r.content == text);  // as it is there
    }
  }
  CHECK(read(s.one_pass + test::literal("one\ntwo\nthree", 't') + s.signature).code == errc::bad_signature);
  SUBCASE("as gpg makes them") {
    const auto& k = keys();
    const auto r = read(k.vendor.sign(k.rsa, "line\nline\n", {"--textmode"}));
    CHECK(r.message == "");
  }
}

TEST_CASE("marker, padding and unknown packets that are not critical are ignored anywhere") {
  const auto s = test::sign(ed_secret(), hello);
  const byte_vector padding = test::packet(packet_type::padding, byte_vector(100));
  const byte_vector unknown = test::packet(static_cast<packet_type>(60), byte_vector(10));
  for (const byte_vector& p : {test::marker(), padding, unknown}) {
    CHECK(read(p + s.one_pass + p + test::literal(hello) + p + s.signature + p).code == errc::success);
    CHECK(read(p + encrypted_for_ed(p + s.one_pass + test::literal(hello) + s.signature + p) + p).code ==
          errc::success);
  }
  const byte_vector critical = test::packet(static_cast<packet_type>(39), byte_vector(10));
  CHECK(read(critical + s.one_pass + test::literal(hello) + s.signature).code == errc::bad_message);
  CHECK(read(s.one_pass + test::literal(hello) + s.signature + critical).code == errc::bad_message);
}

TEST_CASE("gosop's line feed behind a binary message is let pass, anything else is not") {
  const byte_vector message = test::signed_message(ed_secret(), hello);
  CHECK(read(message + test::to_octets("\n")).code == errc::success);
  CHECK(read(message + test::to_octets("\r\n")).code == errc::success);
  CHECK(read(message + test::to_octets("\n\n")).code == errc::bad_message);
  CHECK(read(message + test::to_octets("x")).code == errc::bad_message);
  CHECK(read(message + message).code == errc::bad_message);
}

TEST_CASE(
    "what stands behind compressed data in their packet is padding: of two messages of gpg in one file, the first") {
  const auto& k = keys();
  for (const std::string algorithm : {"zip", "zlib", "bzip2"}) {
    CAPTURE(algorithm);
    const std::vector<std::string> options{"--compress-algo", algorithm};
    // gpg writes compressed packets without a length: they reach to the end of the file.
    const std::string first = k.vendor.sign(k.rsa, hello, options);
    const std::string unsigned_message = k.vendor.output({"--compress-algo", algorithm, "--store"}, "evil");
    for (const std::string& behind : {k.vendor.sign(k.ed25519, "second", options), unsigned_message,
                                      k.stranger.sign(k.strange, "evil", options), std::string("junk")}) {
      const auto r = read(first + behind);
      CHECK_MESSAGE(r.code == errc::success, r.message);
      CHECK(r.content == hello);
      REQUIRE(r.signers.size() == 1);
      CHECK(r.signers[0].primary.hex() == k.rsa);
    }
    // What is behind proves nothing that is in front of it.
    CHECK(read(unsigned_message + first).code == errc::no_signature);
    CHECK(read(unsigned_message + first).content.empty());
  }
  const std::string plain = k.vendor.sign(k.rsa, hello, {"--compress-algo", "none"});
  CHECK(read(plain + plain).code == errc::bad_message);
  CHECK(read(plain + "junk").code == errc::bad_message);
  SUBCASE("a packet with a length ends there") {
    const byte_vector message = test::uncompressed(test::signed_message(ed_secret(), hello));
    CHECK(read(message).code == errc::success);
    CHECK(read(message + test::to_octets("junk")).code == errc::bad_message);
    CHECK(read(message + message).code == errc::bad_message);
  }
}

TEST_CASE("text in front of armor is skipped, unless its first octet is none of ASCII: such begin binary messages") {
  const std::string armored = keys().vendor.sign(keys().rsa, hello, {"--armor"});
  for (const std::string front :
       {"", "\n", "Dear customer,\n\n", "For M\xc3\xbcller:\n", "For M\xfcller:\n", " \xef\xbb\xbf\n"}) {
    CAPTURE(front);
    const auto r = read(front + armored);
    CHECK_MESSAGE(r.code == errc::success, r.message);
    CHECK(r.content == hello);
  }
  for (const std::string front :
       {"\xef\xbb\xbf", "\xef\xbb\xbf\n", "\xc3\xbc ist da:\n", "\xfc ist da:\n", "\xff\xfe"}) {
    CAPTURE(front);
    const auto r = read(front + armored);
    CHECK_MESSAGE(r.code == errc::bad_message, r.message);
    CHECK(r.content.empty());
  }
}

TEST_CASE("exactly one content, inside of its signatures, and nothing beside it") {
  const auto s = test::sign(ed_secret(), hello);
  const byte_vector lit = test::literal(hello), other = test::literal("evil");
  const byte_vector good = s.one_pass + lit + s.signature;
  CHECK(read(good).code == errc::success);
  CHECK(read(lit).code == errc::no_signature);
  CHECK(read(lit + s.signature).code == errc::no_signature);  // PGP 2 order; in no grammar
  CHECK(read(other + good).code == errc::no_signature);
  CHECK(read(good + other).code == errc::bad_message);
  CHECK(read(good + good).code == errc::bad_message);
  CHECK(read(s.one_pass + lit + other + s.signature).code == errc::bad_message);
  CHECK(read(s.one_pass + other + lit + s.signature).code == errc::bad_message);
  CHECK(read(s.one_pass + other + s.signature).code == errc::bad_signature);
  CHECK(read(good + s.signature).code == errc::bad_message);
  CHECK(read(s.one_pass + s.one_pass + lit + s.signature).code == errc::no_signature);
  CHECK(read(encrypted_for_ed(good)).code == errc::success);
  CHECK(read(encrypted_for_ed(good) + other).code == errc::bad_message);
  CHECK(read(encrypted_for_ed(good + other)).code == errc::bad_message);
  CHECK(read(encrypted_for_ed(lit)).code == errc::no_signature);
  CHECK(read(test::uncompressed(good) + other).code == errc::bad_message);
  CHECK(read(test::uncompressed(good + other)).code == errc::bad_message);
  CHECK(read(s.one_pass + test::uncompressed(lit) + s.signature).code ==
        errc::bad_message);  // signed around a container
  CHECK(read(s.one_pass + encrypted_for_ed(lit) + s.signature).code == errc::bad_message);
  CHECK(read(encrypted_for_ed(encrypted_for_ed(good))).code == errc::bad_message);
}

TEST_CASE("a message inside of a literal is content, and its signature counts for nothing") {
  const byte_vector inner = test::signed_message(ed_secret(), hello);
  CHECK(read(test::literal(as_text(inner))).code == errc::no_signature);
}

TEST_CASE("only signatures over documents count, even where the mathematics is right") {
  for (unsigned type = 2; type < 256; ++type) {
    const auto s = test::sign(ed_secret(), hello, hash_algorithm::sha512, static_cast<signature_type>(type));
    CHECK(read(s.one_pass + test::literal(hello) + s.signature).code == errc::bad_signature);
    // The one-pass header tells something else.
    const auto announced = test::sign(ed_secret(), hello);
    CHECK(read(announced.one_pass + test::literal(hello) + s.signature).code == errc::bad_signature);
  }
}

TEST_CASE("hashes that are broken are refused, all others accepted") {
  using enum hash_algorithm;
  for (const hash_algorithm hash : {md5, sha1, ripemd160}) {
    const auto s = test::sign(test::secret(keys().ring, keys().rsa), hello, hash);
    CHECK(read(s.one_pass + test::literal(hello) + s.signature).code == errc::weak_algorithm);
  }
  for (const hash_algorithm hash : {sha256, sha384, sha512, sha3_256, sha3_512}) {
    const auto s = test::sign(ed_secret(), hello, hash);
    CHECK(read(s.one_pass + test::literal(hello) + s.signature).message == "");
  }
}

TEST_CASE("a signature of version 3 is read and refused by policy, beside a newer one it does no harm") {
  const secret_key& key = test::secret(keys().ring, keys().rsa);
  const std::uint32_t time = 1'700'000'000;
  hash_context context(hash_algorithm::sha256);
  context.update(as_bytes(hello));
  context.update_be(0, 1);  // the type
  context.update_be(time, 4);
  const byte_vector digest = context.finish();
  byte_vector body;
  put_be(body, 0x0305'00, 3);
  put_be(body, time, 4);
  put_be(body, key.key.id, 8);
  put_u8(body, static_cast<std::uint8_t>(key.key.algorithm));
  put_u8(body, static_cast<std::uint8_t>(hash_algorithm::sha256));
  put(body, byte_view(digest).first(2));
  for (const byte_vector& value : sign_digest(key, hash_algorithm::sha256, digest)) put_mpi(body, value);
  const byte_vector v3 = test::packet(packet_type::signature, body);

  const auto announced = test::sign(key, hello, hash_algorithm::sha256);
  CHECK(read(announced.one_pass + test::literal(hello) + v3).code == errc::weak_algorithm);
  CHECK(read(v3 + test::literal(hello)).code == errc::weak_algorithm);
  const auto good = test::sign(ed_secret(), hello);
  CHECK(read(announced.one_pass + good.one_pass + test::literal(hello) + good.signature + v3).code == errc::success);
}

TEST_CASE("signatures and one-pass headers of versions to come are skipped: they neither prove nor spoil") {
  const auto good = test::sign(ed_secret(), hello);
  for (const unsigned version : {5U, 7U, 255U}) {
    byte_vector one_pass(14, static_cast<std::byte>(version)), signature(60, static_cast<std::byte>(version));
    const byte_vector a = test::packet(packet_type::one_pass_signature, one_pass),
                      b = test::packet(packet_type::signature, signature);
    CHECK(read(a + good.one_pass + test::literal(hello) + good.signature + b).code == errc::success);
    CHECK(read(good.one_pass + a + test::literal(hello) + b + good.signature).code == errc::success);
    CHECK(read(a + test::literal(hello) + b).code == errc::bad_signature);
  }
}

TEST_CASE("format, name and date of the literal are used for nothing") {
  const auto s = test::sign(ed_secret(), hello);
  for (const char format : {'b', 't', 'u', 'l', '1', 'm'})
    for (const std::string& name : {std::string(), std::string("../../etc/passwd"), std::string(255, 'x'),
                                    std::string(3, '\0'), std::string("_CONSOLE")})
      CHECK(read(s.one_pass + test::literal(hello, format, name) + s.signature).content == hello);
  CHECK(read(s.one_pass + test::literal(hello, 'x') + s.signature).code == errc::bad_message);
}

TEST_CASE("one-pass headers are hints: their nesting, and the order of the signatures, do not matter") {
  const auto a = test::sign(ed_secret(), hello, hash_algorithm::sha512, signature_type::binary,
                            std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()), false);
  const auto b = test::sign(test::secret(keys().ring, keys().rsa), hello);
  for (const byte_vector& message : {a.one_pass + b.one_pass + test::literal(hello) + b.signature + a.signature,
                                     a.one_pass + b.one_pass + test::literal(hello) + a.signature + b.signature,
                                     b.one_pass + a.one_pass + test::literal(hello) + a.signature + b.signature})
    CHECK(read(message).signers.size() == 2);
  // But a hash that no header announced was not computed.
  const auto other = test::sign(ed_secret(), hello, hash_algorithm::sha256);
  CHECK(read(a.one_pass + test::literal(hello) + other.signature).code == errc::bad_signature);
}

TEST_CASE("a policy may refuse everything that is encrypted") {
  policy plain;
  plain.decrypt = false;
  CHECK(read(keys().vendor.sign_and_encrypt(keys().rsa, hello), plain).code == errc::cannot_decrypt);
  CHECK(read(keys().vendor.sign(keys().rsa, hello), plain).code == errc::success);
}

TEST_CASE("what cannot be decrypted is refused at once, and says for whom it is") {
  const auto& k = keys();
  const std::string for_stranger = k.stranger.sign_and_encrypt(k.strange, hello);
  CHECK(read(for_stranger).code == errc::cannot_decrypt);
  CHECK(read(k.vendor.output({"--passphrase", "secret", "--symmetric"}, hello)).code == errc::cannot_decrypt);
  CHECK(read(k.vendor.output({"--passphrase", "secret", "--symmetric"}, hello)).message.find("passphrase") !=
        std::string::npos);
  SUBCASE("for several recipients, ours the last; and for a passphrase, too") {
    const test::temporary_directory exported;
    const std::string file = (exported / "stranger.gpg").string();
    k.stranger.output({"--output", file, "--export", k.strange});
    const std::string message =
        k.vendor.output({"--recipient-file", file, "--recipient", k.rsa, "--passphrase", "secret", "--symmetric",
                         "--local-user", k.ed25519, "--sign", "--encrypt"},
                        hello);
    CHECK(read(message).content == hello);
  }
}

TEST_CASE("the content's size is limited by the policy") {
  policy small;
  small.max_content = 1000;
  CHECK(read(keys().vendor.sign(keys().rsa, sample(1000)), small).code == errc::success);
  CHECK(read(keys().vendor.sign(keys().rsa, sample(1001)), small).code == errc::message_too_large);
  CHECK(read(keys().vendor.sign_and_encrypt(keys().rsa, sample(100000)), small).code == errc::message_too_large);
}

TEST_CASE("a failure stays: reading on gives the same again") {
  const std::string message = keys().vendor.output({"--store"}, hello);
  message_reader reader(any_reader(memory_reader(message)), keys().ring, {});
  byte_vector room(100);
  for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(reader.read(room), error);
  CHECK_THROWS_AS(reader.finish(), error);
}

TEST_CASE("an end stays, and the proof can be had again") {
  const std::string message = keys().vendor.sign(keys().rsa, hello);
  message_reader reader(any_reader(memory_reader(message)), keys().ring, {});
  CHECK(reader.finish().content_size() == hello.size());
  byte_vector room(100);
  CHECK(reader.read(room) == 0);
  CHECK(reader.finish().signers().size() == 1);
  CHECK(verify(any_reader(memory_reader(message)), keys().ring).signers().size() == 1);
}

TEST_CASE("expiry: of a signature, and of its key when it signed") {
  using namespace std::chrono;
  const test::gnupg home;
  const std::string lasting = home.make_key("Lasting <l@example.org>", "ed25519", "0", "20200101T000000");
  const std::string short_lived =
      home.make_key("Short-lived <m@example.org>", "ed25519", "20210101T000000", "20200101T000000");
  const keyring ring = home.keys();

  SUBCASE("a signature that was made to expire") {
    const std::string message =
        home.sign(lasting, hello, {"--faked-system-time", "20200601T000000", "--default-sig-expire", "5d"});
    policy rules;
    rules.now = sys_days{2020y / June / 3};
    CHECK(test::read(message, ring, rules).message == "");
    rules.now = sys_days{2020y / June / 10};
    CHECK(test::read(message, ring, rules).code == errc::signature_expired);
    CHECK(test::read(message, ring).code == errc::signature_expired);
    rules.ignore_expiry = true;
    CHECK(test::read(message, ring, rules).code == errc::success);
  }
  SUBCASE("a key that had expired when it signed") {
    const auto at = [&](sys_days day) {
      const auto s =
          test::sign(test::secret(ring, short_lived), hello, hash_algorithm::sha512, signature_type::binary, day);
      return s.one_pass + test::literal(hello) + s.signature;
    };
    CHECK(test::read(byte_view(at(2020y / June / 1)), ring).code == errc::success);  // valid then: valid for ever
    CHECK(test::read(byte_view(at(2022y / June / 1)), ring).code == errc::key_expired);
    CHECK(test::read(byte_view(at(2019y / June / 1)), ring).code == errc::bad_signature);  // older than the key
    policy lenient;
    lenient.ignore_expiry = true;
    CHECK(test::read(byte_view(at(2022y / June / 1)), ring, lenient).code == errc::success);
  }
  SUBCASE("a signature from the future, as a device with a slow clock sees it") {
    policy rules;
    rules.now = sys_days{2020y / February / 1};
    CHECK(test::read(home.sign(lasting, hello), ring, rules).code == errc::success);
  }
}

TEST_CASE("revocation: hard at any time") {
  const test::gnupg home;
  const std::string key = home.make_key("Lost <lost@example.org>", "ed25519");
  const std::string message = home.sign(key, hello);
  CHECK(test::read(message, home.keys()).code == errc::success);
  const byte_vector file =
      read_all(file_reader(std::filesystem::path(home.home()) / "openpgp-revocs.d" / (key + ".rev")));
  std::string revocation(as_text(file));
  revocation.erase(revocation.find(":-----BEGIN"), 1);
  home.output({"--import"}, revocation);
  CHECK(test::read(message, home.keys()).code == errc::key_revoked);
}
