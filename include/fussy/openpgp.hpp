/// @file openpgp.hpp  OpenPGP messages (RFC 9580, RFC 4880, and what GnuPG writes beside them): proof and decryption,
/// signing and encryption, key rings. No gpg process, no agent, nothing is ever written into a key ring.
/// Threads: a keyring is immutable and may be shared between threads; other objects need outside locking.
/// Errors:  fussy::error with a 20xx code (a message), 4000 (a key ring); std::bad_alloc.
/// Trust:   what a message_reader yields is UNVERIFIED until it has ended well; only then is there a `verification`.
#pragma once

#include <fussy/io.hpp>
#include <fussy/log.hpp>
#include <fussy/progress.hpp>

#include <chrono>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fussy::openpgp {

using time_point = std::chrono::sys_seconds;

/// Fingerprint of a key: 20 octets (v4) or 32 (v6).
class fingerprint {
public:
  fingerprint() = default;
  explicit fingerprint(byte_view octets) : octets_(octets.begin(), octets.end()) {}
  /// From hexadecimal text; spaces and a leading 0x are ignored; empty where it is no fingerprint.
  static std::optional<fingerprint> parse(std::string_view text);

  byte_view octets() const noexcept { return octets_; }
  /// Upper case hexadecimal.
  std::string hex() const { return to_hex(octets_); }
  auto operator<=>(const fingerprint&) const = default;

private:
  byte_vector octets_;
};

/// Asked for the passphrase of a protected secret key; empty: there is none, the key stays locked. May throw an error
/// with errc::cancelled, which ends what the key was needed for.
using passphrase_callback = std::function<std::optional<std::string>(const fingerprint& key)>;

/// The keys a device trusts (every certificate in the ring is an anchor) and the secret keys it can decrypt with.
/// A value: copies share one immutable state.
class keyring {
public:
  struct options {
    log_sink log;                    ///< warnings: which key or file was skipped and why
    passphrase_callback passphrase;  ///< for protected secret keys; without it they stay locked
  };

  /// An empty ring: verifies nothing.
  keyring();
  /// From a directory (a GNUPGHOME or a folder of exported keys) or from one file of keys.
  /// @throws keyring_unusable  missing, unreadable, or without a single usable certificate; the message says why.
  static keyring load(const std::filesystem::path& path, const options& opts);
  static keyring load(const std::filesystem::path& path) { return load(path, options{}); }

  struct state;
  const state& internals() const noexcept { return *state_; }  ///< for the library's own use

private:
  explicit keyring(std::shared_ptr<const state> s) : state_(std::move(s)) {}
  std::shared_ptr<const state> state_;
};

struct policy;

/// One key of a certificate, for a person to look at. Reasons are half sentences, empty where there is nothing to say.
struct key_info {
  openpgp::fingerprint fingerprint;
  std::string key_id;             ///< 16 hexadecimal digits
  std::string algorithm;          ///< "RSA 3072", "EdDSA ed25519"
  unsigned algorithm_number = 0;  ///< as OpenPGP counts them
  unsigned bits = 0;
  std::string curve;  ///< as gpg calls it; empty where there is none
  time_point created{};
  std::optional<time_point> expires{};  ///< nothing: never
  bool expired = false;
  bool revoked = false;
  bool invalid = false;  ///< no valid self-signature or binding, or not supported
  bool certifies = false, signs = false, encrypts = false, authenticates = false;  ///< key flags
  std::string cannot_verify;   ///< why its signatures count for nothing; empty: they count
  std::string cannot_encrypt;  ///< why nothing is encrypted for it; empty: it can be
  bool has_secret = false;     ///< the secret part is in the key ring, so it decrypts, and signs
  std::string cannot_open;     ///< why the secret part is of no use (on a card, needs a passphrase)
};

struct user_id_info {
  std::string text;                       ///< as it is written there (UTF-8 not checked)
  std::optional<time_point> certified{};  ///< by its newest self-signature that counts
  bool revoked = false;                   ///< and not certified again since
  bool valid = false;                     ///< self-signed and not revoked
};

/// One certificate, for a person to look at.
struct certificate_info {
  std::vector<key_info> keys;          ///< the primary key, then the subkeys
  std::vector<user_id_info> user_ids;  ///< the primary one first
};

/// What is in a key ring and of what use it is under the policy, in the order of its files. Asks for no passphrase.
std::vector<certificate_info> list(const keyring& keys, const policy& rules);
/// What was skipped when it was loaded, and why, as it was logged then.
std::vector<std::string> warnings(const keyring& keys);

/// What is asked of a message beyond one valid signature. Defaults are what a device should use.
struct policy {
  unsigned min_signers = 1;            ///< valid signatures by so many distinct certificates
  std::vector<fingerprint> allowed{};  ///< only these (primary key or subkey); empty: all of the ring
  unsigned min_rsa_bits = 2048;        ///< RSA and DSA keys below are refused
  std::vector<std::string> hashes{};  ///< of signatures, as "SHA-512"; empty: SHA-2 and SHA-3. MD5, SHA-1, RIPEMD never
  bool sha1_self_signatures = true;   ///< SHA-1 in self-signatures of the trusted keys (2012's keys have nothing else)
  bool ignore_expiry = false;         ///< keys and signatures do not expire; revocation always counts
  std::optional<time_point> now{};    ///< instead of the clock rule: max(system clock, newest self-signature, build)
  std::uint64_t max_content = UINT64_C(1) << 40;  ///< octets of the literal; a compression bomb stops here
  bool decrypt = true;                            ///< false: an encrypted message is refused

