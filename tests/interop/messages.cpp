// Messages by GnuPG, Sequoia, RNP and gosop, as Debian packages them: with every algorithm they have in common with us.
#include <string>
#include <vector>

#include "../openpgp/gnupg.hpp"
#include "interop.hpp"
#include "support/skip.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

using options = std::vector<std::string>;

options operator+(options left, const options& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

const std::string content = test::sample_content();

// gpg, with a key of every algorithm, and the other programs' key rings made of it.
struct gnupg_with_keys {
  test::gnupg home;
  std::vector<std::pair<std::string, std::string>> keys;  // algorithm, fingerprint
  keyring ring;

  gnupg_with_keys() {
    for (const char* algorithm : {"rsa3072", "ed25519", "nistp256", "nistp384", "nistp521", "brainpoolP256r1",
                                  "brainpoolP384r1", "brainpoolP512r1", "secp256k1", "dsa2048"})
      keys.emplace_back(algorithm,
                        home.make_key(std::string(algorithm) + " <" + algorithm + "@example.org>", algorithm));
    ring = home.keys();
  }
  const std::string& fingerprint(std::string_view algorithm) const {
    for (const auto& [name, fpr] : keys)
      if (name == algorithm) return fpr;
    throw std::logic_error("no such key");
  }
};

const gnupg_with_keys& gnupg() {
  static const gnupg_with_keys made;
  return made;
}

}  // namespace

TEST_SUITE_BEGIN("interop: messages");

TEST_CASE("gpg: keys of every algorithm") {
  const auto& g = gnupg();
  for (const auto& [algorithm, key] : g.keys) {
    const std::string signed_only = g.home.sign(key, content);
    test::check_package(signed_only, g.ring, content, false, algorithm);
    test::check_fragile(signed_only, g.ring, content);
    const std::string both = g.home.sign_and_encrypt(key, content);
    test::check_package(both, g.ring, content, true, algorithm);
    test::check_fragile(both, g.ring, content);
    test::check_package(g.home.sign_and_encrypt(key, content, {"--throw-keyids"}), g.ring, content, true,
                        algorithm + ", hidden");
  }
}

TEST_CASE("gpg: every hash, cipher and compression; text mode; many recipients") {
  const auto& g = gnupg();
  const std::string& rsa = g.fingerprint("rsa3072");
  for (const char* hash : {"SHA224", "SHA256", "SHA384", "SHA512"})
    test::check_package(g.home.sign(rsa, content, {"--digest-algo", hash}), g.ring, content, false, hash);
  for (const char* cipher : {"IDEA", "3DES", "CAST5", "BLOWFISH", "AES", "AES192", "AES256", "TWOFISH", "CAMELLIA128",
                             "CAMELLIA192", "CAMELLIA256"})
    test::check_package(g.home.sign_and_encrypt(rsa, content, {"--cipher-algo", cipher}), g.ring, content, true,
                        cipher);
  for (const char* compression : {"Uncompressed", "ZIP", "ZLIB", "BZIP2"}) {
    test::check_package(g.home.sign(rsa, content, {"--compress-algo", compression}), g.ring, content, false,
                        compression);
    test::check_package(g.home.sign_and_encrypt(rsa, content, {"--compress-algo", compression, "--armor"}), g.ring,
                        content, true, compression);
  }
  options everybody;
  for (const auto& [algorithm, key] : g.keys) everybody = everybody + options{"--recipient", key};
  test::check_package(g.home.sign_and_encrypt(rsa, content, everybody), g.ring, content, true, "many recipients");

  const std::string unix_text = "one\ntwo  \n\nthree\n";
  const test::result text = test::read(g.home.sign(rsa, unix_text, {"--textmode"}), g.ring);
  CHECK_MESSAGE(text.message == "", text.message);
}

TEST_CASE("gpg: every one of several signers is found") {
  const auto& g = gnupg();
  options signers;
  for (const auto& [algorithm, key] : g.keys) signers = signers + options{"--local-user", key};
  policy all;
  all.min_signers = static_cast<unsigned>(g.keys.size());
  const test::result r = test::read(g.home.output(signers + options{"--sign"}, content), g.ring, all);
  CHECK_MESSAGE(r.message == "", r.message);
  CHECK(r.signers.size() == g.keys.size());
}

