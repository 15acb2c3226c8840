// Writes the AEAD containers that the library only reads, straight from the two specifications: RFC 9580 §5.13.2 and
// LibrePGP §5.16.
#pragma once

#include <botan/aead.h>

#include "openpgp/botan_seam.hpp"
#include "openpgp/crypto.hpp"
#include "openpgp/packet.hpp"

namespace test {

struct aead_form {
  bool gnupg = false;  ///< packet 20 instead of SEIPD v2
  fussy::openpgp::symmetric_algorithm cipher = fussy::openpgp::symmetric_algorithm::aes256;
  fussy::openpgp::aead_algorithm aead = fussy::openpgp::aead_algorithm::ocb;
  unsigned chunk_size = 0;
};

/// Body of the packet.
inline fussy::byte_vector write_aead(const aead_form& form, const fussy::openpgp::secret_vector& session_key,
                                     fussy::byte_view plaintext) {
  using namespace fussy;
  using namespace fussy::openpgp;
  const std::size_t nonce_size = nonce_octets(form.aead);
  byte_vector body{static_cast<std::byte>(form.gnupg ? 1 : 2), static_cast<std::byte>(form.cipher),
                   static_cast<std::byte>(form.aead), static_cast<std::byte>(form.chunk_size)};
  byte_vector start(form.gnupg ? nonce_size : 32);
  randomize(start);

  byte_vector associated{static_cast<std::byte>(form.gnupg ? 0xd4 : 0xd2)};
  put(associated, body);
  put(body, start);

  secret_vector key = session_key;
  byte_vector iv = start;
  if (!form.gnupg) {
    const std::size_t key_size = key_octets(form.cipher);
    const secret_vector derived =
        hkdf(hash_algorithm::sha256, session_key, start, associated, key_size + nonce_size - 8);
    key.assign(derived.begin(), derived.begin() + static_cast<std::ptrdiff_t>(key_size));
    iv.assign(derived.begin() + static_cast<std::ptrdiff_t>(key_size), derived.end());
  }

  const auto mode =
      Botan::AEAD_Mode::create_or_throw(std::string(name(form.cipher)) + "/" + name(form.aead), seam::encrypting);
  mode->set_key(as_uint8(byte_view(key)), key.size());
  std::uint64_t index = 0;
  const auto seal = [&](byte_view chunk, bool last) {
    byte_vector nonce = iv, data = associated;
    if (form.gnupg) {
      const std::uint64_t tail = load_be(byte_view(nonce).last(8)) ^ index;
      store_be(byte_span(nonce).last(8), tail);
      put_be(data, index, 8);
    } else {
      put_be(nonce, index, 8);
    }
    if (last) put_be(data, plaintext.size(), 8);
    mode->reset();
    mode->set_associated_data(as_uint8(byte_view(data)), data.size());
    mode->start(as_uint8(byte_view(nonce)), nonce.size());
    Botan::secure_vector<std::uint8_t> buffer(as_uint8(chunk), as_uint8(chunk) + chunk.size());
    mode->finish(buffer);
    put(body, as_bytes(buffer.data(), buffer.size()));
    ++index;
  };
  // One that memory has no room for is larger than the text.
  const std::uint64_t chunk = std::uint64_t{1} << (form.chunk_size + 6);
  for (byte_view rest = plaintext; !rest.empty();) {
    const byte_view part = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(chunk, rest.size())));
    seal(part, false);
    rest = rest.subspan(part.size());
  }
  seal({}, true);
  return body;
}

}  // namespace test
