// One more signature for a message that is finished: headers in front, signatures behind, the rest is copied.
#include <fussy/codec.hpp>
#include <fussy/openpgp.hpp>

#include <array>
#include <utility>

#include "armor.hpp"
#include "packet.hpp"
#include "signing.hpp"

namespace fussy::openpgp {
namespace {

constexpr std::size_t max_small_packet = 128 * 1024;

[[noreturn]] void refuse(errc code, std::string why,
                         std::string remedy = "use a file made by fussy-pack or gpg --sign") {
  throw error(code, {.what = "cannot add a signature", .why = std::move(why), .remedy = std::move(remedy)});
}

bool is_armored(buffered_reader& octets) {
  const byte_view first = octets.peek(1);
  if (first.empty()) refuse(errc::not_openpgp, "the message is empty");
  return (first[0] & std::byte{0x80}) == std::byte{};
}

packet_reader packets_of(any_reader message) {
  buffered_reader octets(std::move(message));
  if (!is_armored(octets)) return packet_reader(std::move(octets));
  return packet_reader(any_reader(armor_reader(std::move(octets), armor_label::message)));
}

/// The body of a packet, as a reader. Refers to the packets it is read from.
class body_reader {
public:
  explicit body_reader(packet_reader& packets) : packets_(&packets) {}
  std::size_t read(byte_span room) { return packets_->read(room); }

private:
  packet_reader* packets_;
};

codec::format format_of(packet_reader& compressed) {
  std::array<std::byte, 1> algorithm{};
  if (compressed.read(algorithm) == 0) refuse(errc::truncated, "its compressed data are empty");
  switch (static_cast<compression_algorithm>(algorithm[0])) {
    case compression_algorithm::zip:
      return codec::format::deflate;
    case compression_algorithm::zlib:
      return codec::format::zlib;
    case compression_algorithm::bzip2:
      return codec::format::bzip2;
    default:
      refuse(errc::bad_message, "its compression is of a kind that is not known");
  }
}

class signature_adder {
public:
  signature_adder(any_writer to, const keyring& keys, const sign_options& how)
      : to_(std::move(to)), keys_(keys), signer_(keys_.internals(), how) {
    if (how.armor) armor_.emplace(by_reference(to_), armor_label::message);
  }

  void run(packet_reader& packets) {
    while (const auto type = packets.next()) {
      if (*type == packet_type::compressed_data && !seen_literal_ && heads_.empty()) {
        if (std::exchange(compressed_, true)) refuse(errc::bad_message, "it is compressed twice");
        packet_reader inside(codec::decompress(format_of(packets), codec::trailing::ignore)(body_reader(packets)));
        run(inside);
        packets.skip_body(max_small_packet);
      } else {
        take(packets, *type);
      }
    }
  }

  void finish() {
    if (!seen_literal_) refuse(errc::bad_message, "it has no content");
    if (signatures_ == 0) refuse(errc::no_signature, "it has no signature yet", "sign it with fussy-sign");
    out().write(signer_.signatures());
    if (armor_) armor_->finish();
  }

private:
  void take(packet_reader& packets, packet_type type) {
    switch (type) {
      case packet_type::one_pass_signature:
        if (seen_literal_) refuse(errc::bad_message, "a one-pass header stands behind its content");
        return keep(packets, type);
      case packet_type::signature:
        ++signatures_;
        return keep(packets, type);
      case packet_type::literal_data:
        return copy_literal(packets);
      case packet_type::marker:
      case packet_type::padding:
        packets.skip_body(max_small_packet);
        return;
      case packet_type::public_key_encrypted_session_key:
      case packet_type::symmetric_key_encrypted_session_key:
      case packet_type::symmetrically_encrypted_data:
      case packet_type::encrypted_and_integrity_protected_data:
      case packet_type::gnupg_aead_encrypted_data:
        refuse(errc::usage, "the message is encrypted", "sign with all keys first, and encrypt then");
      default:
        refuse(errc::bad_message, "it has a " + describe(type) + ", which no signed message has");
    }
  }

  /// Signature and header packets are copied as they are; those in front wait until it is clear what follows.
  void keep(packet_reader& packets, packet_type type) {
    const std::size_t all = ++(seen_literal_ ? behind_ : in_front_) + signer_.count();
    if (all > max_signatures)
      refuse(errc::message_too_large, "it would have more than " + std::to_string(max_signatures) + " signatures");
    byte_vector whole;
    append_packet(whole, type, packets.read_body(max_small_packet));
    if (seen_literal_)
      out().write(whole);
    else
      put(heads_, whole);
  }

  void copy_literal(packet_reader& packets) {
    if (std::exchange(seen_literal_, true)) refuse(errc::bad_message, "it has more than one content");
    out().write(signer_.headers(!heads_.empty()));
    out().write(heads_);
    partial_body_writer literal(out(), packet_type::literal_data);

    // Format, name and date are no content, but they stay.
    std::array<std::byte, 2 + 255 + 4> head{};
    body_reader body(packets);
    std::size_t size = read_full(body, byte_span(head).first(2));
    const std::size_t rest = size == 2 ? std::to_integer<std::size_t>(head[1]) + 4 : 1;
    size += read_full(body, byte_span(head).subspan(2, rest));
    if (size != 2 + rest) refuse(errc::truncated, "its content ends in its own header");
    literal.write(byte_span(head).first(size));

    byte_vector room(64 * 1024);
    while (const std::size_t n = packets.read(room)) {
      const byte_view content = byte_view(room).first(n);
      signer_.update(content);
      literal.write(content);
    }
    literal.finish();
  }

  any_writer out() { return armor_ ? any_writer(by_reference(*armor_)) : any_writer(by_reference(to_)); }

  any_writer to_;
  std::optional<armor_writer> armor_;
  keyring keys_;
  message_signer signer_;
  byte_vector heads_;
  std::size_t in_front_ = 0, behind_ = 0, signatures_ = 0;
  bool seen_literal_ = false, compressed_ = false;
};

}  // namespace

void add_signatures(any_reader message, any_writer to, const keyring& keys, const sign_options& how) {
  if (!how.recipients.empty() || !how.sign)
    refuse(errc::usage, "it can only be signed", "encrypt it when it is signed");
  signature_adder adder(std::move(to), keys, how);
  packet_reader packets = packets_of(std::move(message));
  try {
    adder.run(packets);
  } catch (const error& e) {
    // A decompressor knows nothing of OpenPGP; its failures are the message's.
    if (e.code() != errc::malformed && e.code() != errc::too_large) throw;
    refuse(errc::bad_message, "its compressed data are damaged: " + e.parts().why, "get it again from its source");
  }
  adder.finish();
}

}  // namespace fussy::openpgp
