// fussy-keys: what a device trusts, and why a key is of no use.
#include <fussy/openpgp.hpp>

#include <chrono>
#include <cstdio>
#include <string>

#include "common.hpp"

namespace {

using namespace fussy;

std::string date(openpgp::time_point t) {
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(t));
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                static_cast<unsigned>(day.day()));
  return text;
}

std::string seconds(const std::optional<openpgp::time_point>& t) {
  return t ? std::to_string(t->time_since_epoch().count()) : std::string();
}

// ---- For people ------------------------------------------------------------------------------------------------------

std::string answer(const std::string& why_not) { return why_not.empty() ? "yes" : "no, " + why_not; }

std::string secret_part(const openpgp::key_info& key) {
  if (!key.has_secret) return "no, its secret part is not here";
  return answer(key.cannot_open);
}

void print_key(const openpgp::key_info& key, bool primary) {
  std::printf("%s %s\n", primary ? "key   " : "subkey", key.fingerprint.hex().c_str());
  std::printf("       %s, created %s, %s\n", key.algorithm.c_str(), date(key.created).c_str(),
              key.expires ? (std::string(key.expired ? "expired " : "expires ") + date(*key.expires)).c_str()
                          : "does not expire");
  if (key.revoked) std::printf("       revoked\n");
  std::printf("       its signatures count: %s\n", answer(key.cannot_verify).c_str());
  if (key.encrypts) std::printf("       can be encrypted for: %s\n", answer(key.cannot_encrypt).c_str());
  // One key may do both. That a public key does not sign here goes without saying.
  if (key.signs && key.has_secret) std::printf("       signs here: %s\n", secret_part(key).c_str());
  if (key.encrypts) std::printf("       decrypts here: %s\n", secret_part(key).c_str());
}

void print(const openpgp::certificate_info& certificate) {
  for (const auto& key : certificate.keys) {
    const bool primary = &key == &certificate.keys.front();
    print_key(key, primary);
    if (!primary) continue;
    for (const auto& user_id : certificate.user_ids)
      std::printf("       %s%s\n", cli::printable(user_id.text).c_str(),
                  user_id.valid     ? ""
                  : user_id.revoked ? " (revoked)"
                                    : " (not self-signed)");
  }
  std::printf("\n");
}

// ---- For programs: the fields of gpg's --with-colons listing that apply ----------------------------------------------

char validity(const openpgp::key_info& key) {
  if (key.revoked) return 'r';
  if (key.expired) return 'e';
  return key.invalid ? 'i' : 'f';
}

std::string capabilities(const openpgp::certificate_info& certificate, const openpgp::key_info& key, bool primary) {
  std::string text;
  if (key.encrypts) text += 'e';
  if (key.signs) text += 's';
  if (key.certifies) text += 'c';
  if (key.authenticates) text += 'a';
  if (!primary) return text;
  // In capitals what the certificate as a whole can do now.
  bool encrypt = false, sign = false, authenticate = false;
  for (const auto& k : certificate.keys) {
    encrypt |= k.cannot_encrypt.empty();
    sign |= k.cannot_verify.empty();
    authenticate |= k.authenticates && validity(k) == 'f';
  }
  if (encrypt) text += 'E';
  if (sign) text += 'S';
  if (key.certifies && validity(key) == 'f') text += 'C';
  if (authenticate && validity(key) == 'f') text += 'A';
  return text;
}

void print_colons(const openpgp::certificate_info& certificate, const openpgp::key_info& key) {
  const bool primary = &key == &certificate.keys.front();
  const char* secret = !key.has_secret ? "" : key.cannot_open.empty() ? "+" : "#";
  std::printf("%s:%c:%u:%u:%s:%s:%s:::%s::%s:::%s::%s::\n", primary ? "pub" : "sub", validity(key), key.bits,
              key.algorithm_number, key.key_id.c_str(), seconds(key.created).c_str(), seconds(key.expires).c_str(),
              primary ? "-" : "", capabilities(certificate, key, primary).c_str(), secret, key.curve.c_str());
  std::printf("fpr:::::::::%s:\n", key.fingerprint.hex().c_str());
}

/// As gpg quotes: what would end a field or a line.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == ':')
      out += "\\x3a";
    else if (c == '\\')
      out += "\\x5c";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += cli::printable(std::string(1, c));
    else
      out += c;
  }
  return out;
}

/// A user ID is worth no more than the key it stands for.
char validity(const openpgp::user_id_info& user_id, const openpgp::key_info& primary) {
  if (user_id.revoked) return 'r';
  return user_id.valid ? validity(primary) : 'i';
}

void print_colons(const openpgp::certificate_info& certificate) {
  for (const auto& key : certificate.keys) {
    print_colons(certificate, key);
    if (&key != &certificate.keys.front()) continue;
    for (const auto& user_id : certificate.user_ids)
      std::printf("uid:%c::::%s::::%s::::::::::0:\n", validity(user_id, certificate.keys.front()),
                  user_id.revoked ? "" : seconds(user_id.certified).c_str(), quoted(user_id.text).c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  cli::command command("fussy-keys", "List the keys that packages may be signed with, and why one is of no use.",
                       "Example: fussy-keys -k /etc/fussy/keys");
  std::string ring = "/etc/fussy/keys";
  bool colons = false;
  openpgp::policy rules;
  command.app.add_option("-k,--keyring", ring, "Directory (or one file) with the trusted keys")
      ->type_name("DIR")
      ->capture_default_str();
  command.app.add_flag("--with-colons", colons, "One record per line, in the format of gpg --with-colons");
  command.app.add_flag("--ignore-expiry", rules.ignore_expiry, "Judge as if no key expired");
  return command.run(argc, argv, [&] {
    openpgp::keyring::options options;
    options.log = command.log.sink();
    const auto certificates = openpgp::list(openpgp::keyring::load(ring, options), rules);
    for (const auto& certificate : certificates) colons ? print_colons(certificate) : print(certificate);
    cli::flush_result();
  });
}
