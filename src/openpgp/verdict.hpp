/// @file verdict.hpp  From signatures over some content to the verdict on it: which hashes to compute, which signature
/// counts, and what to say when too few do.
/// Threads: distinct objects are independent; one object needs outside locking.
/// Errors:  fussy::error: every 20xx code that concerns a signature; message_too_large.
///
/// One valid signature by a trusted key is enough (or as many as the policy asks for), whatever stands beside it: a
/// signature that cannot be checked neither proves nor spoils another (RFC 9580 §5.2.5).
#pragma once

#include <fussy/openpgp.hpp>

#include <string>
#include <utility>
#include <vector>

#include "crypto.hpp"
#include "keyring_state.hpp"
#include "signature.hpp"

namespace fussy::openpgp {

/// Hashes the content once for each combination of hash, form (binary or text) and salt that some signature needs.
class data_hashes {
public:
  /// Starts the hash that `sig` needs, unless there is one. @throws unsupported
  void start(const signature& sig);
  /// Absorbs content. A text form has every LF that follows no CR as CR LF (RFC 9580 §5.2.1).
  void update(byte_view content);
  /// The hash that `sig` needs, or null when nobody asked for it in time.
  const hash_context* find(const signature& sig) const noexcept;

private:
  struct entry {
    hash_context context;
    bool text;
    byte_vector salt;
  };
  std::vector<entry> entries_;
  bool after_cr_ = false;  // the octet before the next one was a CR
};

class verdict {
public:
  verdict(keyring keys, const policy& rules);

  // In front of the content.
  void announce_one_pass(byte_view packet_body);
  void announce_prefixed(byte_view packet_body);
  /// Signature packets that must follow the content.
  std::size_t one_pass_count() const noexcept { return one_pass_; }
  /// @throws no_signature, unknown_signer, weak_algorithm …  when nothing that was announced can count.
  void begin_content();

  void update(byte_view content) { hashes_.update(content); }

  // Behind the content.
  void check(byte_view packet_body);
  /// Signers whose signatures count, one per certificate.
  /// @throws bad_signature, key_revoked … the reason that is nearest to success; too_few_signers.
  std::vector<signer> conclude();

  /// Every signature that was announced, and what became of it.
  const std::vector<signature_info>& signatures() const noexcept { return signatures_; }

private:
  // Why a signature does not count.
  struct finding {
    errc code;
    std::string who;  // issuer
    std::string why;
  };

  void count_announcement();
  void refuse_unreadable(const error& e);
  std::size_t note(const signature& sig);
  void note_outcome(std::size_t place, bool counts, const std::vector<finding>& found, std::size_t first);
  bool prepare(const signature& sig, std::size_t place);
  std::optional<finding> objection_before_hashing(const signature& sig) const;
  void judge(const signature& sig, std::size_t place);
  bool counts(const signature& sig);
  bool counts_by_key(const signature& sig, const key_ref& key);
  void count(const signature& sig, const key_ref& key);
  [[noreturn]] void refuse(const std::vector<finding>& findings) const;
  std::string who(const signature& sig) const;
  std::string user_id_of(const signature& sig) const;

  keyring keys_;
  policy rules_;
  judgement judgement_;
  data_hashes hashes_;
  // Those in front of the content are kept until its end; post-quantum ones take 50 KB.
  static constexpr std::size_t max_kept_octets = 512 * 1024;
  std::size_t announced_ = 0, one_pass_ = 0, kept_octets_ = 0;
  std::vector<std::pair<signature, std::size_t>> prefixed_;  // and its place in signatures_
  std::vector<finding> refused_early_, findings_;
  std::vector<signature_info> signatures_;  // as announced
  std::vector<std::size_t> to_come_;  // places in there: signatures follow in reverse order of their one-pass packets
  std::vector<signer> signers_;
};

}  // namespace fussy::openpgp
