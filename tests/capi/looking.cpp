// What is found out of packages, key rings and targets without changing them, as a C program sees it.
#include <doctest/doctest.h>
#include <fussy.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "fixture.hpp"

namespace {

using namespace test;

TEST_SUITE_BEGIN("capi");

TEST_CASE("verify says who signed and when, and unpacks nothing") {
  device d;
  fussy_session_set_package_path(d, the_vendor().package("fw-1").c_str());
  CHECK(fussy_session_verify(d) == FUSSY_OK);
  CHECK(d.report().signers == 1);
  fussy_signer signer = FUSSY_SIGNER_INIT;
  REQUIRE(fussy_session_signer(d, 0, &signer) == FUSSY_OK);
  CHECK(signer.user_id == std::string("Vendor <vendor@example.org>"));
  CHECK(signer.key == std::string(d.report().signer));
  CHECK(signer.created > 1700000000);
  CHECK(fussy_session_signer(d, 1, &signer) == FUSSY_NOT_FOUND);
  CHECK(d.listing().empty());
  CHECK(fussy_session_allow_signer(d, "0123456789abcdef0123456789abcdef01234567") == FUSSY_OK);
  CHECK(fussy_session_verify(d) == FUSSY_SIGNER_NOT_ALLOWED);
  CHECK(fussy_session_allow_signer(d, signer.key) == FUSSY_OK);
  CHECK(fussy_session_verify(d) == FUSSY_OK);
  CHECK(fussy_session_set_min_signers(d, 2) == FUSSY_OK);
  CHECK(fussy_session_verify(d) == FUSSY_TOO_FEW_SIGNERS);
}

TEST_CASE("a dry run says what the real call does, and changes not a bit") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  REQUIRE(d.install(the_vendor().package("fw-0")) == FUSSY_OK);
  fussy_report would = FUSSY_REPORT_INIT, did = FUSSY_REPORT_INIT;
  const auto dry_then_real = [&](const std::function<int32_t()>& run) {
    const std::string before = d.image();
    REQUIRE(fussy_session_set_dry_run(d, 1) == FUSSY_OK);
    const int32_t said = run();
    would = d.report();
    CHECK(d.image() == before);
    REQUIRE(fussy_session_set_dry_run(d, 0) == FUSSY_OK);
    CHECK(run() == said);
    did = d.report();
    CHECK(d.image() != before);
  };
  const auto agree_about_version = [&] {
    CHECK(std::string(would.version) == did.version);
    CHECK(std::string(would.path) == did.path);
    CHECK(would.signers == did.signers);
    CHECK(std::string(would.signer) == did.signer);
    CHECK(would.encrypted == did.encrypted);
    CHECK(would.bytes_unpacked == did.bytes_unpacked);
    CHECK(would.bytes_written == did.bytes_written);
    CHECK(would.files == did.files);
    CHECK(would.files_shared == did.files_shared);
  };
  SUBCASE("install") {
    fussy_session_set_package_path(d, the_vendor().package("fw-2", "touch was-run").c_str());
    dry_then_real([&] { return fussy_session_install(d); });
    agree_about_version();
    CHECK(std::string(would.version) == "fw-2");
    CHECK(std::string(would.previous) == "fw-0");
    CHECK(std::string(did.previous) == "fw-0");
    CHECK(would.files_shared == 1);
    CHECK(would.bytes_written > 0);
  }
  SUBCASE("install, of a name that is taken") {
    fussy_session_set_package_path(d, the_vendor().package("fw-0").c_str());
    dry_then_real([&] { return fussy_session_install(d); });
    agree_about_version();
    CHECK(std::string(would.version) == "fw-0-1");
    CHECK(would.files_shared == 2);
    CHECK(would.bytes_written == 0);
  }
  SUBCASE("install_bytes") {
    fussy_session_set_package_path(d, the_vendor().package("fw-2").c_str());
    dry_then_real([&] { return fussy_session_install_bytes(d); });
    agree_about_version();
  }
  SUBCASE("enable") {
    dry_then_real([&] { return fussy_session_enable(d, "fw-1"); });
    CHECK(std::string(would.version) == "fw-1");
    CHECK(std::string(would.previous) == did.previous);
    CHECK(d.current() == "fw-1");
  }
  SUBCASE("clean") {
    REQUIRE(d.install(the_vendor().package("fw-2")) == FUSSY_OK);
    std::string said, done;
    dry_then_real([&] {
      uint32_t count = 0;
      const int32_t status = fussy_session_clean(d, 0, &count);
      std::string& named = said.empty() ? said : done;
      for (uint32_t i = 0; i < count; ++i) named += std::string(fussy_session_removed(d, i)) + "\n";
      return status;
    });
    CHECK(said == done);
    CHECK(done == "fw-0\nfw-1\n");
  }
}

