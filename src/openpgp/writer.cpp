// Making messages: [session keys, encrypted container of] one-pass headers, literal, signatures.
#include <fussy/openpgp.hpp>

#include <utility>

#include "armor.hpp"
#include "encrypted_data.hpp"
#include "key_choice.hpp"
#include "keyring_state.hpp"
#include "packet.hpp"
#include "signature.hpp"
#include "signing.hpp"

namespace fussy::openpgp {

// ---- Signing ---------------------------------------------------------------------------------------------------------

namespace {

/// SHA-256, which processors have instructions for; larger where the key's group is larger, so that all of it is used.
hash_algorithm hash_for(const public_key& key) {
  using enum public_key_algorithm;
  if (key.algorithm == ed448) return hash_algorithm::sha512;
  if (key.algorithm == ecdsa && key.bits() > 384) return hash_algorithm::sha512;
  if (key.algorithm == ecdsa && key.bits() > 256) return hash_algorithm::sha384;
  return hash_algorithm::sha256;
}

byte_vector one_pass_packet(const signature_maker& maker, bool is_last) {
  const public_key& key = maker.key().key;
  byte_vector body;
  put_u8(body, key.version >= 6 ? 6 : 3);
  put_u8(body, static_cast<std::uint8_t>(maker.type()));
  put_u8(body, static_cast<std::uint8_t>(maker.hash()));
  put_u8(body, static_cast<std::uint8_t>(key.algorithm));
  if (key.version >= 6) {
    put_u8(body, static_cast<std::uint8_t>(maker.salt().size()));
    put(body, maker.salt());
    put(body, key.fingerprint.octets());
  } else {
    put_be(body, key.id, 8);
  }
  put_u8(body, is_last ? 1 : 0);
  byte_vector packet;
  append_packet(packet, packet_type::one_pass_signature, body);
  return packet;
}

}  // namespace

message_signer::message_signer(const keyring::state& ring, const sign_options& how) {
  const time_point at = how.time ? *how.time : ring.now(policy{});
  for (const secret_key* key : choose_signers(ring, how.signers, at)) {
    const hash_algorithm hash = hash_for(key->key);
    makers_.emplace_back(*key, hash, signature_type::binary, at, salt_for(*key, hash, how.time));
    contexts_.push_back(makers_.back().begin());
  }
}

byte_vector message_signer::headers(bool others_follow) const {
  byte_vector packets;
  for (const signature_maker& maker : makers_)
    put(packets, one_pass_packet(maker, &maker == &makers_.back() && !others_follow));
  return packets;
}

void message_signer::update(byte_view content) {
  for (hash_context& context : contexts_) context.update(content);
}

byte_vector message_signer::signatures() const {
  byte_vector packets;
  // Like brackets: the last header's signature comes first.
  for (std::size_t i = makers_.size(); i-- > 0;)
    append_packet(packets, packet_type::signature, makers_[i].finish(contexts_[i]));
  return packets;
}

// ---- Encrypting ------------------------------------------------------------------------------------------------------

namespace {

session_key fresh_session_key() {
  session_key session{symmetric_algorithm::aes256, secret_vector(key_octets(symmetric_algorithm::aes256))};
  randomize(session.key);
  return session;
}

byte_vector session_key_packets(const std::vector<const public_key*>& recipients, const session_key& session) {
  byte_vector packets;
  for (const public_key* recipient : recipients) {
    byte_vector body;
    put_u8(body, 3);
    put_be(body, recipient->id, 8);
    put_u8(body, static_cast<std::uint8_t>(recipient->algorithm));
    put(body, encrypt_session_key(*recipient, 3, session));
    append_packet(packets, packet_type::public_key_encrypted_session_key, body);
  }
  return packets;
}

}  // namespace

// ---- The message -----------------------------------------------------------------------------------------------------

struct message_writer::impl {
  // Outermost first; each writes into the one before it.
  any_writer to;
  std::optional<armor_writer> armor;
  std::optional<partial_body_writer> container;
  std::optional<mdc_encryptor> encryptor;
  std::optional<partial_body_writer> literal;

  keyring keys;  // keeps the secret keys that `signer` refers to
  std::optional<message_signer> signer;
  bool finished = false;

  impl(any_writer destination, const keyring& ring, const sign_options& how) : to(std::move(destination)), keys(ring) {
    const keyring::state& state = keys.internals();
    if (!how.sign && how.recipients.empty())
      throw error(
          errc::usage,
          {.what = "cannot make a message", .why = "it would be neither signed nor encrypted", .remedy = "sign it"});
    // Everything that can be refused is refused before the first octet is written.
    if (how.sign) signer.emplace(state, how);
    const time_point at = how.time ? *how.time : state.now(policy{});
    const auto recipients = choose_recipients(state, how.recipients, at);
    session_key session;
    byte_vector session_keys;
    if (!recipients.empty()) {
      session = fresh_session_key();
      session_keys = session_key_packets(recipients, session);
    }

    if (how.armor) armor.emplace(by_reference(to), armor_label::message);
    if (!recipients.empty()) begin_container(session, session_keys);
    if (signer) innermost().write(signer->headers());
    literal.emplace(innermost(), packet_type::literal_data);
    const std::byte head[] = {std::byte{'b'}, {}, {}, {}, {}, {}};  // binary, no name, no date: they are not signed
    literal->write(head);
  }

  void begin_container(const session_key& session, byte_view session_keys) {
    innermost().write(session_keys);
    container.emplace(innermost(), packet_type::encrypted_and_integrity_protected_data);
    encryptor.emplace(any_writer(by_reference(*container)), session);
  }

  /// Where packets go now.
  any_writer innermost() {
    if (encryptor) return by_reference(*encryptor);
    if (armor) return by_reference(*armor);
    return by_reference(to);
  }

  void write(byte_view bytes) {
    if (finished) throw std::logic_error("message_writer: write after finish");
    if (signer) signer->update(bytes);
    literal->write(bytes);
  }

  void finish() {
    if (std::exchange(finished, true)) throw std::logic_error("message_writer: finish twice");
    literal->finish();
    if (signer) innermost().write(signer->signatures());
    if (encryptor) encryptor->finish();
    if (container) container->finish();
    if (armor) armor->finish();
  }
};

message_writer::message_writer(any_writer to, const keyring& keys, const sign_options& how)
    : impl_(std::make_unique<impl>(std::move(to), keys, how)) {}
message_writer::message_writer(message_writer&&) noexcept = default;
message_writer& message_writer::operator=(message_writer&&) noexcept = default;
message_writer::~message_writer() = default;
void message_writer::write(byte_view bytes) { impl_->write(bytes); }
void message_writer::finish() { impl_->finish(); }

}  // namespace fussy::openpgp
