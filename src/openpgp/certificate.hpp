/// @file certificate.hpp  A certificate: a primary key, its user IDs and subkeys, and what its self-signatures say
/// about them (RFC 9580 section 10.1).
/// Threads: immutable once made.
/// Errors:  none; what is wrong with a certificate is an answer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "key.hpp"
#include "signature.hpp"

namespace fussy::openpgp {

/// The answer to "may it?": success, or why not.
struct verdict_on_key {
  errc code = errc::success;
  std::string reason;  ///< "it expired on 2020-01-01"; empty on success
  explicit operator bool() const noexcept { return code == errc::success; }
};

/// Something of a certificate with the signatures that have been verified to be by its primary key (revocations also by
/// a designated revoker).
struct signed_part {
  std::vector<signature> claims;       ///< certifications or bindings, newest first
  std::vector<signature> revocations;  ///< newest first
};

struct user_id_part : signed_part {
  byte_vector id;
};

struct key_part : signed_part {
  public_key key;
  /// Of subkeys, for each of `claims` at the same index: the hash of its right back-signature, `none` without one.
  std::vector<hash_algorithm> back_signatures;
};

/// How a certificate's signatures are judged; from a policy.
struct judgement {
  time_point now;    ///< by the clock rule
  bool sha1 = true;  ///< accept SHA-1 (and RIPEMD-160) in self-signatures; MD5 never is
  bool ignore_expiry = false;
  unsigned min_rsa_bits = 2048;
};

class certificate {
public:
  const public_key& primary() const noexcept { return primary_.key; }
  const std::vector<key_part>& subkeys() const noexcept { return subkeys_; }
  const std::vector<user_id_part>& user_ids() const noexcept { return user_ids_; }
  /// All keys: 0 is the primary, whose claims are direct-key signatures.
  std::size_t key_count() const noexcept { return 1 + subkeys_.size(); }
  const key_part& key(std::size_t index) const noexcept { return index == 0 ? primary_ : subkeys_[index - 1]; }

  // ---- Questions. `index` as for key(); `at` is the time asked about, null: judgement.now.

  /// It exists in the eyes of its owner: self-signed, bound, neither revoked nor expired.
  /// Codes: key_unusable, key_revoked, key_expired, weak_algorithm (nothing but hashes that are not accepted).
  verdict_on_key valid(std::size_t index, const judgement& by, const time_point* at = nullptr) const;
  /// It may sign data. Codes: as above; weak_algorithm also for its size.
  verdict_on_key may_sign(std::size_t index, const judgement& by, const time_point* at = nullptr) const;
  /// Somebody may encrypt for it. (Decryption asks nothing: what was encrypted can be decrypted.)
  verdict_on_key may_encrypt(std::size_t index, const judgement& by) const;

  // What the newest self-signature says that counts: of a subkey its binding; of the primary key its direct-key
  // signature where that has a word about it, else the certification of a valid user ID, however much newer that is.

  /// Flags in force (key_flag); what its algorithm can do where its self-signature has no flags.
  std::uint8_t flags(std::size_t index, const judgement& by) const;
  /// Null: never.
  std::optional<time_point> expires(std::size_t index, const judgement& by) const;
  bool revoked(std::size_t index) const noexcept { return !key(index).revocations.empty(); }
  /// Its newest self-signature that counts; null without one.
  const signature* certification(const user_id_part& part, const judgement& by) const;
  /// A user ID is self-signed and not revoked.
  bool user_id_valid(const user_id_part& part, const judgement& by) const;
  /// It was revoked and not certified again since. A user ID may be neither valid nor revoked: nobody vouches for it.
  bool user_id_revoked(const user_id_part& part, const judgement& by) const;
  /// The valid user ID that is marked primary, else the one certified last; null when there is none.
  const user_id_part* primary_user_id_part(const judgement& by) const;
  /// Its octets; empty when there is none.
  std::string primary_user_id(const judgement& by) const;
  /// The self-signature that says its preferences and features; null when there is none.
  const signature* preferences(const judgement& by) const;
  /// Creation of its newest self-signature; of the key when it has none.
  time_point newest_self_signature() const noexcept;

private:
  friend class certificate_drafts;
  verdict_on_key self_signed(const judgement& by) const;
  verdict_on_key bound(const key_part& subkey, const judgement& by) const;

  key_part primary_;
  std::vector<key_part> subkeys_;
  std::vector<user_id_part> user_ids_;
};

/// Packets of key blocks, from however many files, merged by fingerprint; then certificates with verified signatures.
class certificate_drafts {
public:
  certificate_drafts();
  certificate_drafts(certificate_drafts&&) noexcept;
  ~certificate_drafts();

  /// Takes in one packet of a key block; `tag` as in the packet (5, 6, 7, 14: keys, 13: user ID, 2: signature; others
  /// are ignored). Packets behind a primary key belong to it.
  /// @throws bad_message, unsupported  this packet is skipped, with the signatures behind it (and, when it is a primary
  ///                                   key, its whole block).
  void add(unsigned tag, byte_view body);
  /// The next packet must be a primary key: a new block begins.
  void end_of_block();
  bool empty() const noexcept;

  /// Verifies all self-signatures. In the order in which primary keys came first.
  std::vector<certificate> finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// "2024-05-31 12:00:00 UTC", and "2024-05-31".
std::string time_text(time_point t);
std::string date_text(time_point t);

}  // namespace fussy::openpgp