TEST_CASE("a dry run refuses what the real call refuses, for the same reason") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  const std::string before = d.image();
  const auto same_answer = [&](const std::function<int32_t()>& run) {
    REQUIRE(fussy_session_set_dry_run(d, 1) == FUSSY_OK);
    const int32_t said = run();
    CHECK(said != FUSSY_OK);
    const std::string message = fussy_session_message(d);
    CHECK_FALSE(message.empty());
    CHECK(d.image() == before);
    REQUIRE(fussy_session_set_dry_run(d, 0) == FUSSY_OK);
    CHECK(run() == said);
    CHECK(fussy_session_message(d) == message);
  };
  SUBCASE("an unknown signer") {
    vendor stranger;
    same_answer([&] { return d.install(stranger.package("fw-2")); });
  }
  SUBCASE("a damaged package") {
    const std::string damaged = the_vendor().at("damaged");
    std::string bytes = slurp(the_vendor().package("fw-2"));
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(damaged, std::ios::binary) << bytes;
    same_answer([&] { return d.install(damaged); });
  }
  SUBCASE("limits") {
    fussy_session_set_max_entries(d, 2);
    same_answer([&] { return d.install(the_vendor().package("fw-2")); });
  }
  SUBCASE("no package") {
    same_answer([&] { return d.install(the_vendor().at("missing")); });
  }
  SUBCASE("no such version") {
    same_answer([&] { return fussy_session_enable(d, "fw-9"); });
  }
  SUBCASE("no target") {
    fussy_session_set_target(d, (d.target() + "/missing").c_str());
    same_answer([&] { return d.install(the_vendor().package("fw-2")); });
  }
}

TEST_CASE("a stream can be neither looked into nor tried: nothing of it is read") {
  device d;
  source from{.bytes = slurp(the_vendor().package("fw-1"))};
  fussy_session_set_package_callback(d, source::read, &from);
  fussy_inspection seen = FUSSY_INSPECTION_INIT;
  seen.files = 4711;
  CHECK(fussy_session_inspect(d, nullptr, nullptr, &seen) == FUSSY_UNSUPPORTED);
  CHECK(seen.files == 4711);  // a failure leaves it as it was
  CHECK(d.report().remedy[0] != '\0');
  CHECK(fussy_session_set_dry_run(d, 1) == FUSSY_OK);
  fussy_session_set_package_callback(d, source::read, &from);
  CHECK(fussy_session_install(d) == FUSSY_UNSUPPORTED);
  fussy_session_set_package_callback(d, source::read, &from);
  CHECK(fussy_session_install_bytes(d) == FUSSY_UNSUPPORTED);
  CHECK(from.at == 0);
  CHECK(d.listing().empty());
  CHECK(fussy_session_set_dry_run(d, 0) == FUSSY_OK);
  fussy_session_set_package_callback(d, source::read, &from);
  CHECK(fussy_session_install(d) == FUSSY_OK);
}

struct entries {
  struct kept {
    int32_t kind, becomes;
    uint64_t bytes;
    uint32_t mode;
    std::string link;
  };
  std::map<std::string, kept> seen;
  std::size_t cancel_at = SIZE_MAX;
  static int32_t take(void* user, const fussy_entry* e) {
    auto& self = *static_cast<entries*>(user);
    CHECK(e->size == sizeof *e);
    CHECK(self.seen.emplace(e->path, kept{e->kind, e->becomes, e->bytes, e->mode, e->link}).second);
    return self.seen.size() == self.cancel_at ? 1 : 0;
  }
};

/// Makes the second of two versions, which adds, changes, touches, keeps and drops something of the first.
void make_versions(const vendor& by) {
  shell("mkdir " + by.at("was") + "; cd " + by.at("was") +
        "; echo was > app; echo old > changed; echo same > touched; echo same > kept; echo gone > dropped; mkdir sub; "
        "ln -s app link; touch -d @1700000000 app changed touched kept dropped; cp -a . ../now; cd ../now; "
        "echo newer > changed; chmod 750 touched; rm dropped; echo more > added; ln added twin; "
        "printf '#!/bin/sh\\n' > .pre-install; chmod 755 .pre-install");
  by.sign("was");
  by.sign("now");
}

