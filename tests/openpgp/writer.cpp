// What message_writer makes is read by GnuPG, Sequoia and RNP, and by our own reader.
#include <doctest/doctest.h>
#include <fussy/openpgp.hpp>

#include <fstream>

#include "gnupg.hpp"
#include "openpgp/keyring_state.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

std::string made(std::string_view content, const keyring& keys, const sign_options& how) {
  byte_vector out;
  message_writer writer(vector_writer(out), keys, how);
  writer.write(as_bytes(content.substr(0, content.size() / 2)));
  writer.write(as_bytes(content.substr(content.size() / 2)));
  writer.finish();
  return std::string(as_text(out));
}

std::string pattern(std::size_t size) {
  std::string text;
  text.reserve(size);
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(i * 7 + i / 251);
  return text;
}

struct proven {
  std::string content;
  verification proof;
};
proven read_back(const std::string& message, const keyring& keys) {
  message_reader reader(any_reader(memory_reader(message)), keys, policy{});
  const byte_vector content = read_all(by_reference(reader));
  return {std::string(as_text(content)), reader.finish()};
}

errc code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const error& e) {
    CHECK_FALSE(e.parts().why.empty());
    CHECK_FALSE(e.parts().remedy.empty());
    return e.code();
  }
  return errc::success;
}

}  // namespace

TEST_SUITE_BEGIN("openpgp: writing");

