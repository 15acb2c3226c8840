// Making messages: [session keys, encrypted container of] one-pass headers, literal, signatures.
#include <fussy/openpgp.hpp>

#include <algorithm>
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
  if (at.time_since_epoch().count() < 0 || at.time_since_epoch().count() > UINT32_MAX)
    throw error(errc::usage, {.what = "cannot sign for the time " + std::to_string(at.time_since_epoch().count()),
                              .why = "signatures tell times from 1970 to 2106",
                              .remedy = "give it in seconds since 1970"});
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

/// Version of the encrypted packet, and its cipher.
struct encryption_form {
  unsigned version = 1;
  symmetric_algorithm cipher = symmetric_algorithm::aes256;
  unsigned session_key_version() const noexcept { return version == 2 ? 6 : 3; }
};

bool reads_version_2(const key_ref& recipient, const signature* preferences) {
  if (recipient.key().version >= 6) return true;
  return preferences != nullptr && (preferences->features & feature::seipd_v2) != 0;
}

bool prefers(const signature* preferences, const aead_suite& suite) {
  return preferences != nullptr &&
         std::ranges::find(preferences->preferred_suites, suite) != preferences->preferred_suites.end();
}

/// The newest form that every recipient reads. With AEAD, AES-128 is what all have to know, whatever they prefer (RFC
/// 9580 section 5.2.3.15).
encryption_form form_for(const std::vector<key_ref>& recipients, const judgement& by) {
  bool all_read_2 = true, all_prefer_256 = true;
  for (const key_ref& recipient : recipients) {
    const signature* preferences = recipient.cert->preferences(by);
    all_read_2 &= reads_version_2(recipient, preferences);
    all_prefer_256 &= prefers(preferences, {symmetric_algorithm::aes256, aead_algorithm::ocb});
  }
  if (!all_read_2) return {};
  return {2, all_prefer_256 ? symmetric_algorithm::aes256 : symmetric_algorithm::aes128};
}

session_key fresh_session_key(symmetric_algorithm cipher) {
  session_key session{cipher, secret_vector(key_octets(cipher))};
  randomize(session.key);
  return session;
}

void put_recipient(byte_vector& body, const public_key& recipient, unsigned version) {
  if (version < 6) return put_be(body, recipient.id, 8);
  const byte_view fingerprint = recipient.fingerprint.octets();
  put_u8(body, static_cast<std::uint8_t>(1 + fingerprint.size()));
  put_u8(body, recipient.version);
  put(body, fingerprint);
}

byte_vector session_key_packets(const std::vector<key_ref>& recipients, unsigned version, const session_key& session) {
  byte_vector packets;
  for (const key_ref& recipient : recipients) {
    const public_key& key = recipient.key();
    byte_vector body;
    put_u8(body, static_cast<std::uint8_t>(version));
    put_recipient(body, key, version);
    put_u8(body, static_cast<std::uint8_t>(key.algorithm));
    put(body, encrypt_session_key(key, version, session));
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
  std::optional<mdc_encryptor> mdc;  // one of the two
  std::optional<aead_encryptor> aead;
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
    const judgement today{.now = state.now(policy{})};  // whatever time the signature is to have
    const auto recipients = choose_recipients(state, how.recipients, today);
    const encryption_form form = form_for(recipients, today);
    session_key session;
    byte_vector session_keys;
    if (!recipients.empty()) {
      session = fresh_session_key(form.cipher);
      session_keys = session_key_packets(recipients, form.session_key_version(), session);
    }

    if (how.armor) armor.emplace(by_reference(to), armor_label::message);
    if (!recipients.empty()) begin_container(form, session, session_keys);
    if (signer) innermost().write(signer->headers());
    literal.emplace(innermost(), packet_type::literal_data);
    const std::byte head[] = {std::byte{'b'}, {}, {}, {}, {}, {}};  // binary, no name, no date: they are not signed
    literal->write(head);
  }

  void begin_container(const encryption_form& form, const session_key& session, byte_view session_keys) {
    innermost().write(session_keys);
    container.emplace(innermost(), packet_type::encrypted_and_integrity_protected_data);
    any_writer into = by_reference(*container);
    if (form.version == 2)
      aead.emplace(std::move(into), session);
    else
      mdc.emplace(std::move(into), session);
  }

  /// Where packets go now.
  any_writer innermost() {
    if (aead) return by_reference(*aead);
    if (mdc) return by_reference(*mdc);
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
    if (aead) aead->finish();
    if (mdc) mdc->finish();
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