TEST_CASE("inspect says what is in a package and what would become of each file of the live version") {
  const vendor by;
  make_versions(by);
  device d;
  fussy_session_set_keyring(d, by.keys().c_str());
  REQUIRE(d.install(by.at("was.tar.gz.gpg")) == FUSSY_OK);
  const std::string before = d.image(), package = by.at("now.tar.gz.gpg");
  fussy_session_set_package_path(d, package.c_str());
  entries all;
  fussy_inspection seen = FUSSY_INSPECTION_INIT;
  REQUIRE_MESSAGE(fussy_session_inspect(d, entries::take, &all, &seen) == FUSSY_OK, fussy_session_message(d));
  CHECK(d.image() == before);

  const auto became = [&](const std::string& path) { return all.seen.at("now/" + path).becomes; };
  CHECK(became("added") == FUSSY_CHANGE_ADDED);
  CHECK(became("changed") == FUSSY_CHANGE_CHANGED);
  CHECK(became("touched") == FUSSY_CHANGE_TOUCHED);
  CHECK(became("kept") == FUSSY_CHANGE_UNCHANGED);
  CHECK(became("dropped") == FUSSY_CHANGE_REMOVED);
  CHECK(became("sub") == FUSSY_CHANGE_NONE);
  CHECK(all.seen.at("now/sub").kind == FUSSY_ENTRY_DIRECTORY);
  CHECK(all.seen.at("now/kept").kind == FUSSY_ENTRY_FILE);
  CHECK(all.seen.at("now/kept").bytes == 5);
  CHECK(all.seen.at("now/touched").mode == 0750);
  CHECK(all.seen.at("now/link").kind == FUSSY_ENTRY_SYMBOLIC_LINK);
  CHECK(all.seen.at("now/link").link == "app");
  const bool twin_is_second = all.seen.at("now/twin").kind == FUSSY_ENTRY_HARD_LINK;
  CHECK(all.seen.at(twin_is_second ? "now/twin" : "now/added").link == (twin_is_second ? "now/added" : "now/twin"));

  CHECK(seen.size == sizeof seen);
  CHECK(seen.refused == FUSSY_OK);
  CHECK(seen.hindrance == FUSSY_OK);
  CHECK(seen.message == std::string());
  CHECK(seen.interrupted == 0);
  CHECK(seen.signatures == 1);
  CHECK(seen.signers == 1);
  CHECK(seen.recipients == 0);
  CHECK(seen.encrypted == 0);
  CHECK(seen.armored == 0);
  CHECK(seen.hooks == FUSSY_HOOK_PRE_INSTALL);
  CHECK(seen.package_bytes == std::filesystem::file_size(package));
  CHECK(seen.files == 6);  // added, app, changed, kept, touched, .pre-install
  CHECK(seen.links == 2);
  CHECK(seen.directories == 2);
  CHECK(seen.changed_files == 1);
  CHECK(seen.changed_bytes == 6);
  CHECK(seen.touched_files == 1);
  CHECK(seen.touched_bytes == 5);
  CHECK(seen.removed_files == 1);
  CHECK(seen.removed_bytes == 5);
  CHECK(seen.added_files + seen.unchanged_files == 6);
  CHECK(seen.needed_bytes > 0);
  CHECK(seen.needed_inodes > 0);
  CHECK(seen.free_bytes > 0);
  CHECK(seen.version == std::string("now"));
  CHECK(seen.current == std::string("was"));
  CHECK(seen.path == d.target() + "/now");
  CHECK(seen.compression == std::string("gzip"));
  CHECK(d.report().files_shared == seen.unchanged_files);

  fussy_signature signature = FUSSY_SIGNATURE_INIT;
  REQUIRE(fussy_session_signature(d, 0, &signature) == FUSSY_OK);
  CHECK(signature.verdict == FUSSY_OK);
  CHECK(signature.created > 1700000000);
  CHECK(signature.user_id == std::string("Vendor <vendor@example.org>"));
  CHECK(signature.algorithm[0] != '\0');
  CHECK(signature.why == std::string());
  CHECK(fussy_session_signature(d, 1, &signature) == FUSSY_NOT_FOUND);
  CHECK(fussy_session_signature(d, 0, nullptr) == FUSSY_USAGE);
  fussy_recipient recipient = FUSSY_RECIPIENT_INIT;
  CHECK(fussy_session_recipient(d, 0, &recipient) == FUSSY_NOT_FOUND);
  CHECK(fussy_session_recipient(d, 0, nullptr) == FUSSY_USAGE);
  fussy_signer signer = FUSSY_SIGNER_INIT;
  CHECK(fussy_session_signer(d, 0, &signer) == FUSSY_OK);
  CHECK(fussy_session_verify(d) == FUSSY_OK);  // what the last inspection saw is forgotten
  CHECK(fussy_session_signature(d, 0, &signature) == FUSSY_NOT_FOUND);
}