TEST_CASE("gpg reads what is signed with and encrypted for a key of every kind it can make") {
  const test::gnupg home;
  for (const char* algorithm : {"rsa2048", "rsa3072", "ed25519", "dsa2048", "nistp256", "nistp384", "nistp521",
                                "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "secp256k1"}) {
    CAPTURE(algorithm);
    const std::string user_id = std::string(algorithm) + "@example.org";
    const std::string fingerprint = home.make_key(user_id, algorithm);
    const keyring keys = home.keys();
    for (const bool armor : {false, true}) {
      const std::string message = made("content", keys, {.signers = {user_id}, .armor = armor});
      const test::outcome seen = home.gpg({"--status-fd", "2", "--decrypt"}, message);
      CHECK(seen.ok());
      CHECK(seen.out == "content");
      CHECK(seen.err.find("VALIDSIG " + fingerprint) != std::string::npos);
      const proven ours = read_back(message, keys);
      CHECK(ours.content == "content");
      CHECK(ours.proof.signers().at(0).key.hex() == fingerprint);
    }
    const std::string content = pattern(300000);
    const std::string message = made(content, keys, {.signers = {user_id}, .recipients = {user_id}});
    CHECK(message.find(content.substr(0, 100)) == std::string::npos);
    CHECK(home.output({"--decrypt"}, message) == content);
    const proven ours = read_back(message, keys);
    CHECK(ours.content == content);
    CHECK(ours.proof.encrypted());
  }
}

TEST_CASE("contents around the size of a part of a packet arrive whole") {
  const test::gnupg home;
  home.make_key("v@example.org", "ed25519");
  const keyring keys = home.keys();
  for (const std::size_t size : {0U, 1U, 505U, 506U, 65529U, 65530U, 65531U, 131066U, 1000000U}) {
    CAPTURE(size);
    const std::string content = pattern(size);
    for (const bool encrypt : {false, true}) {
      sign_options how;
      if (encrypt) how.recipients = {"v@example.org"};
      const std::string message = made(content, keys, how);
      CHECK(home.output({"--decrypt"}, message) == content);
      CHECK(read_back(message, keys).content == content);
    }
  }
}

TEST_CASE("several signers sign one content, and every reader counts them all") {
  const test::gnupg home;
  const std::string first = home.make_key("first@example.org", "ed25519");
  const std::string second = home.make_key("second@example.org", "rsa2048");
  const keyring keys = home.keys();
  const std::string message = made("content", keys, {.signers = {"first@example.org", second}});
  const test::outcome seen = home.gpg({"--status-fd", "2", "--decrypt"}, message);
  CHECK(seen.ok());
  CHECK(seen.err.find("VALIDSIG " + first) != std::string::npos);
  CHECK(seen.err.find("VALIDSIG " + second) != std::string::npos);
  CHECK(read_back(message, keys).proof.signers().size() == 2);
}

TEST_CASE("a message for several recipients is opened by each") {
  const test::gnupg vendor, device;
  const std::string key = vendor.make_key("vendor@example.org", "ed25519");
  device.make_key("device@example.org", "rsa2048");
  const std::string exported = device.output({"--export", "device@example.org"});
  vendor.output({"--import"}, exported);
  const std::string message =
      made("content", vendor.keys(), {.signers = {key}, .recipients = {"device@example.org", "vendor@example.org"}});
  CHECK(vendor.output({"--decrypt"}, message) == "content");
  device.output({"--import"}, vendor.output({"--export", key}));
  CHECK(device.output({"--decrypt"}, message) == "content");
  CHECK(read_back(message, device.keys()).content == "content");
}

TEST_CASE("the same input and time give the same signed octets") {
  const test::gnupg home;
  for (const char* algorithm : {"rsa2048", "ed25519", "nistp256"}) {
    CAPTURE(algorithm);
    const std::string user_id = std::string(algorithm) + "@example.org";
    home.make_key(user_id, algorithm, "0", "20200101T000000!");
    const sign_options how{.signers = {user_id}, .time = time_point(std::chrono::seconds(1600000000))};
    CHECK(made("content", home.keys(), how) == made("content", home.keys(), how));
    CHECK(read_back(made("content", home.keys(), how), home.keys()).proof.signers().at(0).created == how.time);
  }
}

TEST_CASE("the newest signing subkey signs, and a subkey that is named itself") {
  const test::gnupg home;
  const std::string primary = home.make_key("v@example.org", "ed25519", "0", "20200101T000000!");
  home.output({"--faked-system-time", "20200201T000000!", "--quick-add-key", primary, "ed25519", "sign", "0"});
  home.output({"--faked-system-time", "20200301T000000!", "--quick-add-key", primary, "rsa2048", "sign", "0"});
  const keyring keys = home.keys();
  const auto& cert = keys.internals().certificates.at(0);
  std::vector<std::string> signing;
  for (std::size_t i = 1; i < cert.key_count(); ++i)
    if (cert.may_sign(i, keys.internals().judge({}))) signing.push_back(cert.key(i).key.fingerprint.hex());
  REQUIRE(signing.size() == 2);
  const auto signer = [&](const std::string& name) {
    return read_back(made("x", keys, {.signers = {name}}), keys).proof.signers().at(0).key.hex();
  };
  CHECK(signer("v@example.org") == signing[1]);
  CHECK(signer(primary) == signing[1]);
  CHECK(signer(signing[0]) == signing[0]);
  CHECK(signer("0x" + signing[0].substr(24)) == signing[0]);
}

TEST_CASE("refused before anything is written") {
  const test::gnupg home;
  home.make_key("Vendor One <one@example.org>", "ed25519");
  home.make_key("Vendor Two <two@example.org>", "ed25519");
  const keyring keys = home.keys();
  byte_vector out;
  const auto refusal = [&](const sign_options& how) {
    const errc code = code_of([&] { message_writer writer(vector_writer(out), keys, how); });
    if (code != errc::success) CHECK(out.empty());
    return code;
  };
  SUBCASE("an unknown signer") { CHECK(refusal({.signers = {"nobody@example.org"}}) == errc::no_secret_key); }
  SUBCASE("a signer's name that fits two") { CHECK(refusal({.signers = {"Vendor"}}) == errc::no_secret_key); }
  SUBCASE("an unknown recipient") { CHECK(refusal({.recipients = {"nobody@example.org"}}) == errc::no_recipient_key); }
  SUBCASE("a recipient's name that fits two") { CHECK(refusal({.recipients = {"Vendor"}}) == errc::no_recipient_key); }
  SUBCASE("neither signed nor encrypted") { CHECK(refusal({.sign = false}) == errc::usage); }
  SUBCASE("a time that no signature can tell") {
    for (const std::int64_t seconds : {std::int64_t{-1}, std::int64_t{1} << 32, std::int64_t{1'790'000'000'000}})
      CHECK(refusal({.signers = {"one@example.org"}, .time = time_point(std::chrono::seconds(seconds))}) ==
            errc::usage);
  }
  SUBCASE("but a recipient is judged today: one that was made after the time of the signature is good") {
    const test::gnupg older;
    older.make_key("Old <old@example.org>", "ed25519", "0", "20200101T000000");
    older.make_key("New <new@example.org>", "ed25519");
    byte_vector message;
    CHECK(code_of([&] {
            message_writer writer(vector_writer(message), older.keys(),
                                  {.signers = {"old@example.org"},
                                   .recipients = {"new@example.org"},
                                   .time = time_point(std::chrono::seconds(1'600'000'000))});
          }) == errc::success);
  }
  SUBCASE("a time before the key was made") {
    CHECK(refusal({.signers = {"one@example.org"}, .time = time_point(std::chrono::seconds(1000000000))}) ==
          errc::no_secret_key);
  }
  SUBCASE("but a part of a user ID that only one has is a name") {
    CHECK(refusal({.signers = {"vendor ONE"}, .recipients = {"TWO@example.org"}}) == errc::success);
  }
}

TEST_CASE("expired and revoked recipients and signers are refused, and the message says which and why") {
  const test::gnupg home;
  const std::string expired = home.make_key("expired@example.org", "ed25519", "2020-02-01", "20200101T000000!");
  const std::string revoked = home.make_key("revoked@example.org", "ed25519");
  std::ifstream certificate(home.home() + "/openpgp-revocs.d/" + revoked + ".rev");
  std::string text((std::istreambuf_iterator<char>(certificate)), {});
  text.erase(text.find(":-----BEGIN"), 1);
  home.output({"--import"}, text);
  const keyring keys = home.keys();
  const auto message_of = [&](const sign_options& how) -> std::string {
    byte_vector out;
    try {
      message_writer writer(vector_writer(out), keys, how);
    } catch (const error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(message_of({.signers = {"expired@example.org"}}).find("expired on 2020-02-01") != std::string::npos);
  CHECK(message_of({.signers = {expired}}).find(expired) != std::string::npos);
  CHECK(message_of({.signers = {revoked}}).find("was revoked on") != std::string::npos);
  CHECK(message_of({.sign = false, .recipients = {expired}}).find("expired on 2020-02-01") != std::string::npos);
  CHECK(message_of({.sign = false, .recipients = {revoked}}).find("was revoked on") != std::string::npos);
  CHECK(message_of({.signers = {"unknown@example.org"}}).find("no such key") != std::string::npos);
  // A signature may be dated back to when the key was good, for builds that can be repeated: the key is not good today.
  const time_point in_its_time = time_point(std::chrono::seconds(1579000000));
  CHECK(message_of({.signers = {expired}, .time = in_its_time}).find("expired on 2020-02-01") != std::string::npos);
  CHECK(message_of({.sign = false, .recipients = {expired}, .time = in_its_time}).find("expired on 2020-02-01") !=
        std::string::npos);
  const time_point before_it_was_made = time_point(std::chrono::seconds(1500000000));
  CHECK(message_of({.signers = {"revoked@example.org"}, .time = before_it_was_made}).find("made after the time") !=
        std::string::npos);
}

TEST_CASE("without a name the ring's first usable secret key signs, with a passphrase where it needs one") {
  const test::gnupg home;
  home.output({"--passphrase", "secret", "--quick-gen-key", "locked@example.org", "ed25519", "sign", "0"});
  const std::string fingerprint = home.fingerprint_of("=locked@example.org");
  int asked = 0;
  keyring::options with_passphrase;
  with_passphrase.passphrase = [&](const openpgp::fingerprint&) {
    ++asked;
    return std::optional<std::string>("secret");
  };
  const keyring keys = keyring::load(home.home(), with_passphrase);
  CHECK(asked == 0);
  for (int i = 0; i < 2; ++i)
    CHECK(read_back(made("x", keys, {}), keys).proof.signers().at(0).key.hex() == fingerprint);
  CHECK(asked == 1);
  CHECK(code_of([&] { made("x", home.keys(), {}); }) == errc::bad_passphrase);
}

TEST_CASE("a key without its passphrase is not replaced by another one that lies open: nobody would know who signed") {
  const test::gnupg home;
  home.output({"--passphrase", "secret", "--quick-gen-key", "working@example.org", "ed25519", "sign", "0"});
  home.output({"--passphrase", "", "--quick-gen-key", "reserve@example.org", "ed25519", "sign", "0"});
  keyring::options wrong;
  wrong.passphrase = [](const openpgp::fingerprint&) { return std::optional<std::string>("wrong"); };
  for (const keyring& keys : {home.keys(), keyring::load(home.home(), wrong)}) {
    CHECK(code_of([&] { made("x", keys, {}); }) == errc::bad_passphrase);
    CHECK(code_of([&] { made("x", keys, {.signers = {"example.org"}}); }) == errc::bad_passphrase);
    CHECK(code_of([&] { made("x", keys, {.signers = {"reserve@example.org"}}); }) == errc::success);
  }
}

TEST_CASE("a further signature is added to a finished package, whose content and signatures stay as they are") {
  const test::gnupg home;
  const std::string first = home.make_key("first@example.org", "ed25519");
  const std::string second = home.make_key("second@example.org", "rsa2048");
  const keyring keys = home.keys();
  const auto added = [&](const std::string& message, const sign_options& how) {
    byte_vector out;
    add_signatures(memory_reader(message), vector_writer(out), keys, how);
    return std::string(as_text(out));
  };
  const std::string content = pattern(200000);
  const sign_options by_second{.signers = {second}};
  std::vector<std::string> messages{made(content, keys, {.signers = {first}}),
                                    made(content, keys, {.signers = {first}, .armor = true}),
                                    home.sign(first, content),
                                    home.sign(first, content, {"--armor"}),
                                    home.sign(first, content, {"-z", "0"}),
                                    home.sign(first, content, {"--compress-algo", "zlib"})};
  for (const std::string& message : messages) {
    const std::string both = added(message, by_second);
    const proven ours = read_back(both, keys);
    CHECK(ours.content == content);
    REQUIRE(ours.proof.signers().size() == 2);
    const test::outcome seen = home.gpg({"--status-fd", "2", "--decrypt"}, both);
    CHECK(seen.ok());
    CHECK(seen.out == content);
    CHECK(seen.err.find("VALIDSIG " + first) != std::string::npos);
    CHECK(seen.err.find("VALIDSIG " + second) != std::string::npos);
  }
  CHECK(read_back(added(messages[0], {.signers = {second}, .armor = true}), keys).proof.signers().size() == 2);
  const std::string signed_once = messages[0];
  const std::string signed_twice = added(signed_once, by_second);
  CHECK(signed_twice.find(signed_once.substr(signed_once.size() - 80)) != std::string::npos);

  const auto refusal = [&](const std::string& message, const sign_options& how) {
    return code_of([&] { added(message, how); });
  };
  CHECK(refusal(made(content, keys, {.recipients = {first}}), by_second) == errc::usage);
  CHECK(refusal("", by_second) == errc::not_openpgp);
  CHECK(refusal(signed_once.substr(0, 5000), by_second) == errc::truncated);
  CHECK(refusal(made(content, keys, {.sign = false, .recipients = {first}}), by_second) == errc::usage);
  CHECK(refusal(signed_once + signed_once, by_second) == errc::bad_message);
  CHECK(refusal(signed_once, {.signers = {"nobody"}}) == errc::no_secret_key);
  CHECK(refusal(home.output({"--store"}, content), by_second) == errc::no_signature);

  // As many as a reader checks, and no more.
  std::string many = signed_once;
  for (int i = 1; i < 32; ++i) many = added(many, by_second);
  CHECK(read_back(many, keys).proof.signers().size() == 2);
  CHECK(refusal(many, by_second) == errc::message_too_large);
}

TEST_CASE("sq and rnp read what is signed and encrypted") {
  const test::gnupg home;
  const test::temporary_directory files;
  home.make_key("v@example.org", "rsa3072");
  const keyring keys = home.keys();
  const std::string content = pattern(200000);
  const auto file = [&](const char* name, const std::string& text) {
    std::ofstream(files / name, std::ios::binary) << text;
    return (files / name).string();
  };
  const std::string certificate = file("cert.pgp", home.output({"--export", "v@example.org"}));
  const std::string secret = file("secret.pgp", home.output({"--export-secret-keys", "v@example.org"}));
  const std::string message = file("message.pgp", made(content, keys, {}));
  const std::string encrypted = file("encrypted.pgp", made(content, keys, {.recipients = {"v@example.org"}}));

  SUBCASE("sq") {
    // Version 1 has other options than those before it.
    const bool old = test::run({"sq", "verify", "--help"}).out.find("--signer-cert") != std::string::npos;
    const std::vector<std::string> verify =
        old ? std::vector<std::string>{"sq", "verify", "--signer-cert", certificate, message}
            : std::vector<std::string>{"sq", "verify", "--signer-file", certificate, "--message", message};
    const std::vector<std::string> decrypt = {"sq",
                                              "decrypt",
                                              old ? "--signer-cert" : "--signer-file",
                                              certificate,
                                              old ? "--recipient-key" : "--recipient-file",
                                              secret,
                                              encrypted};
    CHECK(test::output_of(verify) == content);
    CHECK(test::output_of(decrypt) == content);
  }
  SUBCASE("rnp") {
    const std::string rnp_home = (files / "rnp").string();
    std::filesystem::create_directory(rnp_home);
    test::output_of({"rnpkeys", "--homedir", rnp_home, "--import", secret});
    CHECK(test::output_of({"rnp", "--homedir", rnp_home, "--decrypt", "--output", "-", message}) == content);
    CHECK(test::output_of({"rnp", "--homedir", rnp_home, "--decrypt", "--output", "-", encrypted}) == content);
  }
}

TEST_SUITE_END();
