#include "openpgp/armor.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace fussy;
using namespace fussy::openpgp;

namespace {

byte_vector pattern(std::size_t size) {
  byte_vector out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 131 + i / 251);
  return out;
}

byte_vector decode(std::string_view text, std::size_t room = 4096, std::size_t buffer = 4096) {
  armor_reader reader(buffered_reader(memory_reader(text), buffer), armor_label::message);
  byte_vector out, part(room);
  while (const std::size_t n = reader.read(part))
    out.insert(out.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
  return out;
}

errc code_of(std::string_view text) {
  try {
    decode(text);
  } catch (const error& e) {
    return e.code();
  }
  return errc::success;
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

const std::string hello = "-----BEGIN PGP MESSAGE-----\n\naGVsbG8=\n=R/WK\n-----END PGP MESSAGE-----\n";

}  // namespace

TEST_SUITE_BEGIN("armor");

TEST_CASE("what is encoded is decoded, whatever its size and the room") {
  for (std::size_t size = 0; size < 200; ++size) {
    const byte_vector data = pattern(size);
    const std::string text = encode_armor(armor_label::message, data);
    for (const std::size_t room : {1U, 2U, 3U, 4U, 50U, 4096U})
      for (const std::size_t buffer : {128U, 129U, 4096U}) CHECK(decode(text, room, buffer) == data);
  }
  const byte_vector large = pattern(1000000);
  CHECK(decode(encode_armor(armor_label::message, large), 65536) == large);
}

TEST_CASE("the writer makes the same text as the encoder") {
  for (const std::size_t size : {0U, 1U, 47U, 48U, 49U, 1000U}) {
    const byte_vector data = pattern(size);
    for (const std::size_t step : {1U, 5U, 48U, 1000U}) {
      byte_vector text;
      armor_writer writer(any_writer(vector_writer(text)), armor_label::message);
      for (std::size_t at = 0; at < size; at += step)
        writer.write(byte_view(data).subspan(at, std::min(step, size - at)));
      writer.finish();
      CHECK(as_text(text) == encode_armor(armor_label::message, data));
    }
  }
}

TEST_CASE("the checksum is the one everybody computes") {
  CHECK(encode_armor(armor_label::message, as_bytes("hello")) == hello);
}

TEST_CASE("forms that programs write are all read") {
  CHECK(as_text(decode(hello)) == "hello");
  CHECK(as_text(decode(replaced(hello, "\n", "\r\n"))) == "hello");
  CHECK(as_text(decode(replaced(hello, "=R/WK\n", ""))) == "hello");         // no checksum
  CHECK(as_text(decode(replaced(hello, "=R/WK\n", "=AAAA\n"))) == "hello");  // a wrong one: not to be refused for
  CHECK(as_text(decode(replaced(hello, "\n\n", "\nVersion: GnuPG v1.4.23 (GNU/Linux)\nComment: a: b\n\n"))) == "hello");
  CHECK(as_text(decode(replaced(hello, "\n\n", "\nComment: " + std::string(5000, 'x') + "\n \t\n"))) == "hello");
  CHECK(as_text(decode(replaced(hello, "\n\n", "\n"))) == "hello");  // no empty line
  CHECK(as_text(decode("Dear customer,\n\nhere it is:\n" + hello + "\n\n  \r\n")) == "hello");
  CHECK(as_text(decode(replaced(hello, "aGVsbG8=", "aGV\nsbG\n8="))) == "hello");  // lines of any width
  CHECK(as_text(decode(hello.substr(0, hello.size() - 1))) == "hello");            // no newline at the end
}

TEST_CASE("damage and deceit are refused") {
  CHECK(code_of(replaced(hello, "aGVs", "aG!s")) == errc::bad_message);
  CHECK(code_of(replaced(hello, "aGVsbG8=", "aGVsb===")) == errc::bad_message);
  CHECK(code_of(replaced(hello, "aGVsbG8=", "aGVsbG8")) == errc::bad_message);
  CHECK(code_of(replaced(hello, "END PGP MESSAGE", "END PGP SIGNATURE")) == errc::bad_message);
  CHECK(code_of(hello + hello) == errc::bad_message);
  CHECK(code_of(hello + "more") == errc::bad_message);
  CHECK(code_of("") == errc::not_openpgp);
  CHECK(code_of("just text\n") == errc::not_openpgp);
  CHECK(code_of(replaced(hello, "PGP MESSAGE", "PGP PUBLIC KEY BLOCK")) == errc::bad_message);
  CHECK(code_of(replaced(hello, "-----BEGIN", ":-----BEGIN")) == errc::not_openpgp);
  CHECK(code_of(replaced(hello, "\n\n", "\nComment: " + std::string(20000, 'x') + "\n\n")) == errc::bad_message);
  CHECK(code_of(std::string(100000, '\n') + hello) == errc::not_openpgp);
}

TEST_CASE("text that is cut anywhere is truncated") {
  const std::string begin = "-----BEGIN PGP MESSAGE-----\n";
  for (std::size_t size = begin.size(); size + 1 < hello.size(); ++size) {
    CAPTURE(size);
    CHECK(code_of(hello.substr(0, size)) == errc::truncated);
  }
}

TEST_CASE("a text may hold many blocks, and a damaged one does not stop the others") {
  const std::string text = "intro\n" + encode_armor(armor_label::public_key, pattern(100)) + "between\r\n" +
                           replaced(hello, "aGVs", "a?Vs") + replaced(hello, "\n-----END PGP MESSAGE-----", "") +
                           ":-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n" +
                           encode_armor(armor_label::secret_key, pattern(5)) + "outro";
  CHECK(has_armor(text));
  const auto blocks = decode_armor(text);
  REQUIRE(blocks.size() == 4);
  CHECK(blocks[0].label == armor_label::public_key);
  CHECK(blocks[0].octets == pattern(100));
  CHECK(blocks[0].damage.empty());
  CHECK(!blocks[1].damage.empty());
  CHECK(!blocks[2].damage.empty());
  CHECK(blocks[3].label == armor_label::secret_key);
  CHECK(blocks[3].octets == pattern(5));
}

TEST_CASE("of a clear-signed text the signature block is found") {
  const std::string text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\ntext\n- -----BEGIN PGP MESSAGE-----\n" +
                           encode_armor(armor_label::signature, pattern(30));
  const auto blocks = decode_armor(text);
  REQUIRE(blocks.size() == 1);
  CHECK(blocks[0].label == armor_label::signature);
  CHECK(blocks[0].octets == pattern(30));
}
