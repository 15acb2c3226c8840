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

std::uint64_t chunk_octets(const container_header& header) { return std::uint64_t{1} << (header.chunk_size + 6); }

// Key, nonces and associated data of the chunks of one container, for both directions.
class chunk_cipher {
public:
  chunk_cipher(const container_header& header, const session_key& key, seam::direction way)
      : gnupg_(header.type == packet_type::gnupg_aead_encrypted_data),
        associated_{static_cast<std::byte>(0xc0 | static_cast<unsigned>(header.type)), std::byte{header.version},
                    static_cast<std::byte>(header.cipher), static_cast<std::byte>(header.aead),
                    std::byte{header.chunk_size}},
        mode_(Botan::AEAD_Mode::create(std::string(name(header.cipher)) + "/" + name(header.aead), way)) {
    if (!mode_)
      unknown_form(std::string("this build of Botan has no ") + name(header.cipher) + "/" + name(header.aead));
    if (gnupg_) {
      iv_ = header.start;
      mode_->set_key(as_uint8(byte_view(key.key)), key.key.size());
      return;
    }
    // SEIPD v2: the key and the nonces without their last 8 octets are derived.
    const std::size_t key_size = key_octets(header.cipher);
    const secret_vector derived =
        hkdf(hash_algorithm::sha256, key.key, header.start, associated_, key_size + nonce_octets(header.aead) - 8);
    mode_->set_key(as_uint8(byte_view(derived)), key_size);
    iv_ = to_vector(byte_view(derived).subspan(key_size));
  }

  void start_chunk() { start(nullptr); }
  /// What comes behind the last chunk, over no data. @param total  octets in all chunks.
  void start_final(std::uint64_t total) { start(&total); }

  void process(std::uint8_t* data, std::size_t size) { mode_->process(data, size); }
  /// The rest of the chunk. @throws Botan's exception when it was changed.
  void finish(Botan::secure_vector<std::uint8_t>& rest) {
    mode_->finish(rest);
    ++index_;
  }

private:
  void start(const std::uint64_t* total) {
    byte_vector associated = associated_, nonce = iv_;
    if (gnupg_) {
      for (std::size_t i = 0; i < 8; ++i)
        nonce[nonce.size() - 8 + i] ^= static_cast<std::byte>(index_ >> (56 - 8 * i) & 0xff);
      put_be(associated, index_, 8);
    } else {
      put_be(nonce, index_, 8);
    }
    if (total != nullptr) put_be(associated, *total, 8);
    mode_->reset();  // EAX of Botan 2 does not do it by itself
    mode_->set_associated_data(as_uint8(byte_view(associated)), associated.size());
    mode_->start(as_uint8(byte_view(nonce)), nonce.size());
  }

  bool gnupg_;
  byte_vector associated_;  // without the counters
  byte_vector iv_;          // of full length for GnuPG's packet, without the last 8 octets for SEIPD v2
  std::uint64_t index_ = 0;
  std::unique_ptr<Botan::AEAD_Mode> mode_;
};

// Chunks of up to `piece` octets are proven before they are yielded; larger ones, which only early GnuPG 2.3 made, are
// yielded while they are decrypted, so that memory stays bounded.
class aead_decryptor final : public decryptor {
public:
  aead_decryptor(packet_reader& container, const container_header& header, const session_key& key)
      : container_(container), cipher_(header, key, seam::decrypting), chunk_(chunk_octets(header)), left_(chunk_) {}

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
    if (chunk_begins) cipher_.start_chunk();
    if (data == want && want < left_) {
      carry(tags);
      cipher_.process(buffer_.data(), data);
      left_ -= data;
    } else {
      carry(aead_tag_octets);
      finish_chunk();
      left_ = chunk_;
    }
    total_ += data;
    first_ = 0;
    last_ = data;
  }

  std::size_t fill(std::size_t size) {
    std::size_t have = buffer_.size();
    // So that a small message with large chunks stays small: room for all of it only when the first part was full, and
    // then at once, because growing would need the old and the new room at a time.
    constexpr std::size_t first_part = 64 * 1024;
    while (have < size) {
      const std::size_t step = have < first_part ? std::min(size - have, first_part) : size - have;
      buffer_.reserve(have + step);
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

  void finish_chunk() {
    try {
      cipher_.finish(buffer_);
    } catch (const Botan::Exception&) {
      tampered();
    }
  }

  void check_final_tag() {
    cipher_.start_final(total_);
    finish_chunk();
    first_ = last_ = 0;
    ended_ = true;
  }

  packet_reader& container_;
  chunk_cipher cipher_;
  std::uint64_t chunk_, left_;  // plaintext octets of a chunk, and of the current one still to come
  std::uint64_t total_ = 0;
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

struct aead_encryptor::impl {
  impl(any_writer w, const session_key& key, const container_header& head)
      : to(std::move(w)), cipher(head, key, seam::encrypting), chunk(static_cast<std::size_t>(chunk_octets(head))) {
    to.write(std::array{std::byte{head.version}, static_cast<std::byte>(head.cipher), static_cast<std::byte>(head.aead),
                        std::byte{head.chunk_size}});
    to.write(head.start);
    buffer.reserve(chunk + aead_tag_octets);
  }

  void seal() {
    cipher.finish(buffer);
    to.write(as_bytes(buffer.data(), buffer.size()));
    buffer.clear();
  }

  any_writer to;
  chunk_cipher cipher;
  std::size_t chunk;
  std::uint64_t total = 0;
  Botan::secure_vector<std::uint8_t> buffer;  // the current chunk so far
};

namespace {

container_header fresh_header(symmetric_algorithm cipher) {
  container_header head;
  head.type = packet_type::encrypted_and_integrity_protected_data;
  head.version = 2;
  head.cipher = cipher;
  head.aead = aead_algorithm::ocb;
  head.chunk_size = 12;  // 256 KiB, as OpenPGP.js and gosop: little enough for every reader to prove before it yields
  head.start.resize(32);
  randomize(head.start);
  return head;
}

}  // namespace

aead_encryptor::aead_encryptor(any_writer to, const session_key& key)
    : impl_(std::make_unique<impl>(std::move(to), key, fresh_header(key.cipher.value()))) {}
aead_encryptor::aead_encryptor(aead_encryptor&&) noexcept = default;
aead_encryptor& aead_encryptor::operator=(aead_encryptor&&) noexcept = default;
aead_encryptor::~aead_encryptor() = default;

void aead_encryptor::write(byte_view bytes) {
  auto& buffer = impl_->buffer;
  impl_->total += bytes.size();
  while (!bytes.empty()) {
    const byte_view part = bytes.first(std::min(bytes.size(), impl_->chunk - buffer.size()));
    buffer.insert(buffer.end(), as_uint8(part), as_uint8(part) + part.size());
    bytes = bytes.subspan(part.size());
    if (buffer.size() < impl_->chunk) return;
    impl_->cipher.start_chunk();
    impl_->seal();
  }
}

void aead_encryptor::finish() {
  if (!impl_->buffer.empty()) {
    impl_->cipher.start_chunk();
    impl_->seal();
  }
  impl_->cipher.start_final(impl_->total);
  impl_->seal();
}

}  // namespace fussy::openpgp