TEST_CASE("inspect needs neither a target nor somebody to tell") {
  device d;
  fussy_session_set_package_path(d, the_vendor().package("fw-1").c_str());
  CHECK(fussy_session_inspect(d, nullptr, nullptr, nullptr) == FUSSY_OK);
  fussy_session_set_target(d, (d.target() + "/missing").c_str());
  fussy_inspection seen = FUSSY_INSPECTION_INIT;
  REQUIRE(fussy_session_inspect(d, nullptr, nullptr, &seen) == FUSSY_OK);
  CHECK(seen.hindrance == FUSSY_OK);
  CHECK(seen.version == std::string());
  CHECK(seen.path == std::string());
  CHECK(seen.added_files == 2);
  CHECK(seen.free_bytes == 0);
  CHECK(d.listing().empty());
  CHECK(fussy_session_inspect(nullptr, nullptr, nullptr, &seen) == FUSSY_USAGE);
  SUBCASE("an older program with a shorter struct") {
    std::memset(&seen, 0x5a, sizeof seen);
    seen.size = 40;
    CHECK(fussy_session_inspect(d, nullptr, nullptr, &seen) == FUSSY_OK);
    CHECK(seen.size == 40);
    CHECK(seen.signers == 1);
    CHECK(seen.files == 0x5a5a5a5a5a5a5a5a);
  }
}

TEST_CASE("inspect tells why an install would refuse the package, or could not begin") {
  device d;
  REQUIRE(d.install(the_vendor().package("fw-1")) == FUSSY_OK);
  fussy_inspection seen = FUSSY_INSPECTION_INIT;
  fussy_signature signature = FUSSY_SIGNATURE_INIT;
  entries all;
  const auto look = [&](const std::string& package) {
    fussy_session_set_package_path(d, package.c_str());
    REQUIRE(fussy_session_inspect(d, entries::take, &all, &seen) == FUSSY_OK);
  };
  SUBCASE("nobody trusts its signer") {
    const vendor stranger;
    look(stranger.package("fw-2"));
    CHECK(seen.refused == FUSSY_UNKNOWN_SIGNER);
    CHECK(seen.signatures == 1);
    CHECK(seen.signers == 0);
    CHECK(seen.version == std::string());
    CHECK(all.seen.empty());  // what is not proven is not looked at
    REQUIRE(fussy_session_signature(d, 0, &signature) == FUSSY_OK);
    CHECK(signature.verdict == FUSSY_UNKNOWN_SIGNER);
    CHECK(signature.key[0] != '\0');
    CHECK(signature.user_id == std::string());
    CHECK(signature.why[0] != '\0');
  }
  SUBCASE("it ends too early") {
    const std::string half = the_vendor().at("half"), whole = slurp(the_vendor().package("fw-2"));
    std::ofstream(half, std::ios::binary) << whole.substr(0, whole.size() - 100);
    look(half);
    CHECK(fussy_status_exit_code(seen.refused) == 20);
    CHECK(seen.signers == 0);
    CHECK(all.seen.empty());
    for (uint32_t i = 0; i < seen.signatures; ++i) {
      REQUIRE(fussy_session_signature(d, i, &signature) == FUSSY_OK);
      CHECK(signature.verdict != FUSSY_OK);
    }
  }
  SUBCASE("it is beyond the limits") {
    fussy_session_set_max_entries(d, 2);
    look(the_vendor().package("fw-2"));
    CHECK(seen.refused == FUSSY_TOO_LARGE);
    CHECK(seen.signers == 1);
  }
  SUBCASE("the target is in use") {
    const occupant other(d);
    look(the_vendor().package("fw-2"));
    CHECK(seen.refused == FUSSY_OK);
    CHECK(seen.hindrance == FUSSY_BUSY);
    CHECK(seen.version == std::string("fw-2"));
  }
  SUBCASE("`current` is not ours") {
    std::filesystem::remove(d.target() + "/current");
    std::ofstream(d.target() + "/current") << "a file";
    look(the_vendor().package("fw-2"));
    CHECK(seen.refused == FUSSY_OK);
    CHECK(seen.hindrance == FUSSY_TARGET_UNUSABLE);
  }
  if (seen.refused != FUSSY_OK || seen.hindrance != FUSSY_OK) CHECK(seen.message[0] != '\0');
}

