/// @file armor.hpp  ASCII armor (RFC 9580 §6, RFC 4880 §6): decoding over a stream and in memory, encoding.
/// The checksum is never checked: RFC 9580 §6.1 forbids to refuse for it, and what armor carries proves itself.
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error: truncated, bad_message, not_openpgp.
#pragma once

#include <fussy/bytes.hpp>
#include <fussy/io.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "packet.hpp"

namespace fussy::openpgp {

/// The words of the BEGIN line.
namespace armor_label {
inline constexpr std::string_view message = "PGP MESSAGE";
inline constexpr std::string_view public_key = "PGP PUBLIC KEY BLOCK";
inline constexpr std::string_view secret_key = "PGP PRIVATE KEY BLOCK";
inline constexpr std::string_view signature = "PGP SIGNATURE";
inline constexpr std::string_view signed_text = "PGP SIGNED MESSAGE";  ///< clear-signed: text, then a signature block
}  // namespace armor_label

// ---- In memory ------------------------------------------------------------------------------------------------------

struct armor_block {
  std::string label;   ///< armor_label::…, as it is written there
  byte_vector octets;  ///< decoded
  std::string damage;  ///< why decoding stopped early; empty: the block is whole
};

/// Every block of a text, in order, with whatever stands around and between them ignored; a damaged block is reported
/// in its place and does not stop those behind it. The text part of a clear-signed message is left out.
/// A header line with a colon in front of the dashes (revocation certificates of gpg) begins no block.
std::vector<armor_block> decode_armor(std::string_view text);

/// True where a text has a line `-----BEGIN PGP `; binary OpenPGP data begin with an octet of 128 or more.
bool has_armor(std::string_view text) noexcept;

/// One block: 64 columns, LF, with checksum (GnuPG 2.2 takes its absence badly), no header.
std::string encode_armor(std::string_view label, byte_view octets);

// ---- Over a stream --------------------------------------------------------------------------------------------------

/// Decodes the one block of a stream. A `reader`. In front of the block there may be text of up to `max_preamble`
/// octets; behind it only white space. (message_reader comes here only when the first octet of all is ASCII.)
class armor_reader {
public:
  static constexpr std::size_t max_preamble = 64 * 1024;
  static constexpr std::size_t max_headers = 64 * 1024;
  static constexpr std::size_t max_white_space = 64 * 1024;  ///< at a stretch

  /// @param text   owned; its position is where the text starts.
  /// @param label  what is wanted; another block is refused as bad_message, no block as not_openpgp.
  armor_reader(buffered_reader text, std::string_view label) : text_(std::move(text)), label_(label) {}
  std::size_t read(byte_span room);

private:
  void find_begin();
  void skip_headers();
  std::size_t decode(byte_span room);
  void finish_data(unsigned character);
  void read_end_line();
  bool read_line(std::string& line, std::size_t max);

  buffered_reader text_;
  std::string label_;
  std::uint32_t bits_ = 0;  // sextets that do not make a whole group yet
  unsigned sextets_ = 0;
  byte_vector rest_;      // octets of the last, short group
  std::size_t idle_ = 0;  // white space since the last character of data
  bool begun_ = false, ended_ = false;
};

/// Writer that armors what is written into it. Call finish() once.
class armor_writer {
public:
  armor_writer(any_writer to, std::string_view label);
  void write(byte_view bytes);
  void finish();

private:
  any_writer to_;
  std::string label_;
  byte_vector pending_;  // less than a line
  std::uint32_t crc_;
};

}  // namespace fussy::openpgp
