// Packing and signing, as a C program sees them.
#include <doctest/doctest.h>
#include <fussy.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "fixture.hpp"

namespace {

using namespace test;

TEST_SUITE_BEGIN("capi");

TEST_CASE("what is packed from C is verified by gpg and installs") {
  device d;
  temporary_directory out;
  std::filesystem::create_directory(out / "fw-c");
  std::ofstream(out / "fw-c" / "app") << "packed from C\n";
  fussy_session_set_keyring(d, the_vendor().home().c_str());
  REQUIRE_MESSAGE(fussy_session_pack(d, (out / "fw-c").c_str(), out.path().c_str(), 1) == FUSSY_OK,
                  fussy_session_message(d));
  const std::string package = d.report().path;
  CHECK(d.report().phase == FUSSY_PHASE_PACKING);
  CHECK(package == (out / "fw-c.tar.gz.gpg").string());
  shell(the_vendor().gpg() + "-d " + package + " > " + (out / "plain.tar.gz").string());
  fussy_session_set_keyring(d, the_vendor().keys().c_str());
  CHECK(d.install(package) == FUSSY_OK);
  CHECK(slurp(d.target() + "/current/app") == "packed from C\n");
}

TEST_CASE(
    "an archive packed without a signature is signed elsewhere, with a key whose passphrase the host is asked for") {
  device d;
  vendor locked("the passphrase");
  temporary_directory out;
  std::filesystem::create_directory(out / "fw-c");
  std::ofstream(out / "fw-c" / "app") << "packed here, signed there\n";
  REQUIRE(fussy_session_pack(d, (out / "fw-c").c_str(), out.path().c_str(), 0) == FUSSY_OK);
  const std::string archive = d.report().path;
  CHECK(archive == (out / "fw-c.tar.gz").string());
  fussy_session_set_keyring(d, locked.home().c_str());
  CHECK(fussy_status_exit_code(fussy_session_sign(d, archive.c_str())) != 0);  // nobody is asked
  CHECK(std::filesystem::exists(archive));
  const auto ask = [](void* user, const char* fingerprint, char* buffer, uint64_t size) -> int64_t {
    if (std::strlen(fingerprint) != 40 || size < 14) return -1;
    ++*static_cast<int*>(user);
    std::memcpy(buffer, "the passphrase", 14);
    return 14;
  };
  int asked = 0;
  CHECK(fussy_session_set_passphrase(d, ask, &asked) == FUSSY_OK);
  REQUIRE_MESSAGE(fussy_session_sign(d, archive.c_str()) == FUSSY_OK, fussy_session_message(d));
  CHECK(asked == 1);
  CHECK(std::string(d.report().path) == archive + ".gpg");
  fussy_session_set_keyring(d, locked.keys().c_str());
  CHECK(d.install(archive + ".gpg") == FUSSY_OK);
}

TEST_CASE("packing that is cancelled leaves nothing, and an older package of its name stays") {
  device d;
  temporary_directory out;
  std::filesystem::create_directory(out / "fw-c");
  std::ofstream(out / "fw-c" / "app") << "a file of which there is little to pack: what is cancelled is not finished\n";
  std::filesystem::create_directory(out / "packages");
  std::ofstream(out / "packages" / "fw-c.tar.gz.gpg") << "older";
  fussy_session_set_keyring(d, the_vendor().home().c_str());
  const auto cancel = [](void* user, int32_t, const char*) { fussy_session_cancel(static_cast<device*>(user)->get()); };
  fussy_session_set_log(d, cancel, &d);  // each file that is packed is logged
  CHECK(fussy_session_pack(d, (out / "fw-c").c_str(), (out / "packages").c_str(), 1) == FUSSY_CANCELLED);
  CHECK(fussy_status_exit_code(d.report().status) == 2);
  CHECK(names_in(out / "packages") == "fw-c.tar.gz.gpg\n");
  CHECK(slurp(out / "packages" / "fw-c.tar.gz.gpg") == "older");
  fussy_session_clear_cancel(d);
  fussy_session_set_log(d, nullptr, nullptr);
  REQUIRE(fussy_session_pack(d, (out / "fw-c").c_str(), (out / "packages").c_str(), 1) == FUSSY_OK);
  CHECK(names_in(out / "packages") == "fw-c.tar.gz.gpg\n");
  CHECK(slurp(out / "packages" / "fw-c.tar.gz.gpg") != "older");
}

TEST_CASE("signing that is cancelled leaves the archive as it was, and an older package of its name stays") {
  device d;
  vendor locked("the passphrase");
  temporary_directory out;
  std::filesystem::create_directory(out / "fw-c");
  std::ofstream(out / "fw-c" / "app") << "packed here, signed there\n";
  REQUIRE(fussy_session_pack(d, (out / "fw-c").c_str(), (out / "packages").c_str(), 0) != FUSSY_OK);  // no directory
  std::filesystem::create_directory(out / "packages");
  REQUIRE(fussy_session_pack(d, (out / "fw-c").c_str(), (out / "packages").c_str(), 0) == FUSSY_OK);
  const std::string archive = d.report().path, before = slurp(archive);
  std::ofstream(archive + ".gpg") << "older";
  fussy_session_set_keyring(d, locked.home().c_str());
  // The host knows the passphrase, and at the same time somebody cancels.
  const auto ask = [](void* user, const char*, char* buffer, uint64_t) -> int64_t {
    fussy_session_cancel(static_cast<device*>(user)->get());
    std::memcpy(buffer, "the passphrase", 14);
    return 14;
  };
  fussy_session_set_passphrase(d, ask, &d);
  CHECK(fussy_session_sign(d, archive.c_str()) == FUSSY_CANCELLED);
  CHECK(names_in(out / "packages") == "fw-c.tar.gz\nfw-c.tar.gz.gpg\n");
  CHECK(slurp(archive) == before);
  CHECK(slurp(archive + ".gpg") == "older");
}

}  // namespace
