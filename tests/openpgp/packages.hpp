// Makes messages packet by packet, right and wrong ones, with secret keys of a key ring.
#pragma once

#include <fussy/openpgp.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "openpgp/crypto.hpp"
#include "openpgp/encrypted_data.hpp"
#include "openpgp/keyring_state.hpp"
#include "openpgp/packet.hpp"
#include "openpgp/signature.hpp"

namespace test {

using fussy::byte_vector;
using fussy::byte_view;

inline byte_vector operator+(byte_vector left, const byte_vector& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

inline byte_vector to_octets(std::string_view text) {
  const byte_view bytes = fussy::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

inline byte_vector packet(fussy::openpgp::packet_type type, const byte_vector& body) {
  byte_vector out;
  fussy::openpgp::append_packet(out, type, body);
  return out;
}

/// A literal data packet.
inline byte_vector literal(std::string_view content, char format = 'b', std::string_view name = {}) {
  byte_vector body{static_cast<std::byte>(format), static_cast<std::byte>(name.size())};
  return packet(fussy::openpgp::packet_type::literal_data,
                body + to_octets(name) + byte_vector(4) + to_octets(content));
}

/// A compressed data packet that does not compress.
inline byte_vector uncompressed(const byte_vector& inside) {
  return packet(fussy::openpgp::packet_type::compressed_data, byte_vector{std::byte{0}} + inside);
}

inline byte_vector marker() { return packet(fussy::openpgp::packet_type::marker, to_octets("PGP")); }

/// The open secret key with this fingerprint.
inline const fussy::openpgp::secret_key& secret(const fussy::openpgp::keyring& ring, std::string_view fingerprint) {
  for (const auto& s : ring.internals().secrets)
    if (s->key().fingerprint.hex() == fingerprint)
      if (const auto* open = ring.internals().unlock(*s)) return *open;
  throw std::runtime_error("no open secret key " + std::string(fingerprint));
}

/// The two packets of one signature.
struct signed_pair {
  byte_vector one_pass, signature;
};

inline signed_pair sign(
    const fussy::openpgp::secret_key& key, std::string_view content,
    fussy::openpgp::hash_algorithm hash = fussy::openpgp::hash_algorithm::sha512,
    fussy::openpgp::signature_type type = fussy::openpgp::signature_type::binary,
    fussy::openpgp::time_point at = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()),
    bool nested = true) {
  using namespace fussy::openpgp;
  byte_vector salt(key.key.version == 6 ? salt_octets(hash) : 0);
  randomize(salt);
  const signature_maker maker(key, hash, type, at, std::move(salt));
  hash_context context = maker.begin();
  context.update(fussy::as_bytes(content));

  const bool v6 = key.key.version == 6;
  byte_vector head;
  put_u8(head, v6 ? 6 : 3);
  put_u8(head, static_cast<std::uint8_t>(type));
  put_u8(head, static_cast<std::uint8_t>(hash));
  put_u8(head, static_cast<std::uint8_t>(key.key.algorithm));
  if (v6) {
    put_u8(head, static_cast<std::uint8_t>(maker.salt().size()));
    put(head, maker.salt());
    put(head, key.key.fingerprint.octets());
  } else {
    put_be(head, key.key.id, 8);
  }
  put_u8(head, nested ? 1 : 0);
  return {packet(packet_type::one_pass_signature, head), packet(packet_type::signature, maker.finish(context))};
}

/// One-pass header, literal, signature.
inline byte_vector signed_message(const fussy::openpgp::secret_key& key, std::string_view content) {
  const signed_pair s = sign(key, content);
  return s.one_pass + literal(content) + s.signature;
}

/// A session key packet of version 3.
inline byte_vector session_key_packet(const fussy::openpgp::public_key& recipient,
                                      const fussy::openpgp::session_key& key, bool hidden = false) {
  using namespace fussy::openpgp;
  byte_vector body;
  put_u8(body, 3);
  put_be(body, hidden ? 0 : recipient.id, 8);
  put_u8(body, static_cast<std::uint8_t>(recipient.algorithm));
  put(body, encrypt_session_key(recipient, 3, key));
  return packet(packet_type::public_key_encrypted_session_key, body);
}

inline fussy::openpgp::session_key random_session_key(
    fussy::openpgp::symmetric_algorithm cipher = fussy::openpgp::symmetric_algorithm::aes256) {
  fussy::openpgp::session_key key{cipher, fussy::openpgp::secret_vector(fussy::openpgp::key_octets(cipher))};
  fussy::openpgp::randomize(key.key);
  return key;
}

/// A SEIPD v1 packet.
inline byte_vector encrypted(const fussy::openpgp::session_key& key, const byte_vector& inside) {
  byte_vector body;
  fussy::openpgp::mdc_encryptor writer(fussy::any_writer(fussy::vector_writer(body)), key);
  writer.write(inside);
  writer.finish();
  return packet(fussy::openpgp::packet_type::encrypted_and_integrity_protected_data, body);
}

/// How reading ended.
struct result {
  fussy::errc code = fussy::errc::success;
  std::string message;
  std::string content;  ///< what was read, proven or not
  std::vector<fussy::openpgp::signer> signers;
  bool encrypted = false;
};

inline result read(byte_view message, const fussy::openpgp::keyring& ring, const fussy::openpgp::policy& rules = {},
                   std::size_t room = 65536) {
  result r;
  try {
    fussy::openpgp::message_reader reader(fussy::any_reader(fussy::memory_reader(message)), ring, rules);
    byte_vector part(room);
    while (const std::size_t n = reader.read(part)) r.content += fussy::as_text(byte_view(part).first(n));
    const auto proof = reader.finish();
    r.signers = proof.signers();
    r.encrypted = proof.encrypted();
  } catch (const fussy::error& e) {
    r.code = e.code();
    r.message = e.what();
    if (e.parts().what.empty() || e.parts().why.empty() || e.parts().remedy.empty())
      throw std::logic_error("a message lacks one of its three parts: " + r.message);
  }
  return r;
}

inline result read(std::string_view message, const fussy::openpgp::keyring& ring,
                   const fussy::openpgp::policy& rules = {}) {
  return read(fussy::as_bytes(message), ring, rules);
}

}  // namespace test