TEST_CASE("rnp: every algorithm, GnuPG's AEAD packet included") {
  const auto& g = gnupg();
  const test::temporary_directory directory;
  const std::string rnp_home = (directory / "rnp").string();
  std::filesystem::create_directory(rnp_home);
  test::write_file(directory / "content", content);
  const auto rnp = [&](const options& arguments) {
    const std::string out = (directory / "out").string();
    test::output_of(options{"rnp", "--homedir", rnp_home, "--password", "", "--notty", "--overwrite", "--output", out} +
                    arguments + options{(directory / "content").string()});
    return test::read_file(out);
  };
  for (const auto& [algorithm, key] : g.keys) {
    const std::string file = (directory / (algorithm + ".key")).string();
    g.home.output({"--output", file, "--export-secret-keys", key});
    test::output_of({"rnpkeys", "--homedir", rnp_home, "--notty", "--import-keys", file});
  }
  for (const auto& [algorithm, key] : g.keys) {
    const std::string signed_only = rnp({"--sign", "--userid", key});
    test::check_package(signed_only, g.ring, content, false, algorithm);
    test::check_fragile(signed_only, g.ring, content);
    const options both{"--sign", "--encrypt", "--userid", key, "--recipient", key};
    test::check_package(rnp(both), g.ring, content, true, algorithm);
    for (const char* aead : {"--aead=OCB", "--aead=EAX"}) {
      const std::string message = rnp(both + options{aead});
      test::check_package(message, g.ring, content, true, algorithm + aead);
      test::check_fragile(message, g.ring, content);
    }
  }
  const std::string& rsa = g.fingerprint("rsa3072");
  const options both{"--sign", "--encrypt", "--userid", rsa, "--recipient", rsa};
  for (const char* hash : {"SHA224", "SHA256", "SHA384", "SHA512", "SHA3-256", "SHA3-512"})
    test::check_package(rnp({"--sign", "--userid", rsa, "--hash", hash}), g.ring, content, false, hash);
  for (const char* cipher :
       {"IDEA", "TRIPLEDES", "CAST5", "BLOWFISH", "AES128", "AES256", "TWOFISH", "CAMELLIA128", "CAMELLIA256"})
    test::check_package(rnp(both + options{"--cipher", cipher}), g.ring, content, true, cipher);
  for (const char* cipher : {"AES128", "AES192", "TWOFISH", "CAMELLIA192"})
    test::check_package(rnp(both + options{"--cipher", cipher, "--aead=OCB"}), g.ring, content, true,
                        std::string(cipher) + " OCB");
  for (const char* compression : {"--zip", "--zlib", "--bzip"})
    test::check_package(rnp(both + options{compression, "-z", "9"}), g.ring, content, true, compression);
  test::check_package(rnp(both + options{"--armor"}), g.ring, content, true, "armor");
}

TEST_CASE("sq: its padding, its compressions, its notarizations") {
  const test::outcome version = test::run({"sq", "--version"});  // which sq 1 does not know
  if (!version.ok() || !version.out.starts_with("sq 0."))
    return test::skip("sq 1 has another command line than Debian 12's sq 0.27");
  const test::temporary_directory directory;
  test::write_file(directory / "content", content);
  const std::string input = (directory / "content").string();
  std::filesystem::create_directory(directory / "ring");
  for (const char* suite : {"cv25519", "rsa3k"}) {
    const std::string key = (directory / "ring" / (std::string(suite) + ".asc")).string();
    const std::string cert = (directory / (std::string(suite) + ".cert")).string();
    test::output_of({"sq", "key", "generate", "--cipher-suite", suite, "--userid",
                     std::string("<") + suite + "@example.org>", "--export", key, "--rev-cert",
                     (directory / (std::string(suite) + ".rev")).string()});
    test::output_of({"sq", "key", "extract-cert", "--output", cert, key});
  }
  const keyring ring = keyring::load(directory / "ring");
  for (const std::string suite : {"cv25519", "rsa3k"}) {
    const std::string key = (directory / "ring" / (suite + ".asc")).string(),
                      cert = (directory / (suite + ".cert")).string();
    for (const options& form : {options{}, options{"--binary"}}) {
      const std::string message = test::output_of(options{"sq", "sign", "--signer-key", key} + form + options{input});
      test::check_package(message, ring, content, false, suite);
      test::check_fragile(message, ring, content);
    }
    for (const char* compression : {"none", "pad", "zip", "zlib", "bzip2"}) {
      const std::string message = test::output_of({"sq", "encrypt", "--binary", "--compression", compression,
                                                   "--signer-key", key, "--recipient-cert", cert, input});
      test::check_package(message, ring, content, true, suite + " " + compression);
      test::check_fragile(message, ring, content);
    }
  }
  // Notarized: a second signature around the first. The first counts.
  const std::string ed = (directory / "ring" / "cv25519.asc").string(),
                    rsa = (directory / "ring" / "rsa3k.asc").string();
  const std::string once = (directory / "once").string();
  test::output_of({"sq", "sign", "--binary", "--signer-key", ed, "--output", once, input});
  const std::string notarized = test::output_of({"sq", "sign", "--binary", "--notarize", "--signer-key", rsa, once});
  CHECK_MESSAGE(test::read(notarized, ring).message == "", test::read(notarized, ring).message);
  const std::string appended = test::output_of({"sq", "sign", "--binary", "--append", "--signer-key", rsa, once});
  CHECK(test::read(appended, ring).signers.size() == 2);
}

TEST_CASE("gosop: encrypted and signed") {
  const test::temporary_directory directory;
  std::filesystem::create_directory(directory / "ring");
  const std::string key = (directory / "ring" / "gosop.asc").string(), cert = (directory / "cert").string();
  test::write_file(key, test::output_of({"gosop", "generate-key", "Go <go@example.org>"}));
  test::write_file(cert, test::output_of({"gosop", "extract-cert"}, test::read_file(key)));
  const keyring ring = keyring::load(directory / "ring");
  for (const options& form : {options{}, options{"--no-armor"}, options{"--as", "text"}}) {
    const std::string text = form.size() == 2 ? std::string("one\r\ntwo\r\n") : content;
    const std::string message =
        test::output_of(options{"gosop", "encrypt", "--sign-with", key} + form + options{cert}, text);
    test::check_package(message, ring, text, true, "gosop");
    test::check_fragile(message, ring, text);
  }
}
