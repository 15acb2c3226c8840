// Messages by OpenPGP.js: version 6 keys and signatures, SEIPD version 2 with every AEAD mode, X25519, hidden
// recipients. The library is installed from npm, in the version that package-lock.json pins. Where that is not possible
// the program ends with 77, "skipped", unless FUSSY_ALL_PEERS is set.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "interop.hpp"
#include "openpgp/botan_seam.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

const std::filesystem::path scripts = FUSSY_OPENPGPJS_SCRIPTS, installed = FUSSY_OPENPGPJS_INSTALLED;

void install_or_skip() {
  const test::outcome o = test::run({(scripts / "install").string(), installed.string()});
  if (o.ok()) return;
  if (std::getenv("FUSSY_ALL_PEERS") != nullptr) FAIL("cannot install OpenPGP.js: " << o.err);
  std::printf("skipped: OpenPGP.js cannot be installed: %s\n", o.err.c_str());
  std::exit(77);
}

bool this_build_has(const keyring& ring) {
  for (const certificate& c : ring.internals().certificates)
    for (std::size_t i = 0; i < c.key_count(); ++i)
      if (!seam::supports(c.key(i).key)) return false;
  return true;
}

}  // namespace

TEST_SUITE_BEGIN("interop: OpenPGP.js");

TEST_CASE("every message of OpenPGP.js is proven") {
  install_or_skip();
  const test::temporary_directory directory;
  const std::string content = test::sample_content();
  test::write_file(directory / "content", content);
  std::filesystem::create_directory(directory / "made");
  test::output_of(
      {"node", (scripts / "make.mjs").string(), (directory / "content").string(), (directory / "made").string()}, {},
      {{"OPENPGPJS", installed.string()}});

  std::size_t packages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "made")) {
    if (entry.path().extension() != ".key") continue;
    const std::string kind = entry.path().stem().string();
    const keyring ring = keyring::load(entry.path());
    const bool usable = this_build_has(ring);
    CHECK((usable || kind.starts_with("curve448")));
    for (const auto& package : std::filesystem::directory_iterator(directory / "made")) {
      const std::string name = package.path().filename().string();
      if (!name.starts_with(kind + ".") || !name.ends_with(".pgp")) continue;
      ++packages;
      const bool encrypted = name.find(".signed.") == std::string::npos && name.find(".armored.") == std::string::npos;
      const std::string message = test::read_file(package.path());
      if (usable) {
        test::check_package(message, ring, content, encrypted, name);
        test::check_fragile(message, ring, content);
      } else {  // Botan 2 has no Ed448 and X448: a precise refusal
        const errc code = test::read(message, ring).code;
        CHECK((code == errc::key_unusable || code == errc::cannot_decrypt || code == errc::unknown_signer));
      }
    }
  }
  CHECK(packages == 122);
}
