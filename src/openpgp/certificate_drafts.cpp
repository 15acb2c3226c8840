// From packets to certificates: collecting, merging, verifying.
#include <algorithm>
#include <functional>
#include <set>

#include "certificate.hpp"
#include "packet.hpp"

namespace fussy::openpgp {
namespace {

/// A part of a certificate, with the signatures that may concern us.
template <class Subject>
struct draft_part {
  Subject subject;
  std::vector<signature> signatures;
  std::set<byte_vector> seen;  // their packets: the same signature stands in every copy
};

struct draft {
  draft_part<public_key> primary;
  std::vector<draft_part<byte_vector>> user_ids;
  std::vector<draft_part<public_key>> subkeys;
};

bool same(const byte_vector& a, const byte_vector& b) { return a == b; }
bool same(const public_key& a, const public_key& b) { return a.fingerprint == b.fingerprint; }

/// Finds the part for a subject, or makes one: copies of a certificate are merged so.
template <class Subject>
draft_part<Subject>& part_for(std::vector<draft_part<Subject>>& parts, Subject subject) {
  for (draft_part<Subject>& part : parts)
    if (same(part.subject, subject)) return part;
  parts.push_back({std::move(subject), {}, {}});
  return parts.back();
}

bool is_revocation(signature_type type) {
  return type == signature_type::key_revocation || type == signature_type::subkey_revocation;
}

/// Newest first; of two made in the same second, the one that came later.
void sort_newest_first(std::vector<signature>& list) {
  std::reverse(list.begin(), list.end());
  std::stable_sort(list.begin(), list.end(), [](const signature& a, const signature& b) {
    return a.created.value_or(time_point{}) > b.created.value_or(time_point{});
  });
}

bool is_certification(signature_type type) {
  return type >= signature_type::certification_generic && type <= signature_type::certification_positive;
}

hash_algorithm right_back_signature(const signature& binding, const public_key& primary, const public_key& subkey) {
  for (const byte_vector& body : binding.embedded) {
    try {
      const signature back = parse_signature(body);
      if (back.type == signature_type::primary_key_binding && back.defect.empty() && back.may_be_by(subkey) &&
          verifies_subkey(back, subkey, primary, subkey))
        return back.hash;
    } catch (const error&) {
      continue;
    }
  }
  return hash_algorithm::none;
}

/// A revocation that the primary key did not make; perhaps a designated revoker did.
struct foreign_revocation {
  fingerprint primary;
  std::size_t key;  ///< index in the certificate
  signature sig;
};

}  // namespace

struct certificate_drafts::impl {
  std::vector<draft> drafts;
  std::map<fingerprint, std::size_t> by_fingerprint;

  // Where the next packets go. Null: they belong to something that was skipped.
  std::optional<std::size_t> at;
  std::function<void(byte_view)> take_signature;

  void add_primary(byte_view body) {
    end_of_block();
    public_key key = parse_public_key(body);
    const auto [known, is_new] = by_fingerprint.try_emplace(key.fingerprint, drafts.size());
    if (is_new) drafts.push_back({{std::move(key), {}, {}}, {}, {}});
    at = known->second;
    take_for(drafts[*at].primary);
  }

  void add_subkey(byte_view body) {
    take_signature = nullptr;
    if (!at) return;
    take_for(part_for(drafts[*at].subkeys, parse_public_key(body)));
  }

  void add_user_id(byte_view body) {
    take_signature = nullptr;
    if (!at) return;
    take_for(part_for(drafts[*at].user_ids, to_vector(body)));
  }

  void add_signature(byte_view body) {
    if (at && take_signature) take_signature(body);
  }

  void end_of_block() {
    at.reset();
    take_signature = nullptr;
  }

  /// The next signatures are about this part, which stays where it is until the next key or user ID comes.
  template <class Subject>
  void take_for(draft_part<Subject>& part) {
    take_signature = [this, &part](byte_view body) {
      signature sig = parse_signature(body);
      // What others say about a key is nothing to us, but that a designated revoker revokes it.
      if (!sig.may_be_by(drafts[*at].primary.subject) && !is_revocation(sig.type)) return;
      if (part.seen.insert(to_vector(body)).second) part.signatures.push_back(std::move(sig));
    };
  }

