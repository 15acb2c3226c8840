// Every certificate that Debian ships, judged as gpg judges it: some 1200 of them, from twenty years, by every program
// there was.
#include <doctest/doctest.h>
#include <fussy/openpgp.hpp>

#include <map>
#include <set>
#include <sstream>

#include "gnupg.hpp"

using namespace fussy;

namespace {

struct key_record {
  bool primary = false;
  char validity = 'f';         ///< r, e, i, or f for everything else
  std::string expires, flags;  ///< seconds; sorted letters
};
struct certificate_record {
  std::map<std::string, key_record> keys;
  std::map<std::string, bool> user_ids;  ///< whether it is revoked
  bool can_sign = false;
};
using listing = std::map<std::string, certificate_record>;

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, ':');) fields.push_back(field);
  fields.resize(std::max<std::size_t>(fields.size(), 20));
  return fields;
}

/// A field without gpg's escapes, such as \x3a.
std::string unquoted(const std::string& field) {
  std::string out;
  for (std::size_t at = 0; at < field.size(); ++at) {
    if (field.compare(at, 2, "\\x") == 0 && at + 3 < field.size()) {
      out += static_cast<char>(std::stoi(field.substr(at + 2, 2), nullptr, 16));
      at += 3;
    } else {
      out += field[at];
    }
  }
  return out;
}

listing listed_by_gpg(const std::string& file) {
  const test::gnupg home;
  std::istringstream in(home.output({"--no-auto-check-trustdb", "--no-default-keyring", "--keyring", file,
                                     "--with-colons", "--with-subkey-fingerprint", "--list-keys"}));
  listing all;
  certificate_record* certificate = nullptr;
  std::vector<std::string> key;
  for (std::string line; std::getline(in, line);) {
    std::vector<std::string> fields = split(line);
    if (fields[0] == "uid") certificate->user_ids[unquoted(fields[9])] = fields[1] == "r";
    if (fields[0] == "pub" || fields[0] == "sub") key = fields;
    if (fields[0] != "fpr" || key.empty()) continue;
    key_record record;
    record.primary = key[0] == "pub";
    if (key[1].find_first_of("rei") == 0) record.validity = key[1][0];
    record.expires = key[6];
    for (const char c : key[11])
      if (std::string_view("esca").find(c) != std::string_view::npos) record.flags += c;
    std::sort(record.flags.begin(), record.flags.end());
    if (record.primary) {
      certificate = &all[fields[9]];
      certificate->can_sign = key[11].find('S') != std::string::npos;
    }
    certificate->keys[fields[9]] = record;
    key.clear();
  }
  return all;
}

listing listed_by_us(const std::string& file) {
  listing all;
  for (const auto& info : openpgp::list(openpgp::keyring::load(file), {})) {
    certificate_record& certificate = all[info.keys.front().fingerprint.hex()];
    for (const auto& key : info.keys) {
      key_record& record = certificate.keys[key.fingerprint.hex()];
      record.primary = &key == &info.keys.front();
      record.validity = key.revoked ? 'r' : key.expired ? 'e' : key.invalid ? 'i' : 'f';
      if (key.expires) record.expires = std::to_string(key.expires->time_since_epoch().count());
      if (key.authenticates) record.flags += 'a';
      if (key.certifies) record.flags += 'c';
      if (key.encrypts) record.flags += 'e';
      if (key.signs) record.flags += 's';
      certificate.can_sign |= key.cannot_verify.empty();
    }
    // A user ID is worth no more than the key it stands for.
    for (const auto& user_id : info.user_ids)
      certificate.user_ids[user_id.text] = user_id.revoked || info.keys.front().revoked;
  }
  return all;
}

struct explanation {
  std::string package;  ///< version of debian-keyring it was seen in
  std::string reason;
};

/// Where we differ from gpg, and why that is right. Anything else is a failure, and so is an entry that the installed
/// package does not need.
const std::map<std::string, explanation> explained{
    {"validity 5F1791D08F7B8C96C4FE354920E0A56D8F4CBC4C",
     {"2022.12.24",
      "a subkey that is revoked and has no binding signature: gpg says invalid, we say revoked; unusable for both"}},
    {"can sign C20CA1D9499DECBBD8BDACF9E415B2B4B5F5BBED",
     {"", "DSA with 1024 bits: below the policy's 2048; gpg has no such limit"}},
    {"can sign 7EA391D72477203B58C04FBCB5D0C804ADB11277",
     {"", "DSA with 1024 bits: below the policy's 2048; gpg has no such limit"}},
    {"validity 3F3787880D85019456F741CBA3882EBF78446F26",
     {"2025.07.26",
      "its newest self-signatures take the expiry away, an older one on another user ID still has it: gpg goes by the "
      "newest that has one, we (and sq) by the newest"}},
    {"expiry 3F3787880D85019456F741CBA3882EBF78446F26", {"2025.07.26", "as above"}},
    {"can sign 3F3787880D85019456F741CBA3882EBF78446F26", {"2025.07.26", "as above"}},
};

