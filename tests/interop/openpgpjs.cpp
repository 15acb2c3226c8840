// Messages by OpenPGP.js: version 6 keys and signatures, SEIPD version 2 with every AEAD mode, X25519, hidden
// recipients. The library is installed from npm, in the version that package-lock.json pins. Where that is not possible
// the program ends with 77, "skipped", unless FUSSY_ALL_PEERS is set.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "../openpgp/gnupg.hpp"
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

/// What message_writer makes of the content.
std::string written(std::string_view content, const keyring& ring, const sign_options& how) {
  byte_vector out;
  message_writer writer(vector_writer(out), ring, how);
  writer.write(as_bytes(content));
  writer.finish();
  return std::string(as_text(out));
}

std::string lower_hex(std::string_view octets) {
  std::string text = to_hex(as_bytes(octets));
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// Version of the encrypted packet; 0: there is none.
unsigned container_version(std::string_view message) {
  packet_reader packets{any_reader(memory_reader(message))};
  while (const auto type = packets.next()) {
    if (*type == packet_type::encrypted_and_integrity_protected_data) return read_container_header(packets).version;
    packets.skip_body(1 << 20);
  }
  return 0;
}

/// What make.mjs asked for, by the mode in a file's name.
void check_form(std::string_view message, const keyring& ring, const std::string& name) {
  message_reader reader(any_reader(memory_reader(message)), ring, {});
  byte_vector room(65536);
  while (reader.read(room) > 0) {
  }
  const message_info seen = reader.info();
  const auto is = [&](const std::string& mode) { return name.find("." + mode + ".") != std::string::npos; };
  const auto protection = [&]() -> std::string {
    if (is("seipd1")) return "SEIPD v1 (MDC)";
    if (is("ocb")) return "SEIPD v2 (OCB)";
    if (is("eax")) return "SEIPD v2 (EAX)";
    return is("gcm") || is("zlib") ? "SEIPD v2 (GCM)" : "";
  };
  CAPTURE(name);
  CHECK(seen.armored == is("armored"));
  CHECK(seen.protection == protection());
  CHECK(seen.compression == (is("zlib") ? std::vector<std::string>{"ZLIB"} : std::vector<std::string>{}));
  CHECK(std::all_of(seen.recipients.begin(), seen.recipients.end(),
                    [&](const auto& r) { return r.key.empty() == is("hidden"); }));
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
        check_form(message, ring, name);
        test::check_fragile(message, ring, content);
      } else {  // Botan 2 has no Ed448 and X448: a precise refusal
        const errc code = test::read(message, ring).code;
        CHECK((code == errc::key_unusable || code == errc::cannot_decrypt || code == errc::unknown_signer));
      }
    }
  }
  CHECK(packages == 134);
}

TEST_CASE("OpenPGP.js reads what is written for its keys: version 6 and AEAD where every recipient reads them") {
  install_or_skip();
  const test::temporary_directory directory;
  const std::string content = test::sample_content();
  test::write_file(directory / "content", content);
  std::filesystem::create_directory(directory / "made");
  const auto node = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "node");
    arguments[1] = (scripts / arguments[1]).string();
    return test::output_of(arguments, {}, {{"OPENPGPJS", installed.string()}});
  };
  node({"make.mjs", (directory / "content").string(), (directory / "made").string()});

  const test::gnupg old_reader;  // its certificates announce no AEAD of RFC 9580
  const std::string old_key = old_reader.make_key("Old <old@example.org>", "rsa2048");
  const std::string old_certificate = old_reader.output({"--export", old_key});

  std::size_t kinds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "made")) {
    if (entry.path().extension() != ".key") continue;
    const std::string kind = entry.path().stem().string();
    CAPTURE(kind);
    const keyring ring = keyring::load(entry.path());
    const bool v6 = kind.ends_with("-v6");
    const std::string own = ring.internals().certificates.at(0).primary().fingerprint.hex();
    if (!this_build_has(ring)) {
      CHECK_THROWS_AS(written(content, ring, {}), error);
      CHECK_THROWS_AS(written(content, ring, {.sign = false, .recipients = {own}}), error);
      continue;
    }
    ++kinds;
    const auto file = [&](const std::string& name, const std::string& message) {
      const std::string path = (directory / (kind + "." + name)).string();
      test::write_file(path, message);
      return path;
    };
    // Where its certificate announces SEIPD version 2, so also for a v4 key.
    const unsigned container = kind.ends_with("-mdc") ? 1 : 2;
    const std::string encrypted = written(content, ring, {.recipients = {own}});
    CHECK(container_version(encrypted) == container);
    const std::vector<std::string> files{file("signed", written(content, ring, {})), file("encrypted", encrypted),
                                         file("armored", written(content, ring, {.recipients = {own}, .armor = true}))};
    const auto seen = nlohmann::json::parse(node({"read.mjs", entry.path().string(), files[0], files[1], files[2]}));
    for (const std::string& path : files) {
      CAPTURE(path);
      CHECK(seen[path]["content"] == lower_hex(content));
      CHECK(seen[path]["signer"] == own);
      CHECK(seen[path]["signatures"] == 1);
      CHECK(seen[path]["signatureVersion"] == (v6 ? 6 : 4));
      CHECK(seen[path]["container"] == (path == files[0] ? 0 : container));
      test::check_package(test::read_file(path), ring, content, path != files[0], path);
    }
    test::check_fragile(encrypted, ring, content);

    // One recipient who cannot read it, and it is version 1 for all.
    const std::filesystem::path both = directory / (kind + ".both");
    std::filesystem::create_directory(both);
    std::filesystem::copy_file(entry.path(), both / "a.asc");
    test::write_file(both / "b.gpg", old_certificate);
    const keyring ring_of_both = keyring::load(both);
    const std::string for_both = written(content, ring_of_both, {.signers = {own}, .recipients = {own, old_key}});
    CHECK(container_version(for_both) == 1);
    // gpg 2.2 gives nothing out beside a signature of version 6.
    const std::string unsigned_for_both = written(content, ring_of_both, {.sign = false, .recipients = {own, old_key}});
    CHECK(old_reader.gpg({"--decrypt"}, v6 ? unsigned_for_both : for_both).out == content);
    const auto again =
        nlohmann::json::parse(node({"read.mjs", entry.path().string(), file("for-both", for_both)})).begin().value();
    CHECK(again["container"] == 1);
    CHECK(again["signer"] == own);
  }
  CHECK(kinds >= 14);
}