  static certificate verify(const draft& d, std::vector<foreign_revocation>& foreign);
  static void ask_designated_revokers(std::vector<certificate>& certificates,
                                      const std::vector<foreign_revocation>& foreign);
};

// ---- Verifying ------------------------------------------------------------------------------------------------------

namespace {

void verify_primary(key_part& part, const draft_part<public_key>& d, std::vector<foreign_revocation>& foreign) {
  for (const signature& sig : d.signatures) {
    const bool revokes = sig.type == signature_type::key_revocation;
    if (!revokes && sig.type != signature_type::direct_key) continue;
    if (sig.may_be_by(part.key) && verifies_key(sig, part.key, part.key))
      (revokes ? part.revocations : part.claims).push_back(sig);
    else if (revokes)
      foreign.push_back({part.key.fingerprint, 0, sig});
  }
  sort_newest_first(part.claims);
  sort_newest_first(part.revocations);
}

user_id_part verify_user_id(const public_key& primary, const draft_part<byte_vector>& d) {
  user_id_part part;
  part.id = d.subject;
  for (const signature& sig : d.signatures) {
    const bool revokes = sig.type == signature_type::certification_revocation;
    if ((revokes || is_certification(sig.type)) && verifies_user_id(sig, primary, primary, part.id))
      (revokes ? part.revocations : part.claims).push_back(sig);
  }
  sort_newest_first(part.claims);
  sort_newest_first(part.revocations);
  return part;
}

key_part verify_subkey(const public_key& primary, const draft_part<public_key>& d, std::size_t index,
                       std::vector<foreign_revocation>& foreign) {
  key_part part;
  part.key = d.subject;
  for (const signature& sig : d.signatures) {
    const bool revokes = sig.type == signature_type::subkey_revocation;
    if (!revokes && sig.type != signature_type::subkey_binding) continue;
    if (sig.may_be_by(primary) && verifies_subkey(sig, primary, primary, part.key))
      (revokes ? part.revocations : part.claims).push_back(sig);
    else if (revokes)
      foreign.push_back({primary.fingerprint, index, sig});
  }
  sort_newest_first(part.claims);
  sort_newest_first(part.revocations);
  for (const signature& binding : part.claims)
    part.back_signatures.push_back(right_back_signature(binding, primary, part.key));
  return part;
}

bool is_revoker(const certificate& cert, const public_key& key) {
  for (const signature& direct : cert.key(0).claims)
    for (const designated_revoker& revoker : direct.revokers)
      if (revoker.fingerprint == key.fingerprint && direct.defect.empty() && direct.hash != hash_algorithm::md5)
        return true;
  return false;
}

}  // namespace

certificate certificate_drafts::impl::verify(const draft& d, std::vector<foreign_revocation>& foreign) {
  certificate cert;
  cert.primary_.key = d.primary.subject;
  const public_key& primary = cert.primary_.key;
  verify_primary(cert.primary_, d.primary, foreign);
  for (const auto& user_id : d.user_ids) cert.user_ids_.push_back(verify_user_id(primary, user_id));
  for (const auto& subkey : d.subkeys)
    cert.subkeys_.push_back(verify_subkey(primary, subkey, cert.subkeys_.size() + 1, foreign));
  return cert;
}

/// Needs all certificates: the revoker's key must be in the ring, too.
void certificate_drafts::impl::ask_designated_revokers(std::vector<certificate>& certificates,
                                                       const std::vector<foreign_revocation>& foreign) {
  const auto find = [&](const auto& wanted) -> certificate* {
    const auto found = std::ranges::find_if(certificates, wanted);
    return found == certificates.end() ? nullptr : &*found;
  };
  for (const foreign_revocation& f : foreign) {
    certificate* cert = find([&](const certificate& c) { return c.primary().fingerprint == f.primary; });
    const certificate* revoker = find([&](const certificate& c) { return f.sig.claims(c.primary()); });
    if (cert == nullptr || revoker == nullptr || !is_revoker(*cert, revoker->primary())) continue;
    key_part& part = f.key == 0 ? cert->primary_ : cert->subkeys_[f.key - 1];
    const bool right = f.key == 0 ? verifies_key(f.sig, revoker->primary(), cert->primary())
                                  : verifies_subkey(f.sig, revoker->primary(), cert->primary(), part.key);
    if (!right) continue;
    part.revocations.push_back(f.sig);
    sort_newest_first(part.revocations);
  }
}

// ---- The class ------------------------------------------------------------------------------------------------------

certificate_drafts::certificate_drafts() : impl_(std::make_unique<impl>()) {}
certificate_drafts::certificate_drafts(certificate_drafts&&) noexcept = default;
certificate_drafts::~certificate_drafts() = default;

void certificate_drafts::add(unsigned tag, byte_view body) {
  switch (static_cast<packet_type>(tag)) {
    case packet_type::public_key:
    case packet_type::secret_key:
      return impl_->add_primary(body);
    case packet_type::public_subkey:
    case packet_type::secret_subkey:
      return impl_->add_subkey(body);
    case packet_type::user_id:
      return impl_->add_user_id(body);
    case packet_type::user_attribute:
      impl_->take_signature = nullptr;
      return;
    case packet_type::signature:
      return impl_->add_signature(body);
    default:
      return;  // trust, padding, markers, …
  }
}

void certificate_drafts::end_of_block() { impl_->end_of_block(); }
bool certificate_drafts::empty() const noexcept { return impl_->drafts.empty(); }

std::vector<certificate> certificate_drafts::finish() {
  std::vector<certificate> certificates;
  std::vector<foreign_revocation> foreign;
  for (const draft& d : impl_->drafts) certificates.push_back(impl::verify(d, foreign));
  impl::ask_designated_revokers(certificates, foreign);
  return certificates;
}

}  // namespace fussy::openpgp
