#include "openpgp/encrypted_data.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "aead_writer.hpp"

using namespace fussy;
using namespace fussy::openpgp;

namespace {

byte_vector pattern(std::size_t size) {
  byte_vector out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 131 + i / 251);
  return out;
}

session_key random_key(symmetric_algorithm cipher) {
  session_key key{cipher, secret_vector(key_octets(cipher))};
  randomize(key.key);
  return key;
}

byte_vector write_mdc(const session_key& key, byte_view plaintext, std::size_t step = 5000) {
  byte_vector body;
  mdc_encryptor writer(any_writer(vector_writer(body)), key);
  for (; !plaintext.empty(); plaintext = plaintext.subspan(std::min(step, plaintext.size())))
    writer.write(plaintext.first(std::min(step, plaintext.size())));
  writer.finish();
  return body;
}

byte_vector write_v2(const session_key& key, byte_view plaintext, std::size_t step) {
  byte_vector body;
  aead_encryptor writer(any_writer(vector_writer(body)), key);
  for (; !plaintext.empty(); plaintext = plaintext.subspan(std::min(step, plaintext.size())))
    writer.write(plaintext.first(std::min(step, plaintext.size())));
  writer.finish();
  return body;
}

byte_vector decrypt_body(byte_view body, const session_key& key, bool gnupg = false, std::size_t room = 70000) {
  byte_vector whole;
  append_packet(whole,
                gnupg ? packet_type::gnupg_aead_encrypted_data : packet_type::encrypted_and_integrity_protected_data,
                body);
  packet_reader container{any_reader(memory_reader(whole))};
  container.next();
  const container_header header = read_container_header(container);
  const auto opened = decrypt(container, header, key);
  byte_vector out, part(room);
  while (const std::size_t n = opened->read(part))
    out.insert(out.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(n));
  return out;
}

errc code_of(byte_view body, const session_key& key, bool gnupg = false) {
  try {
    decrypt_body(body, key, gnupg);
  } catch (const error& e) {
    return e.code();
  }
  return errc::success;
}

constexpr symmetric_algorithm all_ciphers[] = {
    symmetric_algorithm::idea,        symmetric_algorithm::triple_des,  symmetric_algorithm::cast5,
    symmetric_algorithm::blowfish,    symmetric_algorithm::aes128,      symmetric_algorithm::aes192,
    symmetric_algorithm::aes256,      symmetric_algorithm::twofish,     symmetric_algorithm::camellia128,
    symmetric_algorithm::camellia192, symmetric_algorithm::camellia256,
};

}  // namespace

TEST_SUITE_BEGIN("encrypted_data");

TEST_CASE("SEIPD v1: what is encrypted with any cipher is decrypted, whatever its size") {
  for (const symmetric_algorithm cipher : all_ciphers)
    for (const std::size_t size : {0U, 1U, 7U, 8U, 15U, 16U, 17U, 1000U, 131072U, 300001U}) {
      CAPTURE(std::string(name(cipher)));
      CAPTURE(size);
      const session_key key = random_key(cipher);
      const byte_vector data = pattern(size);
      const byte_vector body = write_mdc(key, data);
      CHECK(decrypt_body(body, key) == data);
      CHECK(decrypt_body(body, key, false, 1000) == data);
    }
}

TEST_CASE("SEIPD v1: sizes around the 128 KiB pieces") {
  const session_key key = random_key(symmetric_algorithm::aes128);
  for (std::size_t size = 131072 - 60; size < 131072 + 4; ++size) {
    const byte_vector data = pattern(size);
    CHECK(decrypt_body(write_mdc(key, data), key) == data);
  }
}

TEST_CASE("SEIPD v1: every flipped bit and every cut is noticed") {
  const session_key key = random_key(symmetric_algorithm::aes256);
  const byte_vector body = write_mdc(key, pattern(100));
  for (std::size_t bit = 8; bit < body.size() * 8; ++bit) {
    byte_vector bad = body;
    bad[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    CHECK(code_of(bad, key) == errc::tampered);
  }
  for (std::size_t size = 1; size < body.size(); ++size)
    CHECK(code_of(byte_view(body).first(size), key) == errc::tampered);
  byte_vector longer = body;
  longer.push_back(std::byte{0});
  CHECK(code_of(longer, key) == errc::tampered);
  CHECK(code_of(body, random_key(symmetric_algorithm::aes256)) == errc::tampered);
}

TEST_CASE("AEAD: every cipher, mode and chunk size, sizes around the chunks") {
  for (const bool gnupg : {false, true})
    for (const symmetric_algorithm cipher : {symmetric_algorithm::aes128, symmetric_algorithm::aes256,
                                             symmetric_algorithm::twofish, symmetric_algorithm::camellia256})
      for (const aead_algorithm aead : {aead_algorithm::eax, aead_algorithm::ocb, aead_algorithm::gcm})
        for (const unsigned chunk_size : {0U, 1U, 6U}) {
          if (gnupg && aead == aead_algorithm::gcm) continue;
          const session_key key = random_key(cipher);
          const std::size_t chunk = std::size_t{64} << chunk_size;
          for (const std::size_t size :
               {std::size_t{0}, std::size_t{1}, chunk - 1, chunk, chunk + 1, 3 * chunk, 5 * chunk + 7}) {
            CAPTURE(std::string(name(cipher)));
            CAPTURE(std::string(name(aead)));
            CAPTURE(size);
            const byte_vector data = pattern(size);
            const byte_vector body = test::write_aead({gnupg, cipher, aead, chunk_size}, key.key, data);
            CHECK(decrypt_body(body, key, gnupg) == data);
            CHECK(decrypt_body(body, key, gnupg, 100) == data);
          }
        }
}

TEST_CASE("SEIPD v2: what is encrypted is decrypted, whatever its size and however it is written") {
  constexpr std::size_t chunk = 256 * 1024;
  for (const symmetric_algorithm cipher : {symmetric_algorithm::aes128, symmetric_algorithm::aes256})
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 12345}) {
      CAPTURE(std::string(name(cipher)));
      CAPTURE(size);
      const session_key key = random_key(cipher);
      const byte_vector data = pattern(size);
      for (const std::size_t step : {std::size_t{777}, chunk, std::size_t{5'000'000}}) {
        const byte_vector body = write_v2(key, data, step);
        const std::size_t chunks = (size + chunk - 1) / chunk;
        CHECK(body.size() == 4 + 32 + size + (chunks + 1) * aead_tag_octets);
        CHECK(decrypt_body(body, key) == data);
      }
      CHECK(write_v2(key, data, 1000) != write_v2(key, data, 1000));  // the salt is fresh
      byte_vector bad = write_v2(key, data, 1000);
      bad.back() ^= std::byte{1};
      CHECK(code_of(bad, key) == errc::tampered);
    }
}

