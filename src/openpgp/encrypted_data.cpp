#include "encrypted_data.hpp"

#include <botan/aead.h>
#include <botan/block_cipher.h>
#include <botan/exceptn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "botan_seam.hpp"

namespace fussy::openpgp {
namespace {

// One text for every way in which decryption can go wrong once there is a key to try: it tells an attacker nothing.
[[noreturn]] void tampered() {
  throw error(errc::tampered, {.what = "the encrypted content fails its integrity check",
                               .why = "it was changed or damaged, or is not for a key of this key ring",
                               .remedy = "fetch the package again, or have it encrypted for this device"});
}

[[noreturn]] void unknown_form(const std::string& what) {
  throw error(errc::cannot_decrypt,
              {.what = "the content cannot be decrypted",
               .why = what,
               .remedy = "have the package encrypted with AES and gpg's or fussy-pack's defaults"});
}

void xor_into(std::uint8_t* out, const std::uint8_t* with, std::size_t size) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t a = 0, b = 0;
    std::memcpy(&a, out + i, 8);
    std::memcpy(&b, with + i, 8);
    a ^= b;
    std::memcpy(out + i, &a, 8);
  }
  for (; i < size; ++i) out[i] ^= with[i];
}

std::unique_ptr<Botan::BlockCipher> keyed_cipher(symmetric_algorithm algorithm, byte_view key) {
  auto cipher = Botan::BlockCipher::create(name(algorithm));
  if (!cipher) unknown_form(std::string("this build of Botan has no ") + name(algorithm));
  cipher->set_key(as_uint8(key), key.size());
  return cipher;
}

constexpr std::array<std::byte, 2> mdc_header{std::byte{0xd3}, std::byte{0x14}};
constexpr std::size_t mdc_octets = 20;
constexpr std::size_t mdc_packet_octets = mdc_header.size() + mdc_octets;

// ---- SEIPD v1 --------------------------------------------------------------------------------------------------------

// CFB with a zero IV: plaintext = ciphertext XOR E(the ciphertext block before). All those blocks are known beforehand,
// so they are encrypted many at a time, which is an order of magnitude faster than one by one.
class cfb_decryptor final : public decryptor {
public:
  cfb_decryptor(packet_reader& container, symmetric_algorithm algorithm, byte_view key)
      : container_(container),
        cipher_(keyed_cipher(algorithm, key)),
        block_(cipher_->block_size()),
        ciphertext_(block_ + piece),  // starts as the zero IV
        keystream_(piece),
        plaintext_(mdc_packet_octets + piece),
        digest_(hash_algorithm::sha1),
        prefix_(block_ + 2) {}

  std::size_t read(byte_span room) override {
    for (;;) {
      if (first_ < last_) {
        const std::size_t n = std::min(room.size(), last_ - first_);
        std::memcpy(room.data(), plaintext_.data() + first_, n);
        first_ += n;
        return n;
      }
      if (ended_) return 0;
      decrypt_piece();
      drop_prefix();
    }
  }

  bool proves_first() const noexcept override { return false; }

private:
  static constexpr std::size_t piece = 128 * 1024;

  // What may be the MDC packet, the last 22 octets so far, is held back: [last_, held_).
  void decrypt_piece() {
    const std::size_t held = held_ - last_;
    std::memmove(plaintext_.data(), plaintext_.data() + last_, held);
    const std::size_t n = read_full(container_, {as_bytes_of(ciphertext_) + block_, piece});
    if (n == 0) {
      first_ = last_ = 0;
      held_ = held;
      check_mdc();
      return;
    }
    const std::size_t blocks = (n + block_ - 1) / block_;
    cipher_->encrypt_n(ciphertext_.data(), keystream_.data(), blocks);
    std::uint8_t* const fresh = plaintext_.data() + held;
    std::memcpy(fresh, ciphertext_.data() + block_, n);
    xor_into(fresh, keystream_.data(), n);
    std::memmove(ciphertext_.data(), ciphertext_.data() + n, block_);  // n is a whole number of blocks but at the end
    held_ = held + n;
    first_ = 0;
    last_ = held_ > mdc_packet_octets ? held_ - mdc_packet_octets : 0;
    digest_.update(as_bytes(plaintext_.data(), last_));
  }

