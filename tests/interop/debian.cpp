// What Debian signs, with Debian's keys: the release files that apt keeps. gpgv is the measure.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../openpgp/detached.hpp"
#include "../openpgp/gnupg.hpp"
#include "interop.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

const std::filesystem::path archive_keys = "/usr/share/keyrings/debian-archive-keyring.gpg";

std::vector<std::filesystem::path> release_files() {
  std::vector<std::filesystem::path> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/var/lib/apt/lists", none))
    if (entry.path().string().ends_with("_InRelease") && entry.path().string().find("debian.org") != std::string::npos)
      found.push_back(entry.path());
  return found;
}

// Only signatures that gpgv finds good count for it; so many must be found by us.
std::size_t good_for_gpgv(const std::filesystem::path& file) {
  const test::outcome o = test::run({"gpgv", "--status-fd", "1", "--keyring", archive_keys.string(), file.string()});
  std::size_t count = 0;
  for (std::size_t at = 0; (at = o.out.find("[GNUPG:] VALIDSIG", at)) != std::string::npos; ++at) ++count;
  return count;
}

}  // namespace

TEST_SUITE_BEGIN("interop: Debian");

TEST_CASE("Debian's InRelease files, as apt keeps them, verify with the archive's keys") {
  const auto files = release_files();
  if (files.empty() || !std::filesystem::exists(archive_keys)) {
    if (std::getenv("FUSSY_ALL_PEERS") != nullptr)
      FAIL("apt keeps no release files here, or the archive's keys are missing");
    std::puts("skipped: apt keeps no release files here, or the archive's keys are missing");
    std::exit(77);
  }
  const keyring ring = keyring::load(archive_keys);
  for (const auto& file : files) {
    CAPTURE(file.string());
    const std::string message = test::read_file(file);
    std::vector<signer> signers;
    CHECK_NOTHROW(signers = test::verify_clear_signed(message, ring));
    CHECK(signers.size() >= 1);
    CHECK(signers.size() == good_for_gpgv(file));

    std::string changed = message;
    changed[changed.find("\nSuite: ") + 8] ^= 1;
    CHECK_THROWS_AS(test::verify_clear_signed(changed, ring), error);
    CHECK_THROWS_AS(test::verify_clear_signed(message, keyring()), error);
  }
}

TEST_CASE("the two files of old, Release and Release.gpg: a detached signature, binary and armored") {
  const test::gnupg home;
  const std::string key = home.make_key("Archive <a@example.org>", "rsa3072");
  const std::string release = "Origin: Debian\nSuite: stable\r\nno line end at the end";
  const keyring ring = home.keys();
  for (const std::vector<std::string>& form : std::vector<std::vector<std::string>>{{}, {"--armor"}, {"--textmode"}}) {
    std::vector<std::string> arguments = form;
    arguments.insert(arguments.end(), {"--local-user", key, "--detach-sign"});
    const std::string signature = home.output(arguments, release);
    CHECK(test::verify_detached(release, signature, ring).size() == 1);
    CHECK_THROWS_AS(test::verify_detached(release + "x", signature, ring), error);
  }
  // Two signatures in one file, as the archive does it when keys change.
  const std::string other = home.make_key("Next <n@example.org>", "ed25519");
  const keyring both = home.keys();
  const std::string two = home.output({"--local-user", key, "--detach-sign"}, release) +
                          home.output({"--local-user", other, "--detach-sign"}, release);
  CHECK(test::verify_detached(release, two, both).size() == 2);
  const std::string clear = home.output({"--local-user", other, "--clearsign"}, "a line \t\n- a dash\n\nend\n");
  CHECK(test::verify_clear_signed(clear, both).size() == 1);
}
