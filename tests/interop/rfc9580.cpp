// Keys and messages of RFC 9580 by the programs of Debian 13: sq 1 and gosop 1.1, both ways; Ed448 and X448 where Botan
// has them. Older programs know nothing of it: then the program ends with 77, "skipped".
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "interop.hpp"
#include "openpgp/botan_seam.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

using arguments = std::vector<std::string>;

arguments operator+(arguments left, const arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

const std::string content = test::sample_content();

void skip_unless_known() {
  const test::outcome profiles = test::run({"gosop", "list-profiles", "generate-key"});
  const test::outcome sq = test::run({"sq", "version"});
  if (profiles.out.find("rfc9580") != std::string::npos && (sq.out + sq.err).starts_with("sq 1")) return;
  std::puts("skipped: sq and gosop of this system are older than RFC 9580");
  std::exit(77);
}

/// Somebody's key, with what reads and writes with it.
struct peer {
  test::temporary_directory directory;
  std::string name, key, certificate, input;
  keyring ring;

  peer(const std::string& program, const std::string& profile) : name(program + " " + profile) {
    key = (directory / "key.asc").string();
    certificate = (directory / "cert.pgp").string();
    input = (directory / "input").string();
    test::write_file(input, content);
    if (program == "sq")
      sq({"key", "generate", "--own-key", "--userid", "<sq@example.org>", "--without-password", "--profile", profile,
          "--output", key, "--rev-cert", (directory / "rev").string()});
    else
      test::write_file(key, test::output_of({"gosop", "generate-key", "--profile", profile, "Go <go@example.org>"}));
    test::write_file(certificate, test::output_of({"gosop", "extract-cert"}, test::read_file(key)));
    ring = keyring::load(key);
  }

  std::string sq(const arguments& more) const { return test::output_of(arguments{"sq", "--home", "none"} + more); }

  std::string signed_by_sq() const { return sq({"sign", "--message", "--binary", "--signer-file", key, input}); }
  std::string encrypted_by_sq(const std::string& profile) const {
    return sq({"encrypt", "--binary", "--profile", profile, "--for-file", certificate, "--signer-file", key, input});
  }
  std::string signed_by_gosop() const { return test::output_of({"gosop", "inline-sign", "--no-armor", key}, content); }
  std::string encrypted_by_gosop(const std::string& profile) const {
    return test::output_of({"gosop", "encrypt", "--no-armor", "--profile", profile, "--sign-with", key, certificate},
                           content);
  }

  std::string verified_by_sq(const std::string& message) const {
    return sq({"verify", "--message", "--signer-file", certificate, file(message)});
  }
  std::string decrypted_by_sq(const std::string& message) const {
    return sq({"decrypt", "--recipient-file", key, "--signer-file", certificate, file(message)});
  }
  std::string verified_by_gosop(const std::string& message) const {
    return test::output_of({"gosop", "inline-verify", certificate}, message);
  }
  std::string decrypted_by_gosop(const std::string& message) const {
    const std::string verifications = (directory / "verifications").string();
    std::filesystem::remove(verifications);
    const std::string read = test::output_of(
        {"gosop", "decrypt", "--verifications-out", verifications, "--verify-with", certificate, key}, message);
    CHECK(!test::read_file(verifications).empty());
    return read;
  }

  std::string written(const sign_options& how) const {
    byte_vector out;
    message_writer writer(vector_writer(out), ring, how);
    writer.write(as_bytes(content));
    writer.finish();
    return std::string(as_text(out));
  }
  std::string fingerprint() const { return ring.internals().certificates.at(0).primary().fingerprint.hex(); }
  unsigned version() const { return ring.internals().certificates.at(0).primary().version; }
  bool supported() const {
    const certificate_ref& c = ring.internals().certificates.at(0);
    for (std::size_t i = 0; i < c.key_count(); ++i)
      if (!seam::supports(c.key(i).key)) return false;
    return true;
  }

private:
  using certificate_ref = openpgp::certificate;
  std::string file(const std::string& message) const {
    const std::string path = (directory / "message").string();
    test::write_file(path, message);
    return path;
  }
};

bool is_version_2(const std::string& message) {
  packet_reader packets{any_reader(memory_reader(message))};
  while (const auto type = packets.next()) {
    if (*type == packet_type::encrypted_and_integrity_protected_data)
      return read_container_header(packets).version == 2;
    packets.skip_body(1 << 20);
  }
  return false;
}

void check_read_by_us(const peer& p, const std::string& message, bool encrypted, const std::string& by) {
  test::check_package(message, p.ring, content, encrypted, p.name + ", by " + by);
  test::check_fragile(message, p.ring, content);
}

}  // namespace