  // Random octets in front; their repetition is not looked at: it would be an oracle, and the MDC covers them.
  void drop_prefix() noexcept {
    const std::size_t n = std::min(prefix_, last_ - first_);
    prefix_ -= n;
    first_ += n;
  }

  void check_mdc() {
    if (prefix_ != 0 || held_ != mdc_packet_octets) tampered();
    const byte_view mdc = as_bytes(plaintext_.data(), mdc_packet_octets);
    digest_.update(mdc.first(mdc_header.size()));
    if (!equal(mdc.first(mdc_header.size()), mdc_header)) tampered();
    if (!equal(mdc.subspan(mdc_header.size()), digest_.finish())) tampered();
    ended_ = true;
  }

  static std::byte* as_bytes_of(std::vector<std::uint8_t>& v) noexcept {
    return reinterpret_cast<std::byte*>(v.data());
  }

  packet_reader& container_;
  std::unique_ptr<Botan::BlockCipher> cipher_;
  std::size_t block_;
  std::vector<std::uint8_t> ciphertext_;  // the block before, then the piece
  std::vector<std::uint8_t> keystream_, plaintext_;
  hash_context digest_;
  std::size_t prefix_;                           // octets of it still to come
  std::size_t first_ = 0, last_ = 0, held_ = 0;  // of plaintext_: to be yielded, held back
  bool ended_ = false;
};

// ---- AEAD ------------------------------------------------------------------------------------------------------------

// What the two AEAD containers differ in: the key and how nonces and associated data are made.
struct aead_parameters {
  secret_vector key;
  byte_vector iv;          // of full length for GnuPG's packet, without the last 8 octets for SEIPD v2
  byte_vector associated;  // without the counters
  bool gnupg = false;
};

aead_parameters derive(const container_header& header, const session_key& key) {
  aead_parameters p;
  p.gnupg = header.type == packet_type::gnupg_aead_encrypted_data;
  p.associated = {static_cast<std::byte>(0xc0 | static_cast<unsigned>(header.type)), std::byte{header.version},
                  static_cast<std::byte>(header.cipher), static_cast<std::byte>(header.aead),
                  std::byte{header.chunk_size}};
  if (p.gnupg) {
    p.key = key.key;
    p.iv = header.start;
    return p;
  }
  const std::size_t key_size = key_octets(header.cipher);
  const secret_vector derived =
      hkdf(hash_algorithm::sha256, key.key, header.start, p.associated, key_size + nonce_octets(header.aead) - 8);
  p.key.assign(derived.begin(), derived.begin() + static_cast<std::ptrdiff_t>(key_size));
  p.iv.assign(derived.begin() + static_cast<std::ptrdiff_t>(key_size), derived.end());
  return p;
}

// Chunks of up to `piece` octets are proven before they are yielded; larger ones, which only early GnuPG 2.3 made, are
// yielded while they are decrypted, so that memory stays bounded.
class aead_decryptor final : public decryptor {
public:
  aead_decryptor(packet_reader& container, const container_header& header, const session_key& key)
      : container_(container),
        p_(derive(header, key)),
        chunk_(std::uint64_t{1} << (header.chunk_size + 6)),
        left_(chunk_),
        mode_(Botan::AEAD_Mode::create(std::string(name(header.cipher)) + "/" + name(header.aead), seam::decrypting)) {
    if (!mode_)
      unknown_form(std::string("this build of Botan has no ") + name(header.cipher) + "/" + name(header.aead));
    mode_->set_key(as_uint8(byte_view(p_.key)), p_.key.size());
  }

  std::size_t read(byte_span room) override {
    for (;;) {
      if (first_ < last_) {
        const std::size_t n = std::min(room.size(), last_ - first_);
        std::memcpy(room.data(), buffer_.data() + first_, n);
        first_ += n;
        return n;
      }
      if (ended_) return 0;
      decrypt_piece();
    }
  }

