#include "session_key.hpp"

#include <utility>

#include "botan_seam.hpp"
#include "wire.hpp"

namespace fussy::openpgp {
namespace {

constexpr std::size_t named_in_message = 3;
constexpr std::size_t max_fields = 8 * 1024;  // two numbers of 16384 bits, for ElGamal, are half of it

bool fits(const session_key& key, const container_header& header) noexcept {
  if (!header.is_aead()) return key.cipher.has_value();
  return key.key.size() == key_octets(header.cipher) && (!key.cipher || *key.cipher == header.cipher);
}

session_key random_key(const container_header& header) {
  const symmetric_algorithm cipher = header.is_aead() ? header.cipher : symmetric_algorithm::aes256;
  session_key key{cipher, secret_vector(key_octets(cipher))};
  randomize(key.key);
  return key;
}

encrypted_session_key parse(cursor in) {
  encrypted_session_key out;
  out.version = in.u8();
  if (out.version == 2 || out.version == 3) {
    out.version = 3;
    out.recipient_id = in.u64();
  } else if (out.version == 6) {
    cursor who(in.take(in.u8()), "session key packet");
    if (!who.empty()) {
      who.u8();  // version of the key; its fingerprint says the same
      out.recipient.emplace(who.take_rest());
    }
  } else {
    out.version = 0;
    return out;
  }
  out.algorithm = static_cast<public_key_algorithm>(in.u8());
  out.fields = to_vector(in.take_rest());
  return out;
}

}  // namespace

std::string encrypted_session_key::recipient_text() const {
  return recipient ? recipient->hex() : key_id_hex(recipient_id);
}

std::optional<encrypted_session_key> parse_encrypted_session_key(byte_view packet_body) {
  try {
    encrypted_session_key out = parse(cursor(packet_body, "session key packet"));
    if (out.version != 0 && encrypts(out.algorithm) && out.fields.size() <= max_fields) return out;
  } catch (const error&) {  // damage concerns this recipient only
  }
  return std::nullopt;
}

void session_keys::add_public_key_packet(byte_view packet_body) {
  if (++total_ > max_packets)
    throw error(errc::message_too_large, {.what = "the message is encrypted for too many recipients",
                                          .why = "it has more than " + std::to_string(max_packets),
                                          .remedy = "have it encrypted for fewer"});
  auto parsed = parse_encrypted_session_key(packet_body);
  if (!parsed) return;
  const openpgp::fingerprint* const recipient = parsed->recipient ? &*parsed->recipient : nullptr;
  const bool ours = !keys_->recipients(recipient, parsed->recipient_id, parsed->algorithm).empty();
  if (seen_.size() < max_seen)
    seen_.push_back(
        {.key = parsed->hidden() ? "" : parsed->recipient_text(), .algorithm = name(parsed->algorithm), .ours = ours});
  if (ours && candidates_.size() < max_candidates)
    candidates_.push_back(std::move(*parsed));
  else if (!ours && others_.size() < named_in_message)
    others_.push_back(parsed->hidden() ? "a hidden recipient" : parsed->recipient_text());
}

std::optional<session_key> session_keys::try_keys(const container_header& header, bool& tried,
                                                  std::string& locked) const {
  std::size_t attempts = 0;
  for (const encrypted_session_key& packet : candidates_) {
    if (packet.version != header.session_key_version()) continue;
    const openpgp::fingerprint* const recipient = packet.recipient ? &*packet.recipient : nullptr;
    for (const locked_secret* secret : keys_->recipients(recipient, packet.recipient_id, packet.algorithm)) {
      const std::string objection = seam::objection(secret->key());
      const openpgp::secret_key* const open = objection.empty() ? keys_->unlock(*secret) : nullptr;
      if (open == nullptr) {
        locked = "key " + secret->key().fingerprint.hex() + " in " + secret->where() +
                 " cannot be used: " + (objection.empty() ? secret->why_not() : objection);
        continue;
      }
      if (++attempts > max_attempts) return std::nullopt;
      tried = true;
      auto key = decrypt_session_key(*open, packet.version, packet.fields);
      if (key && fits(*key, header)) return key;
    }
  }
  return std::nullopt;
}

session_key session_keys::choose(const container_header& header) {
  bool tried = false;
  std::string locked;
  auto key = try_keys(header, tried, locked);
  if (!key && !tried) refuse(header, locked);
  candidates_ = {};  // the content needs the room
  return key ? std::move(*key) : random_key(header);
}

void session_keys::refuse(const container_header& header, const std::string& locked) const {
  const std::string remedy = "have the package encrypted for a key of this device, or install the secret key";
  std::string why;
  if (!locked.empty()) {
    why = locked;
  } else if (!candidates_.empty()) {
    why = "its session key packets do not go with " + describe(header.type) + " version " +
          std::to_string(header.version);
  } else if (!others_.empty()) {
    why = "it is encrypted for " + others_[0];
    for (std::size_t i = 1; i < others_.size(); ++i) why += ", " + others_[i];
    if (total_ > others_.size()) why += " and others";
    why += keys_->secrets.empty() ? "; the key ring has no secret key" : "; the key ring has none of these secret keys";
  } else if (passphrase_) {
    why = "it is protected by a passphrase, which a device has none of";
  } else {
    why = "it names no recipient of a kind that is known";
  }
  throw error(errc::cannot_decrypt, {.what = "the content cannot be decrypted", .why = why, .remedy = remedy});
}

}  // namespace fussy::openpgp