TEST_SUITE_BEGIN("interop: RFC 9580");

TEST_CASE("what sq and gosop make with keys of version 4 and 6 is proven, in both containers") {
  skip_unless_known();
  for (const auto& [program, profile] : {std::pair{"sq", "rfc4880"}, {"sq", "rfc9580"}, {"gosop", "rfc9580"}}) {
    const peer p(program, profile);
    CHECK(p.version() == (std::string(profile) == "rfc9580" ? 6 : 4));
    check_read_by_us(p, p.signed_by_sq(), false, "sq");
    check_read_by_us(p, p.signed_by_gosop(), false, "gosop");
    for (const char* container : {"rfc4880", "rfc9580"}) {
      check_read_by_us(p, p.encrypted_by_sq(container), true, "sq");
      check_read_by_us(p, p.encrypted_by_gosop(container), true, "gosop");
    }
    CHECK(is_version_2(p.encrypted_by_sq("rfc9580")));
    CHECK(is_version_2(p.encrypted_by_gosop("rfc9580")));
  }
}

TEST_CASE("sq and gosop read what is written: SEIPD version 2 and session keys of version 6 for keys of version 6") {
  skip_unless_known();
  for (const auto& [program, profile] : {std::pair{"sq", "rfc4880"}, {"sq", "rfc9580"}, {"gosop", "rfc9580"}}) {
    const peer p(program, profile);
    CAPTURE(p.name);
    const std::string plain = p.written({}), sealed = p.written({.recipients = {p.fingerprint()}});
    CHECK(p.verified_by_sq(plain) == content);
    CHECK(p.verified_by_gosop(plain) == content);
    if (p.version() == 6) CHECK(is_version_2(sealed));
    CHECK(p.decrypted_by_sq(sealed) == content);
    CHECK(p.decrypted_by_gosop(sealed) == content);
    check_read_by_us(p, sealed, true, "us");
  }
}

TEST_CASE("Ed448 and X448: signed, encrypted, read and written where Botan has them, a clear refusal where not") {
  skip_unless_known();
  const peer p("gosop", "security");
  const std::string signed_only = p.signed_by_gosop(), sealed = p.encrypted_by_gosop("rfc9580");
  if (!p.supported()) {
    CHECK(test::read(signed_only, p.ring).code == errc::key_unusable);
    CHECK(test::read(signed_only, p.ring).message.find("Ed448") != std::string::npos);
    CHECK(test::read(sealed, p.ring).code == errc::cannot_decrypt);
    CHECK(test::read(sealed, p.ring).message.find("X448") != std::string::npos);
    CHECK_THROWS_AS(p.written({}), error);
    CHECK_THROWS_AS(p.written({.sign = false, .recipients = {p.fingerprint()}}), error);
    return;
  }
  check_read_by_us(p, signed_only, false, "gosop");
  check_read_by_us(p, sealed, true, "gosop");
  check_read_by_us(p, p.encrypted_by_gosop("rfc4880"), true, "gosop");
  const std::string ours = p.written({}), ours_sealed = p.written({.recipients = {p.fingerprint()}});
  CHECK(p.verified_by_gosop(ours) == content);
  CHECK(p.decrypted_by_gosop(ours_sealed) == content);
  check_read_by_us(p, ours, false, "us");
  check_read_by_us(p, ours_sealed, true, "us");
  CHECK(test::read(ours, p.ring).signers.at(0).algorithm.find("Ed448") != std::string::npos);
}
