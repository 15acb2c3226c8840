// Signing packages with several keys, and what a policy of two signers makes of them.
#include <doctest/doctest.h>
#include <fussy/install.hpp>
#include <fussy/pack.hpp>

#include <array>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <stop_token>
#include <string>

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

namespace {

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Names in a directory, each with what it holds.
std::map<std::string, std::string> contents(const fs::path& directory) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::directory_iterator(directory))
    found[entry.path().filename().string()] = slurp(entry.path());
  return found;
}

/// Asks to stop as soon as the call has said so often how far it is.
struct stopping {
  std::stop_source source{};
  int reports = 0;
  progress_sink at(int nth) {
    return [this, nth](const progress&) {
      if (++reports == nth) source.request_stop();
    };
  }
};

}  // namespace

TEST_CASE("a stop ends packing whenever it comes: no part, no directory; the older package of that name stays") {
  const test::gnupg vendor;
  vendor.make_key("vendor@example.org", "ed25519");
  const test::temporary_directory directory;
  const fs::path packages = directory / "packages", root = sample(directory.path());
  fs::create_directory(packages);
  std::ofstream(root / "bin" / "large") << std::string(5'000'000, 'x');
  pack::options options;
  options.directory = packages;
  options.proof.keyring = vendor.home();
  for (const auto by : {pack::signing::program::library, pack::signing::program::gpg}) {
    CAPTURE(static_cast<int>(by));
    options.proof.by = by;
    std::ofstream(packages / "firmware-1.tar.gz.gpg") << "older";
    const auto before = contents(packages);
    int reports = 0;
    for (int nth = 1;; ++nth) {
      stopping stop;
      options.progress = stop.at(nth);
      options.stop = stop.source.get_token();
      const errc code = code_of([&] { pack::pack(root, options); });
      reports = stop.reports;
      if (reports < nth) {
        CHECK(code == errc::success);
        break;
      }
      CHECK(code == errc::cancelled);
      CHECK(contents(packages) == before);
    }
    CHECK(reports > 3);  // with the last one, when all is written and has no name yet
    CHECK(contents(packages).size() == 1);
    CHECK(contents(packages) != before);
  }
}

TEST_CASE("who asks to stop before packing begins gets nothing packed") {
  const test::temporary_directory directory;
  pack::options options;
  options.directory = directory / "packages";
  fs::create_directory(options.directory);
  options.sign = false;
  std::stop_source source;
  source.request_stop();
  options.stop = source.get_token();
  CHECK(code_of([&] { pack::pack(sample(directory.path()), options); }) == errc::cancelled);
  CHECK(fs::is_empty(options.directory));
}

TEST_CASE("a stop ends signing whenever it comes, and archive, package and an older package stay as they were") {
  const test::gnupg vendor;
  const std::string one = vendor.make_key("one@example.org", "ed25519"),
                    two = vendor.make_key("two@example.org", "ed25519");
  const test::temporary_directory directory;
  const fs::path root = sample(directory.path());
  std::mt19937 random(1);  // NOLINT: what does not compress
  std::ofstream large(root / "bin" / "large", std::ios::binary);
  for (int i = 0; i < 1'000'000; ++i) large.write(reinterpret_cast<const char*>(std::array{random()}.data()), 4);
  large.close();
  pack::options options;
  options.directory = directory / "packages";
  fs::create_directory(options.directory);
  options.sign = false;
  fs::path file = pack::pack(root, options);
  pack::signing proof;
  proof.keyring = vendor.home();
  proof.how.signers = {one};
  SUBCASE("of an archive") { std::ofstream(file.string() + ".gpg") << "older"; }
  SUBCASE("of an archive, by gpg") {
    std::ofstream(file.string() + ".gpg") << "older";
    proof.by = pack::signing::program::gpg;
  }
  SUBCASE("of a package") {
    file = pack::sign(file, proof);
    proof.how.signers = {two};
  }
  const auto before = contents(options.directory);
  for (int nth = 1;; ++nth) {
    REQUIRE(nth < 10'000);
    stopping stop;
    std::uint64_t done = 0, total = 0;
    const auto count = stop.at(nth);
    const pack::attention attention{.progress =
                                        [&](const progress& p) {
                                          CHECK(p.at == phase::packing);
                                          CHECK(p.done >= done);
                                          CHECK(p.done <= p.total);
                                          done = p.done, total = p.total;
                                          count(p);
                                        },
                                    .stop = stop.source.get_token()};
    const errc code = code_of([&] { pack::sign(file, proof, attention); });
    if (stop.reports < nth) {
      CHECK(code == errc::success);
      CHECK(done == total);
      break;
    }
    CHECK(code == errc::cancelled);
    CHECK(contents(options.directory) == before);
  }
  CHECK(contents(options.directory) != before);
  CHECK(contents(options.directory).size() == 1);
}
