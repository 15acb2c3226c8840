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

/// Something of a certificate with the signatures that have been verified to be by its primary key (or, for
/// revocations, by a designated revoker).
struct signed_part {
  std::vector<signature> claims;       ///< certifications or bindings, verified, newest first
  std::vector<signature> revocations;  ///< verified
};

struct user_id_part : signed_part {
  byte_vector id;
  bool attribute = false;
};

struct key_part : signed_part {
  public_key key;
  /// For each of `claims`, at the same index: it holds a right back-signature; the hash of that.
  std::vector<std::optional<hash_algorithm>> back_signature;
};

/// How a certificate's signatures are judged; from a policy.
struct judgement {
  time_point now;    ///< by the clock rule
  bool sha1 = true;  ///< accept SHA-1 in self-signatures
  bool ignore_expiry = false;
  unsigned min_rsa_bits = 2048;
};

class certificate {
public:
  explicit certificate(public_key primary) { primary_.key = std::move(primary); }

  const public_key& primary() const noexcept { return primary_.key; }
  const key_part& primary_part() const noexcept { return primary_; }  ///< claims: direct-key signatures
  const std::vector<key_part>& subkeys() const noexcept { return subkeys_; }
  const std::vector<user_id_part>& user_ids() const noexcept { return user_ids_; }
  /// All keys: 0 is the primary.
  std::size_t key_count() const noexcept { return 1 + subkeys_.size(); }
  const key_part& key(std::size_t index) const noexcept { return index == 0 ? primary_ : subkeys_[index - 1]; }

  // ---- Questions. `index` as for key().

  /// May it sign data, for a signature made at `made`? @param made  null: one made at judgement.now.
  verdict_on_key may_sign(std::size_t index, const judgement& by, const time_point* made = nullptr) const;
  /// May somebody encrypt for it at judgement.now? (Decryption asks nothing: what was encrypted can be decrypted.)
  verdict_on_key may_encrypt(std::size_t index, const judgement& by) const;
  /// It exists in the eyes of its owner: self-signed, bound, neither revoked nor expired.
  verdict_on_key valid(std::size_t index, const judgement& by, const time_point* at = nullptr) const;
  /// Flags that are in force (key_flag); those of the algorithm when there is no such subpacket.
  std::uint8_t flags(std::size_t index, const judgement& by) const;
  std::optional<time_point> expires(std::size_t index, const judgement& by) const;
  bool revoked(std::size_t index) const noexcept { return !key(index).revocations.empty(); }
  /// The user ID that is marked primary, else the newest certified; empty when there is none.
  std::string primary_user_id(const judgement& by) const;
  /// The self-signature that says the certificate's preferences and features; null when there is none.
  const signature* preferences(const judgement& by) const;
  /// Creation of its newest self-signature, at least that of the key.
  time_point newest_self_signature() const noexcept;

private:
  friend class certificate_builder;
  key_part primary_;
  std::vector<key_part> subkeys_;
  std::vector<user_id_part> user_ids_;
};

}  // namespace fussy::openpgp
