// What is read from a directory of keys, and what is not.
#include <doctest/doctest.h>
#include <fussy/openpgp.hpp>

#include <fstream>

#include "forge.hpp"
#include "gnupg.hpp"
#include "openpgp/armor.hpp"

using namespace fussy;
using namespace fussy::openpgp;
using namespace test;

namespace {

void put_file(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}
void put_file(const std::filesystem::path& path, const byte_vector& content) { put_file(path, as_text(content)); }

std::string content_of(const std::filesystem::path& path) {
  const byte_vector all = read_all(file_reader(path));
  return std::string(as_text(all));
}

std::vector<std::string> fingerprints(const keyring& ring) {
  std::vector<std::string> all;
  for (const auto& certificate : list(ring, {})) all.push_back(certificate.keys.at(0).fingerprint.hex());
  std::sort(all.begin(), all.end());
  return all;
}
std::vector<std::string> sorted(std::vector<std::string> list) {
  std::sort(list.begin(), list.end());
  return list;
}

#define ACCEPTED(r) CHECK((r).message == "")

std::string armored(const byte_vector& block) { return encode_armor(armor_label::public_key, block); }

/// The error of loading a ring.
failure_parts refusal(const std::filesystem::path& path) {
  try {
    keyring::load(path);
  } catch (const error& e) {
    CHECK(e.code() == errc::keyring_unusable);
    CHECK_FALSE(e.parts().remedy.empty());
    return e.parts();
  }
  FAIL("it was loaded");
  return {};
}

keyring::options with_passphrase(const std::string& passphrase) {
  keyring::options options;
  options.passphrase = [passphrase](const openpgp::fingerprint&) { return std::optional<std::string>(passphrase); };
  return options;
}

/// Everything in this ring whose secret part opens.
std::size_t open_secrets(const keyring& ring) {
  std::size_t count = 0;
  for (const auto& secret : ring.internals().secrets) count += ring.internals().unlock(*secret) != nullptr;
  return count;
}

/// Each open secret key does what its public part undoes.
void check_secrets(const keyring& ring) {
  for (const auto& secret : ring.internals().secrets) {
    const secret_key* open = ring.internals().unlock(*secret);
    if (open == nullptr) continue;
    CAPTURE(open->key.describe());
    if (signs(open->key.algorithm)) {
      const byte_vector digest = digest_of(hash_algorithm::sha512, as_bytes("content"));
      CHECK_NOTHROW(sign_digest(*open, hash_algorithm::sha512, digest));  // it checks itself with the public key
    }
    if (encrypts(open->key.algorithm)) {
      const session_key session = random_session_key();
      const auto back = decrypt_session_key(*open, 3, encrypt_session_key(open->key, 3, session));
      REQUIRE(back);
      CHECK(back->key == session.key);
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("openpgp: key rings");

TEST_CASE("a home of gpg: certificates from the keybox, secrets from the agent's files") {
  const gnupg home;
  const std::string first = home.make_key("rsa@example.org", "rsa2048"),
                    second = home.make_key("ed@example.org", "ed25519"),
                    third = home.make_key("nist@example.org", "nistp256");
  const keyring ring = home.keys();
  CHECK(fingerprints(ring) == sorted({first, second, third}));
  CHECK(open_secrets(ring) == 6);
  check_secrets(ring);
  CHECK(warnings(ring).empty());
}

TEST_CASE("a folder of exported keys, binary and armored, whatever their extension says") {
  const secret_key a = make_key(), b = make_key(), c = make_key(), d = make_key(), e = make_key();
  const temporary_directory folder;
  put_file(folder / "a.gpg", plain_certificate(a));
  put_file(folder / "b.asc", plain_certificate(b));           // binary all the same
  put_file(folder / "c.PGP", armored(plain_certificate(c)));  // armored, in capitals
  std::string crlf = "Please install this key.\r\n\r\n";
  for (const char ch : armored(plain_certificate(d)) + "and this:\n" + armored(plain_certificate(e)))
    crlf += ch == '\n' ? std::string("\r\n") : std::string(1, ch);
  put_file(folder / "two.asc", crlf);
  const keyring ring = keyring::load(folder.path());
  CHECK(fingerprints(ring) == sorted({a.key.fingerprint.hex(), b.key.fingerprint.hex(), c.key.fingerprint.hex(),
                                      d.key.fingerprint.hex(), e.key.fingerprint.hex()}));
  CHECK(warnings(ring).empty());
}

TEST_CASE("files that gpg leaves beside its keys are no anchors") {
  const secret_key good = make_key(), other = make_key();
  const byte_vector block = plain_certificate(other);
  const temporary_directory folder;
  put_file(folder / "good.gpg", plain_certificate(good));
  for (const char* name : {"pubring.gpg~", "pubring.kbx~", "other.gpg.lock", ".hidden.gpg", "random_seed", "other.txt",
                           "openpgp-revocs.d/other.asc", "private-keys-v1.d/other.gpg", "sub/other.gpg", "trustdb.gpg"})
    put_file(folder / name, block);
  std::filesystem::create_directory(folder / "directory.gpg");
  const keyring ring = keyring::load(folder.path());
  CHECK(fingerprints(ring) == std::vector{good.key.fingerprint.hex()});
  CHECK(warnings(ring).empty());
}

TEST_CASE("a key that was deleted with gpg is no anchor any more, though its octets are still there") {
  const gnupg home;
  const std::string kept = home.make_key("kept@example.org", "ed25519"),
                    gone = home.make_key("gone@example.org", "ed25519");
  const std::string exported = home.output({"--export", gone});
  home.output({"--delete-secret-and-public-key", gone});
  CHECK(fingerprints(home.keys()) == std::vector{kept});
}

TEST_CASE("gpg's revocation certificate in openpgp-revocs.d revokes nothing until it is imported") {
  const gnupg home;
  const std::string key = home.make_key("v@example.org", "ed25519");
  CHECK_FALSE(list(home.keys(), {}).at(0).keys.at(0).revoked);
  std::string certificate = content_of(home.home() + "/openpgp-revocs.d/" + key + ".rev");
  put_file(home.home() + "/revocation.asc", certificate);  // even where keys are read from: the colon protects
  CHECK_FALSE(list(home.keys(), {}).at(0).keys.at(0).revoked);
  certificate.erase(certificate.find(":-----BEGIN"), 1);
  home.output({"--import"}, certificate);
  CHECK(list(home.keys(), {}).at(0).keys.at(0).revoked);
}

TEST_CASE("a damaged file does not stop those beside it, and is named") {
  const secret_key good = make_key(), other = make_key();
  const temporary_directory folder;
  put_file(folder / "good.gpg", plain_certificate(good));
  const byte_vector block = plain_certificate(other);
  const auto warned = [&](std::string_view content) {
    put_file(folder / "bad.gpg", content);
    const keyring ring = keyring::load(folder.path());
    CHECK(std::ranges::count(fingerprints(ring), good.key.fingerprint.hex()) == 1);
    std::string all;
    for (const std::string& w : warnings(ring)) all += w + "\n";
    return all;
  };
  CHECK(warned(as_text(byte_view(block).first(20))).find("bad.gpg") != std::string::npos);
  CHECK(warned("just text").find("bad.gpg is skipped: it holds no keys") != std::string::npos);
  CHECK(warned("\x80\xff\xff").find("bad.gpg") != std::string::npos);
  CHECK(warned(as_text(literal("a package"))).find("it holds no keys") != std::string::npos);
  CHECK(warned("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n????\n-----END PGP PUBLIC KEY BLOCK-----\n").find("bad.gpg") !=
        std::string::npos);
  CHECK(warned("").empty());
  SUBCASE("in every one of its octets") {
    for (std::size_t i = 0; i < block.size(); ++i) {
      byte_vector damaged = block;
      damaged[i] ^= std::byte{0x40};
      warned(as_text(damaged));
    }
  }
  SUBCASE("a link that leads nowhere") {
    std::filesystem::create_symlink("/nonexistent", folder / "link.gpg");
    CHECK(warned("").find("link.gpg is skipped") != std::string::npos);
  }
}

TEST_CASE("a keybox that was cut off or damaged gives what is in front of the damage") {
  const gnupg home;
  const std::string first = home.make_key("first@example.org", "ed25519");
  const std::size_t one = content_of(home.home() + "/pubring.kbx").size();
  const std::string second = home.make_key("second@example.org", "ed25519");
  const std::string both = content_of(home.home() + "/pubring.kbx");
  const temporary_directory folder;
  put_file(folder / "pubring.kbx", both);
  CHECK(fingerprints(keyring::load(folder.path())) == sorted({first, second}));
  put_file(folder / "pubring.kbx", both.substr(0, both.size() - 1));
  const keyring cut = keyring::load(folder.path());
  CHECK(fingerprints(cut) == std::vector{first});
  CHECK(warnings(cut).size() == 1);
  REQUIRE(one < both.size());
  SUBCASE("offsets of a key block that lead out of its blob") {
    std::string damaged = both;
    damaged[32 + 8] = '\x7f';
    put_file(folder / "pubring.kbx", damaged);
    CHECK(fingerprints(keyring::load(folder.path())) == std::vector{second});
  }
  SUBCASE("a blob longer than the file") {
    std::string damaged = both;
    damaged[32] = '\x7f';
    put_file(folder / "pubring.kbx", damaged);
    CHECK_FALSE(refusal(folder.path()).why.empty());
  }
}

TEST_CASE("keys of kinds that are not known do not hide those beside them in the same file") {
  const secret_key before = make_key(), after = make_key();
  const auto changed = [](std::size_t at, unsigned octet) {
    const secret_key key = make_key();
    byte_vector body = key.key.body;
    body.at(at) = static_cast<std::byte>(octet);
    return test::packet(packet_type::public_key, body) + certified(key, created(epoch) + key_flags(3));
  };
  const auto ring = ring_of(plain_certificate(before) + changed(0, 2) + changed(0, 3) + changed(0, 5) + changed(0, 7) +
                            changed(5, 99) + changed(7, 0xff) + plain_certificate(after));
  ACCEPTED(read_signed(before, ring));
  ACCEPTED(read_signed(after, ring));
  CHECK(warnings(ring).size() == 4);  // versions; those of unknown algorithms and curves are listed, as unusable
  for (const auto& certificate : list(ring, {})) {
    const auto& primary = certificate.keys.at(0);
    const bool good = primary.fingerprint == before.key.fingerprint || primary.fingerprint == after.key.fingerprint;
    CHECK(primary.cannot_verify.empty() == good);
    CHECK(primary.invalid != good);
  }
}

TEST_CASE("a keybox: deleted, ephemeral and X.509 blobs are no anchors, old and new blobs and trust packets are read") {
  const auto blob = [](unsigned type, unsigned flags, const byte_vector& block, std::size_t info_size = 28) {
    byte_vector rest = number(1, 2) + number(info_size, 2) + byte_vector(info_size);
    const std::size_t offset = 4 + 4 + 8 + rest.size();
    byte_vector body = number(type, 1) + number(1, 1) + number(flags, 2) + number(offset, 4) + number(block.size(), 4) +
                       rest + block + byte_vector(20);
    return number(body.size() + 4, 4) + body;
  };
  const byte_vector header =
      number(32, 4) + number(1, 1) + number(1, 1) + number(2, 2) + to_octets("KBXf") + byte_vector(20);
  const byte_vector trust = test::packet(packet_type::trust, byte_vector(6));
  const secret_key good = make_key(), newer = make_key(), other = make_key();
  const byte_vector with_trust = primary_packet(good) + trust + certified(good, created(epoch) + key_flags(3)) + trust;
  const temporary_directory folder;
  const auto load = [&](const byte_vector& blobs) {
    put_file(folder / "pubring.kbx", header + blobs);
    return keyring::load(folder.path());
  };
  const byte_vector block = plain_certificate(other);
  const keyring ring = load(blob(0, 0, block) + blob(3, 0, block) + blob(2, 2, block) + blob(9, 0, block) +
                            blob(2, 0, with_trust) + blob(2, 0, plain_certificate(newer), 56));
  CHECK(fingerprints(ring) == sorted({good.key.fingerprint.hex(), newer.key.fingerprint.hex()}));
  CHECK(warnings(ring).empty());
  ACCEPTED(read_signed(good, ring));
  CHECK(fingerprints(load(blob(2, 0, with_trust) + byte_vector(40))).size() == 1);  // zeros behind the last blob
}

TEST_CASE("no usable key: the message says why") {
  const temporary_directory folder;
  CHECK(refusal(folder / "missing").why == "it does not exist");
  CHECK(refusal(folder.path()).why == "there is no usable key in it");
  put_file(folder / "package.gpg", literal("a package"));
  CHECK(refusal(folder.path()).why.find("package.gpg is skipped") != std::string::npos);
  CHECK(refusal(folder / "package.gpg").why.find("it holds no keys") != std::string::npos);
  std::filesystem::remove(folder / "package.gpg");
  put_file(folder / "public-keys.d/pubring.db", "SQLite format 3");
  CHECK(refusal(folder.path()).why.find("keyboxd") != std::string::npos);
  const secret_key key = make_key();
  byte_vector old_key = key.key.body;
  old_key[0] = std::byte{3};
  put_file(folder / "old.gpg", test::packet(packet_type::public_key, old_key));
  std::filesystem::remove_all(folder / "public-keys.d");
  CHECK(refusal(folder.path()).why.find("version 3") != std::string::npos);
}

TEST_CASE("keys that stand only in secring.gpg are no anchors: the message says why, and what it advises works") {
  const temporary_directory folder;
  const auto gpg1 = [&](std::vector<std::string> arguments, std::string_view input) {
    std::vector<std::string> all{"gpg1", "--homedir", (folder / "old").string(), "--batch", "--quiet", "--no-tty"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return output_of(all, input);
  };
  std::filesystem::create_directory(folder / "old");
  const gnupg made;
  const std::string fingerprint = made.make_key("v@example.org", "rsa2048");
  gpg1({"--import"}, made.output({"--export-secret-keys"}));
  const std::filesystem::path ring = folder / "ring";
  std::filesystem::create_directory(ring);
  std::filesystem::copy(folder / "old/secring.gpg", ring / "secring.gpg");

  for (const auto& named : {ring, ring / "secring.gpg"}) {
    CAPTURE(named.string());
    const failure_parts said = refusal(named);
    CHECK(said.why.find("secring.gpg") != std::string::npos);
    CHECK_MESSAGE(said.why.find("no trust anchors") != std::string::npos, said.why);
    const std::string export_keys = "gpg --export KEY > " + (ring / "vendor.gpg").string();
    const std::string import_first = "gpg --import " + (ring / "secring.gpg").string();
    CHECK_MESSAGE(said.remedy.find(export_keys) != std::string::npos, said.remedy);
    CHECK_MESSAGE(said.remedy.find(import_first) != std::string::npos, said.remedy);
    CHECK((said.remedy.find("directory") != std::string::npos) == (named != ring));

    // Where gpg knows the key, and where it does not.
    const gnupg empty;
    const auto shell = [&](const gnupg& home, std::string line) {
      if (const std::size_t at = line.find("KEY >"); at != std::string::npos) line.replace(at, 3, fingerprint);
      output_of({"sh", "-c", line}, {}, {{"GNUPGHOME", home.home()}});
    };
    for (const gnupg* home : {&made, &empty}) {
      if (home == &empty) shell(empty, "gpg --batch" + import_first.substr(3));
      shell(*home, export_keys);
      const keyring keys = keyring::load(ring);
      CHECK(fingerprints(keys) == std::vector{fingerprint});
      CHECK(open_secrets(keys) == 2);
      std::filesystem::remove(ring / "vendor.gpg");
    }
  }
  // What was skipped is still said.
  put_file(ring / "vendor.gpg", literal("a package"));
  CHECK(refusal(ring).why.find("vendor.gpg is skipped") != std::string::npos);
}

TEST_CASE("nothing is written into the directory") {
  const gnupg home;
  home.make_key("v@example.org", "ed25519");
  test::run({"gpgconf", "--homedir", home.home(), "--kill", "all"});
  const auto snapshot = [&] {
    std::map<std::string, std::filesystem::file_time_type> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(home.home()))
      all[entry.path().string()] = entry.last_write_time();
    return all;
  };
  const auto before = snapshot();
  check_secrets(home.keys());
  CHECK(snapshot() == before);
}

TEST_CASE("exported secret keys: open, and protected by gpg with a passphrase") {
  const gnupg home;
  for (const char* algorithm : {"rsa2048", "ed25519", "nistp384", "dsa2048"})
    home.make_key(std::string(algorithm) + "@example.org", algorithm);
  const temporary_directory files;
  put_file(files / "open.pgp", home.output({"--export-secret-keys"}));
  const keyring open = keyring::load(files / "open.pgp");
  CHECK(open_secrets(open) == 8);
  check_secrets(open);

  const gnupg locked;
  locked.output({"--passphrase", "secret", "--quick-gen-key", "l@example.org", "ed25519", "sign", "0"});
  locked.output({"--passphrase", "secret", "--quick-add-key", locked.fingerprint_of("=l@example.org"), "cv25519"});
  put_file(files / "locked.asc", locked.output({"--passphrase", "secret", "--armor", "--export-secret-keys"}));
  CHECK(open_secrets(keyring::load(files / "locked.asc")) == 0);
  CHECK(open_secrets(keyring::load(files / "locked.asc", with_passphrase("wrong"))) == 0);
  const keyring unlocked = keyring::load(files / "locked.asc", with_passphrase("secret"));
  CHECK(open_secrets(unlocked) == 2);
  check_secrets(unlocked);
  CHECK(open_secrets(locked.keys()) == 0);
  CHECK(open_secrets(keyring::load(locked.home(), with_passphrase("wrong"))) == 0);
  const keyring agent = keyring::load(locked.home(), with_passphrase("secret"));
  CHECK(open_secrets(agent) == 2);
  check_secrets(agent);
}

TEST_CASE("keys that gpg imported and has not used since are open, though the agent calls them protected") {
  const gnupg made, home;
  for (const char* algorithm : {"rsa2048", "ed25519", "nistp256", "dsa2048"})
    made.make_key(std::string(algorithm) + "@example.org", algorithm);
  home.output({"--import"}, made.output({"--export-secret-keys"}));
  bool native = false;
  for (const auto& entry : std::filesystem::directory_iterator(home.home() + "/private-keys-v1.d"))
    native |= content_of(entry.path()).find("openpgp-native") != std::string::npos;
  CHECK(native);
  CHECK(open_secrets(home.keys()) == 8);
  check_secrets(home.keys());

  const gnupg locked, imported;
  locked.output({"--passphrase", "secret", "--quick-gen-key", "l@example.org", "rsa2048", "sign", "0"});
  imported.output({"--passphrase", "secret", "--import"},
                  locked.output({"--passphrase", "secret", "--export-secret-keys"}));
  CHECK(open_secrets(imported.keys()) == 0);
  CHECK(open_secrets(keyring::load(imported.home(), with_passphrase("wrong"))) == 0);
  const keyring unlocked = keyring::load(imported.home(), with_passphrase("secret"));
  CHECK(open_secrets(unlocked) == 1);
  check_secrets(unlocked);
}

TEST_CASE("a stub is named as one: the secret is elsewhere") {
  const gnupg home;
  const std::string key = home.make_key("v@example.org", "ed25519");
  const temporary_directory files;
  put_file(files / "sub.pgp", home.output({"--export-secret-subkeys", key}));
  const auto keys = list(keyring::load(files / "sub.pgp"), {}).at(0).keys;
  CHECK(keys.at(0).has_secret);
  CHECK(keys.at(0).cannot_open == "its file holds the public part only");
  CHECK(keys.at(1).cannot_open.empty());
}

TEST_CASE("a ring of gpg 1.4: pubring.gpg, secring.gpg, RSA and DSA with ElGamal") {
  const temporary_directory home;
  std::filesystem::permissions(home.path(), std::filesystem::perms::owner_all);
  const auto gpg1 = [&](std::vector<std::string> arguments, std::string_view input = {}) {
    std::vector<std::string> all{"gpg1",          "--homedir", home.path().string(),
                                 "--batch",       "--quiet",   "--no-tty",
                                 "--trust-model", "always",    "--yes"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return output_of(all, input);
  };
  const gnupg made;
  made.make_key("rsa@example.org", "rsa2048");
  made.make_key("dsa@example.org", "dsa2048");
  gpg1({"--import"}, made.output({"--export-secret-keys"}));
  REQUIRE(std::filesystem::exists(home / "secring.gpg"));
  const keyring ring = keyring::load(home.path());
  CHECK(fingerprints(ring).size() == 2);
  CHECK(open_secrets(ring) == 4);
  check_secrets(ring);
  SUBCASE("what it signs and encrypts by default is read") {
    for (const char* who : {"rsa@example.org", "dsa@example.org"}) {
      const std::string message = gpg1({"-u", who, "-r", who, "--sign", "--encrypt"}, "content");
      const result r = read(message, ring);
      CHECK_MESSAGE(r.code == errc::success, r.message);
      CHECK(r.content == "content");
    }
  }
  SUBCASE("what we write is read by it") {
    for (const char* who : {"rsa@example.org", "dsa@example.org"}) {
      byte_vector message;
      message_writer writer(vector_writer(message), ring, {.signers = {who}, .recipients = {who}});
      writer.write(as_bytes("content"));
      writer.finish();
      CHECK(gpg1({"--decrypt"}, as_text(message)) == "content");
    }
  }
  SUBCASE("a key that is only in secring.gpg was never trusted") {
    const secret_key other = make_key();
    put_file(home / "pubring.gpg", plain_certificate(other));
    CHECK(fingerprints(keyring::load(home.path())) == std::vector{other.key.fingerprint.hex()});
    CHECK(open_secrets(keyring::load(home.path())) == 4);
  }
}

TEST_CASE("a secret key of gpg 1.4 behind a passphrase") {
  const temporary_directory home, input;
  std::filesystem::permissions(home.path(), std::filesystem::perms::owner_all);
  put_file(input / "parameters",
           "Key-Type: RSA\nKey-Length: 2048\nName-Email: v@example.org\nPassphrase: secret\n%commit\n");
  output_of(
      {"gpg1", "--homedir", home.path().string(), "--batch", "--quiet", "--gen-key", (input / "parameters").string()});
  CHECK(open_secrets(keyring::load(home.path())) == 0);
  CHECK(open_secrets(keyring::load(home.path(), with_passphrase("wrong"))) == 0);
  const keyring ring = keyring::load(home.path(), with_passphrase("secret"));
  CHECK(open_secrets(ring) == 1);
  check_secrets(ring);
}

TEST_CASE("secret keys of rnp and sq, open and protected") {
  const temporary_directory files, rnp_home;
  output_of({"rnpkeys", "--homedir", rnp_home.path().string(), "--generate-key", "--userid", "r@example.org",
             "--password", "secret"});
  put_file(files / "rnp.pgp",
           output_of({"rnpkeys", "--homedir", rnp_home.path().string(), "--export-key", "--secret", "r@example.org"}));
  CHECK(open_secrets(keyring::load(files / "rnp.pgp")) == 0);
  const keyring rnp = keyring::load(files / "rnp.pgp", with_passphrase("secret"));
  CHECK(open_secrets(rnp) == 2);
  check_secrets(rnp);
}

TEST_CASE("names that people give to keys") {
  const secret_key alice = make_key(), bob = make_key(), subkey = make_key();
  const keyring ring =
      ring_of(plain_certificate(alice, "Alice Vendor <alice@example.org>") +
              bound(alice, subkey, created(epoch) + key_flags(2), back_signed(subkey, alice.key, subkey.key)) +
              plain_certificate(bob, "Bob Vendor <bob@alice@example.org>"));
  const judgement by = ring.internals().judge({});
  const auto found = [&](std::string_view name) { return ring.internals().named(name, by); };
  const std::string hex = alice.key.fingerprint.hex();
  CHECK(found(hex).size() == 1);
  CHECK(found("0x" + hex).size() == 1);
  CHECK(found(hex.substr(0, 4) + " " + hex.substr(4)).size() == 1);
  CHECK(found(hex.substr(24)).size() == 1);
  CHECK(found(hex.substr(32)).size() == 1);
  CHECK(found(subkey.key.fingerprint.hex()).size() == 1);
  CHECK(found("alice@example.org").size() == 1);  // an address, before a part of one
  CHECK(found("<ALICE@Example.Org>").size() == 1);
  CHECK(found("vendor").size() == 2);
  CHECK(found("nobody").empty());
  CHECK(found("").empty());
}

TEST_CASE("fingerprints are read as people write them") {
  const std::string hex = "0123456789ABCDEF0123456789ABCDEF01234567";
  REQUIRE(openpgp::fingerprint::parse(hex));
  CHECK(openpgp::fingerprint::parse(hex)->hex() == hex);
  CHECK(openpgp::fingerprint::parse("0x" + hex)->hex() == hex);
  CHECK(openpgp::fingerprint::parse("0123 4567 89ab cdef 0123  4567 89AB CDEF 0123 4567")->hex() == hex);
  CHECK(openpgp::fingerprint::parse(std::string(64, 'a'))->octets().size() == 32);
  for (const std::string& wrong : {std::string(), hex.substr(1), hex + "0", std::string(40, 'g'), hex.substr(24)})
    CHECK_FALSE(openpgp::fingerprint::parse(wrong));
}

TEST_SUITE_END();