  enum class unpack_when {
    after_proof,    ///< a file is proven first and unpacked second; a stream is spooled nowhere: refused
    streams_early,  ///< a file as above; a stream is unpacked while it arrives, into staging
    early,          ///< always one pass
  };
  unpack_when unpack = unpack_when::streams_early;
};

/// One valid signature.
struct signer {
  fingerprint key;      ///< that made it, a primary key or a subkey
  fingerprint primary;  ///< of its certificate
  std::string user_id;  ///< the certificate's primary user ID as it is written there (UTF-8 not checked); may be empty
  time_point created;   ///< of the signature
  std::string algorithm;  ///< "RSA 3072, SHA-512"
};

/// One signature as it stands in a message, and what became of it.
struct signature_info {
  std::string key{};        ///< fingerprint or key ID of who claims to have made it; "nobody" without a claim
  std::string user_id{};    ///< of that key in the key ring, as it is written there; empty: unknown or none
  std::string algorithm{};  ///< "RSA, SHA-512"
  std::optional<time_point> created{};  ///< not known of one that was only announced
  std::optional<errc> verdict{};        ///< `success`: it counts; nothing: the message ended before it was checked
  std::string why{};                    ///< it does not count
};

/// How a message is made up. Its packets say so and nobody proves it: for people to look at, not to decide by.
struct message_info {
  struct recipient {
    std::string key{};        ///< key ID or fingerprint of the subkey; empty: hidden
    std::string algorithm{};  ///< "ECDH"
    bool ours = false;        ///< its secret key is in the key ring (of a hidden one: may be)
  };
  bool armored = false;
  bool encrypted = false;
  std::string protection{};  ///< how changes of what is encrypted are noticed: "SEIPD v1 (MDC)", "SEIPD v2 (OCB)" …
  std::string cipher{};      ///< "AES-256"; empty while it is not known for certain
  std::vector<recipient> recipients{};       ///< the first 100
  bool passphrase = false;                   ///< a passphrase opens it, too (we never try)
  std::vector<std::string> compression{};    ///< of OpenPGP, the outermost first: "ZLIB"
  std::vector<signature_info> signatures{};  ///< in the order of their packets in front of the content
};

/// The proof: exists only when every check has passed. There is no other way to make one.
class verification {
public:
  const std::vector<signer>& signers() const noexcept { return signers_; }  ///< at least one, distinct certificates
  bool encrypted() const noexcept { return encrypted_; }
  std::uint64_t content_size() const noexcept { return content_size_; }  ///< octets of the signed content

private:
  friend struct verification_access;  // the message layer, nobody else
  verification() = default;
  std::vector<signer> signers_;
  bool encrypted_ = false;
  std::uint64_t content_size_ = 0;
};

/// Reads the content of one message. A `reader`; what it yields is unverified. At the end of the content it checks the
/// signatures and that nothing follows, and throws instead of returning 0 when anything is wrong.
class message_reader {
public:
  message_reader(any_reader message, keyring keys, policy rules);
  message_reader(message_reader&&) noexcept;
  message_reader& operator=(message_reader&&) noexcept;
  ~message_reader();

  std::size_t read(byte_span room);
  /// Reads what is left, without keeping it, and returns the proof. May be called once the end was read, too.
  verification finish();
  /// What was seen of the message so far; also after read() or finish() has thrown.
  message_info info() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Adaptor: `file_reader{fd} | openpgp::open(keys)`.
class open {
public:
  using reader_adaptor = void;
  explicit open(keyring keys, policy rules = {}) : keys_(std::move(keys)), policy_(std::move(rules)) {}
  message_reader operator()(any_reader message) const { return message_reader(std::move(message), keys_, policy_); }

private:
  keyring keys_;
  policy policy_;
};

/// The proof alone: reads the message, keeps nothing.
verification verify(any_reader message, const keyring& keys, const policy& rules = {});

// ---- Writing ---------------------------------------------------------------------------------------------------------

/// How a message is made. Key names: key ID, fingerprint, or an e-mail address or part of a user ID that only one
/// certificate has.
struct sign_options {
  std::vector<std::string> signers{};  ///< empty and `sign`: the ring's only (or first) usable secret key
  bool sign = true;
  std::vector<std::string> recipients{};  ///< encrypt for these; empty: signed only
  bool armor = false;
  /// Of the signatures, instead of now; SOURCE_DATE_EPOCH is the caller's to read. Keys must be good today as well.
  std::optional<time_point> time{};
};

/// Writer that makes one message of what is written into it. Call finish() once, after the last write.
/// @throws no_secret_key, bad_passphrase, no_recipient_key from the constructor, before anything is written.
class message_writer {
public:
  message_writer(any_writer to, const keyring& keys, const sign_options& how);
  message_writer(message_writer&&) noexcept;
  message_writer& operator=(message_writer&&) noexcept;
  ~message_writer();
  void write(byte_view bytes);
  void finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Adds a signature by each of `how.signers` to a finished message that is signed and not encrypted. Its content and
/// the signatures it has stay octet for octet; a compressed message comes out uncompressed. What it has is not checked:
/// verify() first. `how.recipients` must be empty.
/// @throws no_secret_key, bad_passphrase  before anything is written.
/// @throws usage          the message is encrypted: sign before encrypting.
/// @throws not_openpgp, bad_message, truncated, no_signature  it is no signed message; what was written is of no use.
void add_signatures(any_reader message, any_writer to, const keyring& keys, const sign_options& how);

}  // namespace fussy::openpgp
