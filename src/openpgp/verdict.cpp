#include "verdict.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "botan_seam.hpp"
#include "wire.hpp"

namespace fussy::openpgp {
namespace {

bool is_text(const signature& sig) noexcept { return sig.type == signature_type::text; }

void update_text(hash_context& context, byte_view content, bool after_cr) {
  constexpr std::array line_end{std::byte{'\r'}, std::byte{'\n'}};
  while (!content.empty()) {
    const void* const found = std::memchr(content.data(), '\n', content.size());
    if (found == nullptr) return context.update(content);
    const auto at = static_cast<std::size_t>(static_cast<const std::byte*>(found) - content.data());
    const bool whole = at > 0 ? content[at - 1] == std::byte{'\r'} : after_cr;
    context.update(content.first(at));
    context.update(whole ? byte_view(line_end).subspan(1) : byte_view(line_end));
    content = content.subspan(at + 1);
    after_cr = false;
  }
}

// How near to success a refusal is: of several the nearest is reported.
int rank(errc code) noexcept {
  constexpr std::array order{errc::unknown_signer,    errc::bad_signature,     errc::weak_algorithm,
                             errc::key_unusable,      errc::key_revoked,       errc::key_expired,
                             errc::signature_expired, errc::signer_not_allowed};
  return static_cast<int>(std::find(order.begin(), order.end(), code) - order.begin());
}

std::string summary_of(errc code, const std::string& who) {
  switch (code) {
    case errc::unknown_signer:
      return "the package is signed by an unknown key, " + who;
    case errc::bad_signature:
      return "the signature by " + who + " does not match the content";
    case errc::signature_expired:
      return "the signature by " + who + " has expired";
    default:
      return "the signature by " + who + " does not count";
  }
}

const char* remedy_for(errc code) noexcept {
  switch (code) {
    case errc::unknown_signer:
      return "install the signer's key into the key ring if you trust it, else refuse the package";
    case errc::bad_signature:
      return "fetch the package again; if it stays so, refuse it";
    case errc::key_expired:
      return "the vendor must renew the key and ship it, or sign with another";
    case errc::key_revoked:
      return "the vendor must sign with another key";
    case errc::key_unusable:
      return "the vendor must sign with a key that may sign data";
    case errc::weak_algorithm:
      return "the vendor must sign with SHA-256 or better and a key of at least 2048 bits";
    case errc::signature_expired:
      return "get a package that is signed anew";
    case errc::signer_not_allowed:
      return "use a package by a signer that the policy allows";
    default:
      return "have the package signed by a key of the key ring";
  }
}

signature parse_one_pass(byte_view packet_body) {
  cursor in(packet_body, "one-pass signature packet");
  signature sig;
  sig.version = in.u8();
  if (sig.version != 3 && sig.version != 6)
    throw error(errc::unsupported, {.what = "one-pass signature packet of unknown version"});
  sig.type = static_cast<signature_type>(in.u8());
  sig.hash = static_cast<hash_algorithm>(in.u8());
  sig.algorithm = static_cast<public_key_algorithm>(in.u8());
  if (sig.version == 6) {
    sig.salt = to_vector(in.take(in.u8()));
    sig.issuer_fingerprint.emplace(in.take(32));
  } else {
    sig.version = 4;  // what v3 one-pass packets go with
    sig.issuer = in.u64();
  }
  in.u8();  // nested: every signature is checked over the content
  return sig;
}

}  // namespace

// ---- Hashing ---------------------------------------------------------------------------------------------------------

void data_hashes::start(const signature& sig) {
  if (find(sig) == nullptr) entries_.push_back({begin_hash(sig), is_text(sig), sig.salt});
}

void data_hashes::update(byte_view content) {
  if (content.empty()) return;
  for (entry& e : entries_) {
    if (e.text)
      update_text(e.context, content, after_cr_);
    else
      e.context.update(content);
  }
  after_cr_ = content.back() == std::byte{'\r'};
}

const hash_context* data_hashes::find(const signature& sig) const noexcept {
  for (const entry& e : entries_)
    if (e.context.algorithm() == sig.hash && e.text == is_text(sig) && equal(e.salt, sig.salt)) return &e.context;
  return nullptr;
}

// ---- In front of the content -----------------------------------------------------------------------------------------

verdict::verdict(keyring keys, const policy& rules)
    : keys_(std::move(keys)), rules_(rules), judgement_(keys_.internals().judge(rules)) {}

void verdict::announce_one_pass(byte_view packet_body) {
  count_announcement();
  ++one_pass_;
  to_come_.push_back(signatures_.size());
  try {
    const signature sig = parse_one_pass(packet_body);
    prepare(sig, note(sig));
  } catch (const error& e) {
    refuse_unreadable(e);
  }
}

void verdict::announce_prefixed(byte_view packet_body) {
  count_announcement();
  kept_octets_ += packet_body.size();
  if (kept_octets_ > max_kept_octets)
    throw error(errc::message_too_large, {.what = "the signatures in front of the content are too large",
                                          .why = "they have more than " + std::to_string(max_kept_octets) + " octets",
                                          .remedy = "have it signed by fewer keys"});
  try {
    signature sig = parse_signature(packet_body);
    const std::size_t place = note(sig);
    if (prepare(sig, place)) prefixed_.emplace_back(std::move(sig), place);
  } catch (const error& e) {
    refuse_unreadable(e);
  }
}

void verdict::refuse_unreadable(const error& e) {
  refused_early_.push_back({errc::bad_signature, "somebody", e.what()});
  signatures_.push_back({.key = "nobody", .verdict = errc::bad_signature, .why = e.what()});
}

// ---- For people ------------------------------------------------------------------------------------------------------

std::size_t verdict::note(const signature& sig) {
  signatures_.push_back({.key = sig.issuer_text(),
                         .user_id = user_id_of(sig),
                         .algorithm = std::string(name(sig.algorithm)) + ", " + name(sig.hash),
                         .created = sig.created});
  return signatures_.size() - 1;
}

// What was found since `first` is about this signature; several keys may have its key ID.
void verdict::note_outcome(std::size_t place, bool counts, const std::vector<finding>& found, std::size_t first) {
  signature_info& info = signatures_[place];
  if (counts) {
    info.verdict = errc::success;
    info.why.clear();
    return;
  }
  for (std::size_t i = first; i < found.size(); ++i) {
    if (info.verdict && i > first && rank(found[i].code) <= rank(*info.verdict)) continue;
    info.verdict = found[i].code;
    info.why = found[i].why;
  }
}

void verdict::count_announcement() {
  if (++announced_ > max_signatures)
    throw error(errc::message_too_large, {.what = "the package has too many signatures",
                                          .why = "more than " + std::to_string(max_signatures) + " are not checked",
                                          .remedy = "have it signed by fewer keys"});
}

// Only what may count in the end is worth hashing for: a stranger cannot make us compute.
bool verdict::prepare(const signature& sig, std::size_t place) {
  if (auto objection = objection_before_hashing(sig)) {
    refused_early_.push_back(std::move(*objection));
    note_outcome(place, false, refused_early_, refused_early_.size() - 1);
    return false;
  }
  hashes_.start(sig);
  return true;
}

std::optional<verdict::finding> verdict::objection_before_hashing(const signature& sig) const {
  if (!sig.is_document()) return finding{errc::bad_signature, who(sig), "it is of a type that does not sign documents"};
  if (sig.version == 3)
    return finding{errc::weak_algorithm, who(sig), "it is of version 3, which protects nothing but its date"};
  if (is_broken(sig.hash))
    return finding{errc::weak_algorithm, who(sig), std::string("it uses ") + name(sig.hash) + ", which is broken"};
  if (keys_.internals().issuers(sig).empty()) {
    const std::string& path = keys_.internals().path;
    return finding{errc::unknown_signer, who(sig),
                   "that key is not in the key ring" + (path.empty() ? path : " " + path)};
  }
  if (!hash_context::supported(sig.hash))
    return finding{errc::bad_signature, who(sig), "it uses a hash that is not known here"};
  return std::nullopt;
}

void verdict::begin_content() {
  if (announced_ == 0)
    throw error(errc::no_signature, {.what = "the package is not signed",
                                     .why = "there is content without a signature",
                                     .remedy = "have it signed by a key of the key ring"});
  if (refused_early_.size() == announced_) refuse(refused_early_);
}

// ---- Behind the content ----------------------------------------------------------------------------------------------

void verdict::check(byte_view packet_body) {
  const std::size_t place = to_come_.back();
  to_come_.pop_back();
  const std::size_t first = findings_.size();
  try {
    judge(parse_signature(packet_body), place);
  } catch (const error& e) {
    findings_.push_back({errc::bad_signature, "somebody", e.what()});
    note_outcome(place, false, findings_, first);
  }
}

void verdict::judge(const signature& sig, std::size_t place) {
  const std::size_t first = findings_.size();
  signatures_[place].key = sig.issuer_text();  // says more than the one-pass packet
  signatures_[place].created = sig.created;
  note_outcome(place, counts(sig), findings_, first);
}

bool verdict::counts(const signature& sig) {
  const auto no = [&](finding why) {
    findings_.push_back(std::move(why));
    return false;
  };
  if (auto objection = objection_before_hashing(sig)) return no(std::move(*objection));
  if (!sig.defect.empty()) return no({errc::bad_signature, who(sig), sig.defect});
  if (hashes_.find(sig) == nullptr)
    return no({errc::bad_signature, who(sig), "its hash was not announced in front of the content"});
  bool any = false;
  for (const key_ref& key : keys_.internals().issuers(sig)) any |= counts_by_key(sig, key);
  return any;
}

bool verdict::counts_by_key(const signature& sig, const key_ref& key) {
  const auto no = [&](errc code, std::string why) {
    findings_.push_back({code, who(sig), std::move(why)});
    return false;
  };
  if (!signs(key.key().algorithm))
    return no(errc::key_unusable, std::string(name(key.key().algorithm)) + " keys do not sign");
  if (auto why = seam::objection(key.key()); !why.empty()) return no(errc::key_unusable, std::move(why));
  if (!verifies(sig, key.key(), *hashes_.find(sig)))
    return no(errc::bad_signature, "content or signature were changed or damaged");
  if (!rules_.ignore_expiry && sig.expired(judgement_.now)) return no(errc::signature_expired, "it was made to expire");
  if (const verdict_on_key answer = keys_.internals().counts(key, sig, rules_); !answer)
    return no(answer.code, answer.reason);
  count(sig, key);
  return true;
}

void verdict::count(const signature& sig, const key_ref& key) {
  const openpgp::fingerprint& primary = key.cert->primary().fingerprint;
  const bool known =
      std::any_of(signers_.begin(), signers_.end(), [&](const signer& s) { return s.primary == primary; });
  if (known) return;
  signers_.push_back({.key = key.key().fingerprint,
                      .primary = primary,
                      .user_id = key.cert->primary_user_id(judgement_),
                      .created = sig.created.value(),
                      .algorithm = key.key().describe() + ", " + name(sig.hash)});
}

std::vector<signer> verdict::conclude() {
  for (const auto& [sig, place] : prefixed_) judge(sig, place);
  prefixed_.clear();
  const std::size_t needed = std::max(rules_.min_signers, 1U);
  if (signers_.size() >= needed) return signers_;
  if (signers_.empty()) refuse(findings_.empty() ? refused_early_ : findings_);
  std::string why = "only " + std::to_string(signers_.size()) + " of the " + std::to_string(needed) +
                    " signers that the policy asks for signed it validly";
  for (const finding& f : findings_) why += "; " + f.who + ": " + f.why;
  throw error(errc::too_few_signers, {.what = "the package has too few signatures",
                                      .why = why,
                                      .remedy = "have it signed by more of the allowed keys"});
}

void verdict::refuse(const std::vector<finding>& findings) const {
  const auto nearest = std::max_element(findings.begin(), findings.end(),
                                        [](const finding& a, const finding& b) { return rank(a.code) < rank(b.code); });
  if (nearest == findings.end())
    throw error(errc::no_signature, {.what = "the package is not signed",
                                     .why = "no signature follows the content",
                                     .remedy = "have it signed by a key of the key ring"});
  std::string why = nearest->why;
  for (auto other = findings.begin(); other != findings.end(); ++other)
    if (other != nearest) why += "; " + other->who + ": " + other->why;
  throw error(nearest->code,
              {.what = summary_of(nearest->code, nearest->who), .why = why, .remedy = remedy_for(nearest->code)});
}

// "key 0123ABCD… (Vendor <v@example.org>)"
std::string verdict::who(const signature& sig) const {
  const std::string text = sig.issuer_text();
  std::string user_id = user_id_of(sig);
  if (user_id.empty()) return text;
  std::replace_if(
      user_id.begin(), user_id.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text + " (" + user_id + ")";
}

std::string verdict::user_id_of(const signature& sig) const {
  for (const key_ref& key : keys_.internals().issuers(sig))
    if (std::string user_id = key.cert->primary_user_id(judgement_); !user_id.empty()) return user_id;
  return {};
}

}  // namespace fussy::openpgp
