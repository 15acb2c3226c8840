// Every bit of small packages is flipped, one at a time. Each flip is refused with a reason, or it hit one of the few
// positions that carry nothing; those are listed here, and a new one fails the test.
#include <doctest/doctest.h>

#include <fussy/openpgp.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "packages.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

const std::filesystem::path data = FUSSY_TEST_DATA "/flips";

byte_vector load(const std::string& name) { return read_all(file_reader(data / name)); }

/// Bits of the octets first to last (inclusive) that may be flipped, and why that does no harm.
struct harmless {
  std::size_t first, last;
  unsigned mask;
  const char* reason;
};

struct flipped_file {
  const char* name;
  std::vector<harmless> allowed;
};

}  // namespace

TEST_SUITE_BEGIN("flips");

TEST_CASE("every single flipped bit is refused with a reason, or lies where nothing is said") {
  constexpr const char* hint =
      "one-pass header: algorithm and nesting are hints; the signature packet's own fields count";
  constexpr const char* date = "date of the literal: covered by no signature, used for nothing";
  constexpr const char* unhashed = "issuer in the unhashed area: a hint; the fingerprint in the hashed area counts";
  constexpr const char* bit_count = "bit count of a number: old software writes it too large, so only its octets count";
  constexpr const char* deflate = "bits of deflate that say what is listed for the uncompressed package";
  constexpr const char* alignment = "bits of deflate between blocks, or behind the last";
  constexpr const char* version_2 = "version 2 of a session key packet is read as version 3";
  constexpr const char* x25519 = "the highest bit of an X25519 point is to be ignored (RFC 7748 section 5)";
  const flipped_file files[] = {
      {"signed-ed.gpg",
       {{5, 5, 0xff, hint},
        {14, 14, 0xff, hint},
        {19, 22, 0xff, date},
        {103, 111, 0xff, unhashed},
        {149, 149, 0x07, bit_count}}},
      {"signed-rsa.gpg",
       {{5, 5, 0xff, hint},
        {14, 14, 0xff, hint},
        {19, 22, 0xff, date},
        {104, 112, 0xff, unhashed},
        {116, 116, 0x07, bit_count}}},
      {"signed-zip-ed.gpg",  // packed by Huffman codes
       {{7, 7, 0xc0, deflate},
        {8, 8, 0x0f, deflate},
        {16, 16, 0x80, deflate},
        {17, 17, 0x79, deflate},
        {99, 99, 0x3f, deflate},
        {101, 101, 0x1e, deflate},
        {141, 141, 0xc0, deflate},
        {142, 142, 0x01, deflate},
        {176, 176, 0xf8, alignment}}},
      {"signed-zip-rsa.gpg",  // stored, as it does not become smaller: signed-rsa.gpg seven octets further on
       {{2, 2, 0xf8, alignment},
        {12, 12, 0xff, hint},
        {21, 21, 0xff, hint},
        {26, 29, 0xff, date},
        {111, 119, 0xff, unhashed},
        {123, 123, 0x07, bit_count}}},
      {"encrypted-ed.gpg", {{2, 2, 0x01, version_2}, {13, 13, 0x07, bit_count}, {46, 46, 0x80, x25519}}},
      {"encrypted-rsa.gpg", {{3, 3, 0x01, version_2}, {14, 14, 0x07, bit_count}}},
  };
  const keyring ring = keyring::load(data / "keys.gpg");
  const byte_vector content = load("content");

  for (const flipped_file& file : files) {
    CAPTURE(std::string(file.name));
    const byte_vector package = load(file.name);
    REQUIRE(test::read(byte_view(package), ring).message == "");

    std::map<std::size_t, unsigned> accepted;  // octet, bits
    for (std::size_t bit = 0; bit < package.size() * 8; ++bit) {
      byte_vector flipped = package;
      flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      const test::result r = test::read(byte_view(flipped), ring);
      if (r.code == errc::success) {
        CHECK(r.content == as_text(content));
        accepted[bit / 8] |= 1U << bit % 8;
      } else {
        CHECK(exit_status(r.code) == 20);
        CHECK(std::string(fussy::name(r.code)) != "unknown");
      }
    }
    for (const auto& entry : accepted) {
      const auto octet = entry.first;  // Clang 14 captures no structured bindings, as CHECK_MESSAGE does
      const auto bits = entry.second;
      unsigned listed = 0;
      for (const harmless& h : file.allowed)
        if (h.first <= octet && octet <= h.last) listed |= h.mask;
      CHECK_MESSAGE((bits & ~listed) == 0, "octet ", octet, " accepts flips of ", bits, " of which listed are ",
                    listed);
    }
  }
}