std::string installed_package() {
  return test::output_of({"dpkg-query", "--show", "--showformat=${Version}", "debian-keyring"});
}

/// gpg 2.4 shows a subkey's expiry as that of the primary key where this is earlier; 2.2 shows what is written.
std::string effective_expiry(const certificate_record& certificate, const std::string& own) {
  for (const auto& [name, key] : certificate.keys)
    if (key.primary && !key.expires.empty() && (own.empty() || std::stoll(key.expires) < std::stoll(own)))
      return key.expires;
  return own;
}

void compare(const listing& theirs, const listing& ours, std::set<std::string>& differences) {
  for (const auto& [fingerprint, certificate] : theirs) {
    const auto found = ours.find(fingerprint);
    if (found == ours.end()) {
      differences.insert("certificate " + fingerprint);
      continue;
    }
    if (certificate.can_sign != found->second.can_sign) differences.insert("can sign " + fingerprint);
    for (const auto& [name, key] : certificate.keys) {
      const auto same = found->second.keys.find(name);
      if (same == found->second.keys.end()) {
        differences.insert("key " + name);
        continue;
      }
      if (key.validity != same->second.validity) differences.insert("validity " + name);
      // Where the primary key's expiry differs, what gpg 2.4 shows for its subkeys follows from that.
      const bool follows = !key.primary && effective_expiry(certificate, {}) != effective_expiry(found->second, {});
      if (!follows &&
          effective_expiry(certificate, key.expires) != effective_expiry(found->second, same->second.expires))
        differences.insert("expiry " + name);
      if (key.flags != same->second.flags) differences.insert("flags " + name);
    }
    for (const auto& [text, revoked] : certificate.user_ids) {
      const auto same = found->second.user_ids.find(text);
      if (same == found->second.user_ids.end())
        differences.insert("user ID " + fingerprint + " " + text);
      else if (revoked != same->second)
        differences.insert("revoked user ID " + fingerprint + " " + text);
    }
    if (found->second.user_ids.size() != certificate.user_ids.size())
      differences.insert("number of user IDs " + fingerprint);
    if (found->second.keys.size() != certificate.keys.size()) differences.insert("number of keys " + fingerprint);
  }
  if (ours.size() != theirs.size()) differences.insert("number of certificates");
}

}  // namespace

TEST_CASE(
    "Debian's certificates: fingerprints, expiry, flags, keys and user IDs revoked, who can sign agree with gpg") {
  std::set<std::string> differences;
  std::size_t certificates = 0, keys = 0, user_ids = 0, revoked = 0;
  for (const char* name : {"debian-keyring", "debian-maintainers", "debian-nonupload", "debian-role-keys",
                           "debian-archive-keyring", "debian-archive-removed-keys"}) {
    const std::string file = std::string("/usr/share/keyrings/") + name + ".gpg";
    REQUIRE_MESSAGE(std::filesystem::exists(file), "install the packages debian-keyring and debian-archive-keyring");
    const listing theirs = listed_by_gpg(file), ours = listed_by_us(file);
    compare(theirs, ours, differences);
    certificates += ours.size();
    for (const auto& [fingerprint, certificate] : ours) {
      keys += certificate.keys.size();
      user_ids += certificate.user_ids.size();
      for (const auto& [text, gone] : certificate.user_ids) revoked += gone;
    }
  }
  MESSAGE(certificates << " certificates, " << keys << " keys, " << user_ids << " user IDs, " << revoked << " revoked");
  CHECK(certificates > 1000);
  CHECK(revoked > 100);
  for (const std::string& difference : differences) {
    CAPTURE(difference);
    CHECK(explained.count(difference) == 1);
  }
  const std::string package = installed_package();
  for (const auto& entry : explained) {
    const std::string& difference = entry.first;  // Clang 14 captures no structured bindings, as CAPTURE does
    const auto& why = entry.second;
    if (!why.package.empty() && why.package != package) continue;
    CAPTURE(difference);
    CAPTURE(why.reason);
    CHECK(differences.count(difference) == 1);
  }
}
