/// @file encrypted_data.hpp  The containers of encrypted packets, as streams: SEIPD v1 (RFC 9580 §5.13.1), SEIPD v2
/// (§5.13.2) and GnuPG's AEAD packet (LibrePGP §5.16). The encrypted packet without integrity protection has no reader.
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error: tampered for whatever is wrong inside, truncated, cannot_decrypt, bad_message.
#pragma once

#include <fussy/io.hpp>

#include <cstdint>
#include <memory>

#include "algorithms.hpp"
#include "crypto.hpp"
#include "packet.hpp"
#include "wire.hpp"

namespace fussy::openpgp {

/// What stands in the clear at the head of an encrypted packet.
struct container_header {
  packet_type type{};
  std::uint8_t version = 0;
  symmetric_algorithm cipher{};  ///< AEAD only: SEIPD v1 keeps it in the session key packet
  aead_algorithm aead{};
  std::uint8_t chunk_size = 0;
  byte_vector start;  ///< salt of SEIPD v2, IV of the GnuPG packet

  bool is_aead() const noexcept { return cipher != symmetric_algorithm::plaintext; }
  /// Version of the session key packets that go with it (RFC 9580 §10.3.2.1).
  unsigned session_key_version() const noexcept {
    return type == packet_type::encrypted_and_integrity_protected_data && version == 2 ? 6 : 3;
  }
};

/// Reads the head of the current packet, which is one of the three.
/// @throws bad_message, cannot_decrypt  a version, cipher, mode or chunk size that is not known.
container_header read_container_header(packet_reader& container);

/// Plaintext of a container. A `reader`; 0 only after everything was proven to be unchanged.
class decryptor {
public:
  virtual ~decryptor() = default;
  /// @throws tampered   what is proven at the end (or at a chunk's end) is not.
  /// @throws truncated  the container ends early.
  virtual std::size_t read(byte_span room) = 0;
  /// Nothing is yielded before it was proven (though not that something follows it).
  virtual bool proves_first() const noexcept = 0;
};

/// @param container  outlives the decryptor; its head has been read.
std::unique_ptr<decryptor> decrypt(packet_reader& container, const container_header& header, const session_key& key);

/// Writer of the body of a SEIPD v1 packet, version octet included. Call finish() once.
class mdc_encryptor {
public:
  /// @param key  its cipher is set.
  mdc_encryptor(any_writer to, const session_key& key);
  mdc_encryptor(mdc_encryptor&&) noexcept;
  mdc_encryptor& operator=(mdc_encryptor&&) noexcept;
  ~mdc_encryptor();
  void write(byte_view bytes);
  void finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Writer of the body of a SEIPD v2 packet with OCB, which every reader of RFC 9580 has. Call finish() once.
class aead_encryptor {
public:
  /// @param key  its cipher is set, one of 16-octet blocks.
  aead_encryptor(any_writer to, const session_key& key);
  aead_encryptor(aead_encryptor&&) noexcept;
  aead_encryptor& operator=(aead_encryptor&&) noexcept;
  ~aead_encryptor();
  void write(byte_view bytes);
  void finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace fussy::openpgp