  bool proves_first() const noexcept override { return chunk_ <= piece; }

private:
  static constexpr std::size_t piece = 4 * 1024 * 1024;
  static constexpr std::size_t tags = 2 * aead_tag_octets;  // of the last chunk and of the whole

  // Reads a piece and the octets of two tags behind it: only so is it known whether more chunks follow.
  void decrypt_piece() {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(piece, left_));
    buffer_.resize(carried_);
    std::copy(carry_.begin(), carry_.begin() + static_cast<std::ptrdiff_t>(carried_), buffer_.begin());
    const std::size_t have = fill(want + tags);
    const bool chunk_begins = left_ == chunk_;
    if (chunk_begins && have == aead_tag_octets) return check_final_tag();
    if (have < tags) tampered();

    const std::size_t data = have - tags;  // all of `want`, or what is left before the end
    if (chunk_begins) start(false);
    if (data == want && want < left_) {
      carry(tags);
      mode_->process(buffer_.data(), data);
      left_ -= data;
    } else {
      carry(aead_tag_octets);
      finish_chunk();
      left_ = chunk_;
      ++index_;
    }
    total_ += data;
    first_ = 0;
    last_ = data;
  }

  std::size_t fill(std::size_t size) {
    std::size_t have = buffer_.size();
    // Grown in steps, so that a small message with large chunks stays small.
    while (have < size) {
      const std::size_t step = std::min(size - have, std::max<std::size_t>(have, 64 * 1024));
      buffer_.resize(have + step);
      const std::size_t n = read_full(container_, {reinterpret_cast<std::byte*>(buffer_.data()) + have, step});
      have += n;
      if (n < step) break;
    }
    buffer_.resize(have);
    return have;
  }

  // The last octets are kept for the next piece.
  void carry(std::size_t size) {
    carried_ = size;
    std::copy(buffer_.end() - static_cast<std::ptrdiff_t>(size), buffer_.end(), carry_.begin());
    buffer_.resize(buffer_.size() - size);
  }

  void start(bool final_tag) {
    byte_vector associated = p_.associated, nonce = p_.iv;
    if (p_.gnupg) {
      for (std::size_t i = 0; i < 8; ++i)
        nonce[nonce.size() - 8 + i] ^= static_cast<std::byte>(index_ >> (56 - 8 * i) & 0xff);
      put_be(associated, index_, 8);
    } else {
      put_be(nonce, index_, 8);
    }
    if (final_tag) put_be(associated, total_, 8);
    mode_->reset();  // EAX of Botan 2 does not do it by itself
    mode_->set_associated_data(as_uint8(byte_view(associated)), associated.size());
    mode_->start(as_uint8(byte_view(nonce)), nonce.size());
  }

  void finish_chunk() {
    try {
      mode_->finish(buffer_);
    } catch (const Botan::Exception&) {
      tampered();
    }
  }

  void check_final_tag() {
    start(true);
    finish_chunk();
    first_ = last_ = 0;
    ended_ = true;
  }

  packet_reader& container_;
  aead_parameters p_;
  std::uint64_t chunk_, left_;  // plaintext octets of a chunk, and of the current one still to come
  std::uint64_t index_ = 0, total_ = 0;
  std::unique_ptr<Botan::AEAD_Mode> mode_;
  Botan::secure_vector<std::uint8_t> buffer_;
  std::array<std::uint8_t, tags> carry_{};
  std::size_t carried_ = 0;
  std::size_t first_ = 0, last_ = 0;
  bool ended_ = false;
};

std::uint8_t next_octet(packet_reader& container) {
  std::byte b{};
  if (read_full(container, {&b, 1}) == 0)
    throw error(errc::bad_message, {.what = "the encrypted data packet is empty",
                                    .why = "it ends inside its header",
                                    .remedy = "fetch the package again"});
  return std::to_integer<std::uint8_t>(b);
}