TEST_CASE("inspect tells whom a package is encrypted for") {
  const vendor secret;
  const std::string file = secret.encrypted("fw-1", "--armor");
  device d;
  fussy_session_set_package_path(d, file.c_str());
  fussy_inspection seen = FUSSY_INSPECTION_INIT;
  fussy_recipient recipient = FUSSY_RECIPIENT_INIT;
  SUBCASE("where the secret key is at hand") {
    fussy_session_set_keyring(d, secret.home().c_str());
    REQUIRE(fussy_session_inspect(d, nullptr, nullptr, &seen) == FUSSY_OK);
    CHECK(seen.refused == FUSSY_OK);
    CHECK(seen.files == 2);
    CHECK(std::strncmp(seen.cipher, "AES", 3) == 0);
    REQUIRE(fussy_session_recipient(d, 0, &recipient) == FUSSY_OK);
    CHECK(recipient.ours == 1);
  }
  SUBCASE("where it is not") {
    fussy_session_set_keyring(d, secret.keys().c_str());
    REQUIRE(fussy_session_inspect(d, nullptr, nullptr, &seen) == FUSSY_OK);
    CHECK(seen.refused == FUSSY_CANNOT_DECRYPT);
    CHECK(seen.files == 0);
    REQUIRE(fussy_session_recipient(d, 0, &recipient) == FUSSY_OK);
    CHECK(recipient.ours == 0);
  }
  CHECK(seen.encrypted == 1);
  CHECK(seen.armored == 1);
  CHECK(seen.recipients == 1);
  CHECK(std::strncmp(seen.protection, "SEIPD", 5) == 0);
  CHECK(recipient.algorithm == std::string("ECDH"));
  CHECK(std::strlen(recipient.key) >= 16);
  CHECK(fussy_session_recipient(d, 1, &recipient) == FUSSY_NOT_FOUND);
}

TEST_CASE("who is told of the entries can end an inspection, at the first and at the last of them") {
  const vendor by;
  make_versions(by);
  device d;
  fussy_session_set_keyring(d, by.keys().c_str());
  REQUIRE(d.install(by.at("was.tar.gz.gpg")) == FUSSY_OK);
  fussy_session_set_package_path(d, by.at("now.tar.gz.gpg").c_str());
  entries all, some;
  REQUIRE(fussy_session_inspect(d, entries::take, &all, nullptr) == FUSSY_OK);
  SUBCASE("the first") { some.cancel_at = 1; }
  SUBCASE("the last, which is one that would be removed") { some.cancel_at = all.seen.size(); }
  fussy_inspection seen = FUSSY_INSPECTION_INIT;
  CHECK(fussy_session_inspect(d, entries::take, &some, &seen) == FUSSY_CANCELLED);
  CHECK(some.seen.size() == some.cancel_at);
  CHECK(seen.files == 0);
  fussy_signature signature = FUSSY_SIGNATURE_INIT;
  CHECK(fussy_session_signature(d, 0, &signature) == FUSSY_NOT_FOUND);
  CHECK(fussy_session_clear_cancel(d) == FUSSY_OK);
  CHECK(fussy_session_inspect(d, nullptr, nullptr, nullptr) == FUSSY_OK);
}

TEST_CASE("the keys of a key ring can be listed") {
  device d;
  uint32_t count = 0;
  REQUIRE(fussy_session_keys(d, &count) == FUSSY_OK);
  CHECK(count == 1);
  fussy_key key = FUSSY_KEY_INIT;
  REQUIRE(fussy_session_key(d, 0, &key) == FUSSY_OK);
  CHECK(key.user_id == std::string("Vendor <vendor@example.org>"));
  CHECK(key.fingerprint == std::string(key.primary));
  CHECK((key.flags & FUSSY_KEY_PRIMARY) != 0);
  CHECK((key.flags & FUSSY_KEY_COUNTS) != 0);
  CHECK((key.flags & FUSSY_KEY_HAS_SECRET) == 0);
  CHECK(key.expires == 0);
  CHECK(fussy_session_key(d, 1, &key) == FUSSY_NOT_FOUND);
  fussy_session_set_keyring(d, "/nonexistent");
  CHECK(fussy_session_keys(d, &count) == FUSSY_KEYRING_UNUSABLE);
}

}  // namespace
