/// @file packet.hpp  Packet framing (RFC 9580 §4.2, RFC 4880 §4.2): headers of the old and the new format, every form
/// of length; over a stream with bounded memory, and over octets in memory. Threads: distinct objects are independent;
/// one object needs outside locking. Errors:  fussy::error: truncated, bad_message.
#pragma once

#include <fussy/bytes.hpp>
#include <fussy/io.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace fussy::openpgp {

/// Packet Type IDs (RFC 9580 §5); 9 to 20 keep their names of RFC 4880 where those are better known.
enum class packet_type : std::uint8_t {
  public_key_encrypted_session_key = 1,
  signature = 2,
  symmetric_key_encrypted_session_key = 3,
  one_pass_signature = 4,
  secret_key = 5,
  public_key = 6,
  secret_subkey = 7,
  compressed_data = 8,
  symmetrically_encrypted_data = 9,  ///< without integrity protection
  marker = 10,
  literal_data = 11,
  trust = 12,
  user_id = 13,
  public_subkey = 14,
  user_attribute = 17,
  encrypted_and_integrity_protected_data = 18,
  modification_detection_code = 19,
  gnupg_aead_encrypted_data = 20,  ///< LibrePGP's; RFC 9580 reserves the number
  padding = 21,
};

/// What it is called in messages for people: "signature packet", "packet of unknown type 37".
std::string describe(packet_type type);

/// An unknown packet of these types makes the whole sequence invalid; of the others it is ignored (RFC 9580 §4.3).
constexpr bool is_critical(packet_type type) noexcept { return static_cast<unsigned>(type) < 40; }

/// Only these may have a body of partial lengths (RFC 9580 §4.2.1.4).
constexpr bool may_be_partial(packet_type type) noexcept {
  switch (type) {
    case packet_type::compressed_data:
    case packet_type::symmetrically_encrypted_data:
    case packet_type::literal_data:
    case packet_type::encrypted_and_integrity_protected_data:
    case packet_type::gnupg_aead_encrypted_data:
      return true;
    default:
      return false;
  }
}

// ---- In memory ------------------------------------------------------------------------------------------------------

/// A packet in memory that somebody else owns.
struct packet {
  packet_type type{};
  byte_view body;
  byte_view whole;  ///< header and body
};

/// Walks the packets of a key block or of detached signatures, front to back.
class packet_sequence {
public:
  explicit packet_sequence(byte_view block) noexcept : block_(block), rest_(block) {}

  /// The next packet, or nothing at the end. After an exception the walk is over: there is no way to find the next
  /// header behind a damaged one.
  /// @throws truncated    the packet is longer than what is there.
  /// @throws bad_message  no packet header, or a partial or indeterminate length, which no such packet may have.
  std::optional<packet> next();
  /// Octets in front of the packet that comes next.
  std::size_t offset() const noexcept { return block_.size() - rest_.size(); }

private:
  byte_view block_, rest_;
};

// ---- Over a stream --------------------------------------------------------------------------------------------------

/// A reader that can be looked into before it is read from. Large reads do not pass through its buffer.
class buffered_reader {
public:
  explicit buffered_reader(any_reader source, std::size_t capacity = 64 * 1024);

  /// The next `count` octets (at most the capacity), fewer only where the end is near. Valid until the next call.
  byte_view peek(std::size_t count);
  /// Whatever the buffer holds, at least one octet unless the end is reached. Valid until the next call.
  byte_view peek_some();
  /// Drops octets that peek has shown.
  void skip(std::size_t count) noexcept;
  std::size_t read(byte_span room);
  bool at_end() { return peek(1).empty(); }
  /// Octets consumed so far.
  std::uint64_t position() const noexcept { return position_; }

private:
  void fill();

  any_reader source_;
  std::size_t capacity_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t first_ = 0, last_ = 0;
  std::uint64_t position_ = 0;
  bool ended_ = false;
};

/// Reads packets one after the other, bodies piecewise. Memory: its buffer, whatever lengths are declared.
class packet_reader {
public:
  explicit packet_reader(any_reader source) : source_(std::move(source)) {}
  explicit packet_reader(buffered_reader source) : source_(std::move(source)) {}

  /// Goes to the next packet; the body of the one before must have been read. Nothing at the end of the stream.
  std::optional<packet_type> next();
  /// Octets of the current body: as many as fit into `room`, fewer only at its end; 0 is the end.
  /// @throws truncated  the stream ends before the body does.
  std::size_t read(byte_span room);
  /// The rest of the body at once. @throws message_too_large  it has more than `max` octets.
  byte_vector read_body(std::size_t max);
  /// The rest of the body is read and forgotten. @return its octets. @throws message_too_large  it has more than `max`.
  std::uint64_t skip_body(std::uint64_t max);

  packet_type type() const noexcept { return type_; }
  /// The body reaches to the end of the stream (old format, indeterminate length): where it ends is nobody's promise.
  bool indeterminate() const noexcept { return indeterminate_; }
  /// The octets behind the last packet, for who wants to look at them before next().
  buffered_reader& source() noexcept { return source_; }

private:
  void read_old_length(unsigned length_type);
  void read_new_length();
  byte_view expect(std::size_t count);

  buffered_reader source_;
  packet_type type_{};
  std::uint64_t left_ = 0;  // of the current part of the body
  bool partial_ = false, indeterminate_ = false;
};

// ---- Writing --------------------------------------------------------------------------------------------------------

/// Appends a header of the new format for a body of `size` octets, in its shortest form.
void append_packet_header(byte_vector& out, packet_type type, std::uint32_t size);
/// Appends a whole packet.
void append_packet(byte_vector& out, packet_type type, byte_view body);

/// Writer for a body of unknown length: writes the header, then parts of `part_size` octets, and a last part from
/// finish(), which must be called once. Types of may_be_partial only.
class partial_body_writer {
public:
  /// @param part_size_bits  part size as a power of two, 9 to 30.
  partial_body_writer(any_writer to, packet_type type, unsigned part_size_bits = 16);
  void write(byte_view bytes);
  void finish();

private:
  any_writer to_;
  unsigned bits_;
  byte_vector part_;
};

}  // namespace fussy::openpgp