void read_aead_header(packet_reader& container, container_header& header) {
  header.cipher = static_cast<symmetric_algorithm>(next_octet(container));
  header.aead = static_cast<aead_algorithm>(next_octet(container));
  header.chunk_size = next_octet(container);
  const bool v2 = header.type == packet_type::encrypted_and_integrity_protected_data;
  if (block_octets(header.cipher) != 16)  // EAX and OCB are for blocks of 16 octets
    unknown_form("cipher " + std::to_string(static_cast<unsigned>(header.cipher)) + " is not known for AEAD");
  if (nonce_octets(header.aead) == 0 || (!v2 && header.aead == aead_algorithm::gcm))
    unknown_form("AEAD mode " + std::to_string(static_cast<unsigned>(header.aead)) + " is not known");
  if (header.chunk_size > (v2 ? 16 : 56))
    unknown_form("chunk size octet " + std::to_string(header.chunk_size) + " is beyond the limit of its format");
  header.start.resize(v2 ? 32 : nonce_octets(header.aead));
  for (std::byte& b : header.start) b = std::byte{next_octet(container)};
}

}  // namespace

container_header read_container_header(packet_reader& container) {
  container_header header;
  header.type = container.type();
  header.version = next_octet(container);
  const bool seipd = header.type == packet_type::encrypted_and_integrity_protected_data;
  if (header.version == 0 || header.version > (seipd ? 2 : 1))
    unknown_form(describe(header.type) + " of unknown version " + std::to_string(header.version));
  if (!seipd || header.version == 2) read_aead_header(container, header);
  return header;
}

std::unique_ptr<decryptor> decrypt(packet_reader& container, const container_header& header, const session_key& key) {
  if (header.is_aead() && key.key.size() != key_octets(header.cipher)) tampered();
  if (header.is_aead()) return std::make_unique<aead_decryptor>(container, header, key);
  return std::make_unique<cfb_decryptor>(container, key.cipher.value(), key.key);
}

// ---- Writing ---------------------------------------------------------------------------------------------------------

struct mdc_encryptor::impl {
  impl(any_writer w, const session_key& key)
      : to(std::move(w)),
        cipher(keyed_cipher(key.cipher.value(), key.key)),
        block(cipher->block_size()),
        feedback(block),
        digest(hash_algorithm::sha1) {
    to.write(std::array{std::byte{1}});  // the version
    byte_vector prefix(block + 2);
    randomize(byte_span(prefix).first(block));
    prefix[block] = prefix[block - 2];
    prefix[block + 1] = prefix[block - 1];
    digest.update(prefix);
    encrypt(prefix);
  }

  // CFB: each block of ciphertext is the input for the next, so there is nothing to do at once.
  void encrypt(byte_view bytes) {
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), out.size());
      std::memcpy(out.data(), bytes.data(), n);
      for (std::size_t i = 0; i < n;) {
        if (used == 0) cipher->encrypt(feedback.data());
        const std::size_t part = std::min(block - used, n - i);
        xor_into(out.data() + i, feedback.data() + used, part);
        std::memcpy(feedback.data() + used, out.data() + i, part);
        used = (used + part) % block;
        i += part;
      }
      to.write(as_bytes(out.data(), n));
      bytes = bytes.subspan(n);
    }
  }

  any_writer to;
  std::unique_ptr<Botan::BlockCipher> cipher;
  std::size_t block;
  std::vector<std::uint8_t> feedback;
  std::size_t used = 0;  // octets of the key stream block in `feedback` that are used up, and replaced by ciphertext
  hash_context digest;
  std::vector<std::uint8_t> out = std::vector<std::uint8_t>(32 * 1024);
};

mdc_encryptor::mdc_encryptor(any_writer to, const session_key& key)
    : impl_(std::make_unique<impl>(std::move(to), key)) {}
mdc_encryptor::mdc_encryptor(mdc_encryptor&&) noexcept = default;
mdc_encryptor& mdc_encryptor::operator=(mdc_encryptor&&) noexcept = default;
mdc_encryptor::~mdc_encryptor() = default;

void mdc_encryptor::write(byte_view bytes) {
  impl_->digest.update(bytes);
  impl_->encrypt(bytes);
}

void mdc_encryptor::finish() {
  impl_->digest.update(mdc_header);
  impl_->encrypt(mdc_header);
  impl_->encrypt(impl_->digest.finish());
}

}  // namespace fussy::openpgp
