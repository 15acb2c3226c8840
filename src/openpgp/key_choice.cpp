#include "key_choice.hpp"

#include <algorithm>
#include <functional>
#include <optional>

namespace fussy::openpgp {
namespace {

/// Reasons why keys do not come into question, one per key, for the message.
class objections {
public:
  void add(const public_key& key, const std::string& why) {
    if (count_++ >= 5) return;
    if (!text_.empty()) text_ += "; ";
    text_ += key.fingerprint.hex() + " (" + key.describe() + "): " + why;
  }
  std::string text(const std::string& none) const {
    if (count_ == 0) return none;
    return count_ > 5 ? text_ + "; and " + std::to_string(count_ - 5) + " more" : text_;
  }
  /// A key that only wants its passphrase is there.
  errc code() const { return lacks_passphrase ? errc::bad_passphrase : errc::no_secret_key; }

  bool lacks_passphrase = false;

private:
  std::string text_;
  std::size_t count_ = 0;
};

/// The keys of a certificate, subkeys newest first, the primary key last; just the subkey where that is what the name
/// means.
std::vector<std::size_t> in_order(const certificate& cert, std::string_view name) {
  std::vector<std::size_t> order;
  for (std::size_t i = 1; i < cert.key_count(); ++i) order.push_back(i);
  if (has_name(cert.primary(), name)) name = {};
  if (std::ranges::any_of(order, [&](std::size_t i) { return has_name(cert.key(i).key, name); })) {
    std::erase_if(order, [&](std::size_t i) { return !has_name(cert.key(i).key, name); });
    return order;
  }
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return cert.key(a).key.created > cert.key(b).key.created; });
  order.push_back(0);
  return order;
}

/// A signature may be dated back, for builds that can be repeated. Its key has to be good at that time, or no reader
/// accepts it; and good today, as one that has expired or was revoked signs nothing any more.
struct signing_times {
  judgement by, today;
};

const secret_key* signing_key(const keyring::state& ring, const certificate& cert, std::string_view name,
                              const signing_times& when, objections& against) {
  const judgement& by = when.by;
  for (const std::size_t i : in_order(cert, name)) {
    const public_key& key = cert.key(i).key;
    if (!signs(key.algorithm)) continue;
    const locked_secret* secret = ring.secret_of(key);
    if (secret == nullptr) {
      against.add(key, "its secret part is not in the key ring");
    } else if (const auto answer = cert.may_sign(i, by); !answer) {
      against.add(key, answer.reason);
    } else if (const auto answer_today = cert.may_sign(i, when.today); !answer_today) {
      against.add(key, answer_today.reason);
    } else if (by.now < key.created) {
      against.add(key, "it was made on " + time_text(key.created) + ", after the time to sign for");
    } else if (const secret_key* open = ring.unlock(*secret)) {
      return open;
    } else {
      against.add(key, secret->why_not());
      if (secret->is_protected() && !secret->is_stub()) {
        against.lacks_passphrase = true;
        return nullptr;  // not another key in its place, of which nobody knows
      }
    }
  }
  return nullptr;
}

std::optional<key_ref> encryption_key(const certificate& cert, std::string_view name, const judgement& by,
                                      objections& against) {
  for (const std::size_t i : in_order(cert, name)) {
    const public_key& key = cert.key(i).key;
    if (!encrypts(key.algorithm)) continue;
    if (const auto answer = cert.may_encrypt(i, by); !answer)
      against.add(key, answer.reason);
    else
      return key_ref{&cert, i};
  }
  return std::nullopt;
}

[[noreturn]] void no_signer(const std::string& who, const std::string& why, errc code = errc::no_secret_key) {
  throw error(code, {.what = "cannot sign" + (who.empty() ? who : " as \"" + who + "\""),
                     .why = why,
                     .remedy = "name a key that may sign, and give its passphrase if it has one; "
                               "fussy-keys lists what is in the key ring"});
}

[[noreturn]] void no_recipient(const std::string& who, const std::string& why) {
  throw error(errc::no_recipient_key,
              {.what = "cannot encrypt for \"" + who + "\"",
               .why = why,
               .remedy = "see fussy-keys for what is in the key ring, and name one certificate"});
}

std::string names_of(const std::vector<const certificate*>& certificates, const judgement& by) {
  std::string text;
  for (const certificate* cert : certificates) {
    if (!text.empty()) text += ", ";
    text += cert->primary().fingerprint.hex() + " (" + cert->primary_user_id(by) + ")";
  }
  return text;
}

/// Why a name finds nothing. A fixed time may lie before the day the key was made: then nobody has that name yet.
std::string nothing_named(const keyring::state& ring, const std::string& name) {
  const judgement any_day{.now = time_point::max(), .ignore_expiry = true};
  if (ring.named(name, any_day).empty()) return "the key ring has no such key";
  return "that key was made after the time that the signature is to have (SOURCE_DATE_EPOCH sets it)";
}

const secret_key* signer_named(const keyring::state& ring, const std::string& name, const signing_times& when) {
  objections against;
  const secret_key* chosen = nullptr;
  std::vector<const certificate*> fitting;
  for (const certificate* cert : ring.named(name, when.by)) {
    if (const secret_key* key = signing_key(ring, *cert, name, when, against)) {
      fitting.push_back(cert);
      if (chosen == nullptr) chosen = key;
    }
  }
  if (chosen == nullptr || against.lacks_passphrase)
    no_signer(name, against.text(nothing_named(ring, name)), against.code());
  if (fitting.size() > 1) no_signer(name, "several keys fit: " + names_of(fitting, when.by));
  return chosen;
}

const secret_key* first_signer(const keyring::state& ring, const signing_times& when) {
  objections against;
  for (const certificate& cert : ring.certificates) {
    const bool any_secret = std::ranges::any_of(
        in_order(cert, {}), [&](std::size_t i) { return ring.secret_of(cert.key(i).key) != nullptr; });
    if (!any_secret) continue;
    if (const secret_key* key = signing_key(ring, cert, {}, when, against)) return key;
    if (against.lacks_passphrase) break;
  }
  no_signer({},
            against.text("the key ring " + ring.path + " has no secret key that belongs to one of its certificates"),
            against.code());
}

}  // namespace

std::vector<const secret_key*> choose_signers(const keyring::state& ring, const std::vector<std::string>& names,
                                              time_point at) {
  const signing_times when{.by = {.now = at}, .today = {.now = ring.now(policy{})}};
  if (names.empty()) return {first_signer(ring, when)};
  std::vector<const secret_key*> chosen;
  for (const std::string& name : names) {
    const secret_key* key = signer_named(ring, name, when);
    if (std::ranges::find(chosen, key) == chosen.end()) chosen.push_back(key);
  }
  return chosen;
}

std::vector<key_ref> choose_recipients(const keyring::state& ring, const std::vector<std::string>& names,
                                       const judgement& by) {
  std::vector<key_ref> chosen;
  for (const std::string& name : names) {
    objections against;
    std::optional<key_ref> found;
    std::vector<const certificate*> fitting;
    for (const certificate* cert : ring.named(name, by)) {
      if (const auto key = encryption_key(*cert, name, by, against)) {
        fitting.push_back(cert);
        found = key;
      }
    }
    if (!found) no_recipient(name, against.text("the key ring has no such key that is for encryption"));
    if (fitting.size() > 1) no_recipient(name, "several keys fit: " + names_of(fitting, by));
    if (std::ranges::find(chosen, &found->key(), [](const key_ref& k) { return &k.key(); }) == chosen.end())
      chosen.push_back(*found);
  }
  return chosen;
}

}  // namespace fussy::openpgp
