// Signing packages with several keys, and what a policy of two signers makes of them.
#include <doctest/doctest.h>
#include <fussy/install.hpp>
#include <fussy/pack.hpp>

#include <fstream>

#include "openpgp/gnupg.hpp"
#include "support/temporary_directory.hpp"

using namespace fussy;

namespace {

namespace fs = std::filesystem;

fs::path sample(const fs::path& below) {
  const fs::path root = below / "firmware-1";
  fs::create_directories(root / "bin");
  std::ofstream(root / "bin" / "app") << "#!/bin/sh\n";
  return root;
}

template <class Call>
errc code_of(Call&& call) {
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

TEST_CASE(
    "two people sign one after the other, each with a ring of their own: a device that asks for two installs it") {
  const test::gnupg alice, bob;
  const std::string first = alice.make_key("alice@example.org", "ed25519"),
                    second = bob.make_key("bob@example.org", "rsa2048");
  bob.output({"--import"}, alice.output({"--export", first}));
  const test::temporary_directory directory;
  fs::create_directory(directory / "keys");
  std::ofstream(directory / "keys" / "alice.gpg", std::ios::binary) << alice.output({"--export", first});
  std::ofstream(directory / "keys" / "bob.gpg", std::ios::binary) << bob.output({"--export", second});

  pack::options options;
  options.directory = directory.path();
  options.proof.keyring = alice.home();
  const fs::path package = pack::pack(sample(directory.path()), options);

  install::options device;
  device.keyring = directory / "keys";
  device.target = directory / "target";
  device.policy.min_signers = 2;
  fs::create_directory(device.target);
  CHECK(code_of([&] { install::install(package, device); }) == errc::too_few_signers);
  CHECK_FALSE(fs::exists(device.target / "current"));

  SUBCASE("by the second person") {
    pack::signing by_bob;
    by_bob.keyring = bob.home();
    by_bob.how.signers = {second};
    CHECK(pack::sign(package, by_bob) == package);
    CHECK(install::install(package, device).signers.size() == 2);
    CHECK(fs::read_symlink(device.target / "current") == "firmware-1");
  }
  SUBCASE("by the first once more: that is nobody else") {
    CHECK(code_of([&] { pack::sign(package, options.proof); }) == errc::usage);
    CHECK(code_of([&] { install::install(package, device); }) == errc::too_few_signers);
  }
  SUBCASE("the second person does not know the first: no signature onto what nobody vouches for") {
    const test::gnupg carol;
    pack::signing by_carol;
    carol.make_key("carol@example.org", "ed25519");
    by_carol.keyring = carol.home();
    CHECK(code_of([&] { pack::sign(package, by_carol); }) == errc::unknown_signer);
  }
}