TEST_CASE("AEAD: large chunks; those that memory has no room for are streamed") {
  const byte_vector data = pattern(9'000'000);
  const session_key key = random_key(symmetric_algorithm::aes256);
  for (const unsigned chunk_size : {16U, 17U, 21U}) {
    CHECK(decrypt_body(test::write_aead({true, *key.cipher, aead_algorithm::ocb, chunk_size}, key.key, data), key,
                       true) == data);
    CHECK(decrypt_body(test::write_aead({true, *key.cipher, aead_algorithm::eax, chunk_size}, key.key, data), key,
                       true) == data);
  }
  CHECK(decrypt_body(test::write_aead({false, *key.cipher, aead_algorithm::gcm, 16}, key.key, data), key) == data);
}

TEST_CASE("AEAD: every flipped bit and every cut is noticed") {
  for (const bool gnupg : {false, true}) {
    const session_key key = random_key(symmetric_algorithm::aes256);
    const byte_vector data = pattern(150);
    const byte_vector body = test::write_aead({gnupg, *key.cipher, aead_algorithm::ocb, 0}, key.key, data);
    for (std::size_t bit = 0; bit < body.size() * 8; ++bit) {
      byte_vector bad = body;
      bad[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
      const errc code = code_of(bad, key, gnupg);
      const bool in_header = bit < 4 * 8;  // version, cipher, mode, chunk size
      CHECK((code == errc::tampered || (in_header && code == errc::cannot_decrypt)));
    }
    for (std::size_t size = 0; size < body.size(); ++size)
      CHECK(code_of(byte_view(body).first(size), key, gnupg) != errc::success);
    byte_vector longer = body;
    longer.push_back(std::byte{0});
    CHECK(code_of(longer, key, gnupg) == errc::tampered);
  }
}

TEST_CASE("attack: the last chunk or the last chunks of an AEAD packet are cut off") {
  const session_key key = random_key(symmetric_algorithm::aes256);
  const byte_vector body = test::write_aead({false, *key.cipher, aead_algorithm::ocb, 0}, key.key, pattern(64 * 3));
  constexpr std::size_t head = 4 + 32, chunk = 64 + 16;
  for (const std::size_t chunks : {0U, 1U, 2U}) {
    byte_vector cut(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(head + chunks * chunk));
    cut.insert(cut.end(), body.end() - 16, body.end());  // with the final tag
    CHECK(code_of(cut, key) == errc::tampered);
  }
}

TEST_CASE("versions, ciphers and modes that are not known are refused before anything is decrypted") {
  const session_key key = random_key(symmetric_algorithm::aes256);
  const auto head = [&](std::initializer_list<unsigned> octets, bool gnupg = false) {
    byte_vector body;
    for (unsigned o : octets) body.push_back(static_cast<std::byte>(o));
    body.resize(100);
    return code_of(body, key, gnupg);
  };
  CHECK(head({0}) == errc::cannot_decrypt);
  CHECK(head({3}) == errc::cannot_decrypt);
  CHECK(head({2, 3, 2, 6}) == errc::cannot_decrypt);  // CAST5
  CHECK(head({2, 99, 2, 6}) == errc::cannot_decrypt);
  CHECK(head({2, 9, 4, 6}) == errc::cannot_decrypt);
  CHECK(head({2, 9, 2, 17}) == errc::cannot_decrypt);
  CHECK(head({2, 9, 2}, true) == errc::cannot_decrypt);
  CHECK(head({1, 9, 3, 6}, true) == errc::cannot_decrypt);  // GCM
  CHECK(head({1, 9, 2, 57}, true) == errc::cannot_decrypt);
  CHECK(code_of({}, key) == errc::bad_message);
}
