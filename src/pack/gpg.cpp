#include "gpg.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <fussy/nbio.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>

namespace fussy::pack {
namespace {

using arguments = std::vector<std::string>;

constexpr std::size_t max_messages = 64 * 1024;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// gpg as we call it every time.
nbio::process gpg(const signing& proof, const arguments& more) {
  arguments argv{"gpg", "--batch", "--no-tty", "--no-auto-key-locate", "--status-fd", "2"};
  if (!proof.keyring.empty()) argv.insert(argv.end(), {"--homedir", proof.keyring.string()});
  argv.insert(argv.end(), more.begin(), more.end());
  nbio::process process = nbio::process(argv).err(nbio::capture{max_messages});
  // Its standard input is our pipe, so gpg cannot tell its agent by it on which terminal to ask for a PIN.
  std::array<char, 256> terminal{};
  if (std::getenv("GPG_TTY") == nullptr && ::ttyname_r(STDERR_FILENO, terminal.data(), terminal.size()) == 0)
    process = process.env("GPG_TTY", terminal.data());
  return process;
}

// ---- What gpg says -----------------------------------------------------------------------------------------------------

struct gpg_messages {
  std::vector<std::string_view> status;  ///< lines for programs, without their mark
  std::string text;                      ///< lines for people
};

gpg_messages messages_of(std::string_view standard_error) {
  constexpr std::string_view mark = "[GNUPG:] ";
  gpg_messages found;
  for (const std::string_view line : split(standard_error, '\n')) {
    if (line.starts_with(mark))
      found.status.push_back(line.substr(mark.size()));
    else
      found.text.append(line).append("\n");
  }
  return found;
}

/// The reason in "FAILURE sign 83886179": an error code of libgpg-error, without the part that names its source.
unsigned failure_code(const gpg_messages& messages) {
  for (const std::string_view line : messages.status) {
    const auto words = split(line, ' ');
    unsigned long code = 0;
    if (words.size() == 3 && words[0] == "FAILURE" && words[1] != "gpg-exit" &&
        std::from_chars(words[2].data(), words[2].data() + words[2].size(), code).ec == std::errc{})
      return static_cast<unsigned>(code & 0xffff);
  }
  return 0;
}

errc code_of(const gpg_messages& messages) {
  constexpr unsigned bad_passphrase = 11, no_secret_key = 17, unusable_public_key = 53, unusable_secret_key = 54,
                     canceled = 99, fully_canceled = 198;
  for (const std::string_view line : messages.status) {
    if (line.starts_with("INV_RECP")) return errc::no_recipient_key;
    if (line.starts_with("INV_SGNR")) return errc::no_secret_key;
  }
  switch (failure_code(messages)) {
    case bad_passphrase:
      return errc::bad_passphrase;
    case no_secret_key:
    case unusable_secret_key:
      return errc::no_secret_key;
    case unusable_public_key:
      return errc::no_recipient_key;
    case canceled:
    case fully_canceled:
      return errc::cancelled;
    default:
      return errc::process_failed;
  }
}

std::string remedy_for(errc code) {
  switch (code) {
    case errc::bad_passphrase:
      return "try again with the right passphrase or PIN";
    case errc::no_secret_key:
      return "insert the card, or name a key that gpg --list-secret-keys shows";
    case errc::no_recipient_key:
      return "name a key that gpg --list-keys shows and that may be encrypted for";
    default:
      return "see what gpg wrote; the same has to work with gpg --sign alone";
  }
}

[[noreturn]] void stopped(const std::string& what, const std::string& why) {
  throw error(errc::cancelled, {.what = what, .why = why, .remedy = "start it again when it suits"});
}

[[noreturn]] void gpg_failed(const std::string& what, const nbio::result& run) {
  if (run.cancelled) stopped(what, "the caller asked to stop");
  const nbio::stage_report* culprit = run.culprit();
  if (culprit == nullptr || !culprit->is_process) {
    run.check();
    throw error(errc::process_failed, {.what = what, .why = "gpg was stopped", .remedy = "try again"});
  }
  const int not_started = culprit->spawn_errno;
  if (not_started == ENOENT || not_started == EACCES || not_started == ENOEXEC)
    throw error(errc::missing_program, {.what = what,
                                        .why = "gpg cannot be started: " + errno_text(not_started),
                                        .remedy = "install GnuPG, or sign without --signer gpg",
                                        .system = not_started});
  if (not_started != 0) run.check();
  // Ctrl-C on a terminal reaches gpg as well, which may be faster than the caller.
  if (const int by = culprit->st.signal; by == SIGINT || by == SIGTERM || by == SIGHUP)
    stopped(what, fmt::format("gpg was told to end (signal {})", by));
  const gpg_messages messages = messages_of(culprit->err);
  const errc code = code_of(messages);
  const auto lines = split(messages.text, '\n');
  std::string why = culprit->st.signal != 0 ? fmt::format("gpg died of signal {}", culprit->st.signal)
                                            : fmt::format("gpg ended with status {}", culprit->st.code);
  if (!lines.empty()) why.append(": ").append(lines.back());
  throw error(code, {.what = what, .why = why, .remedy = remedy_for(code), .output = messages.text});
}

// ---- Which keys --------------------------------------------------------------------------------------------------------

struct listed_certificate {
  std::string fingerprint;           ///< of the primary key
  std::vector<std::string> subkeys;  ///< fingerprints
  std::string user_id;
  std::string capabilities;  ///< of the whole certificate in capitals: what it can be used for now
  char validity = '-';
};

/// Fields of a line of gpg's colon listing (its doc/DETAILS counts them from 1).
std::string_view field(const std::vector<std::string_view>& fields, std::size_t number) {
  return number <= fields.size() ? fields[number - 1] : std::string_view{};
}

std::vector<listed_certificate> parse_listing(std::string_view text) {
  std::vector<listed_certificate> all;
  bool primary = true;
  for (const std::string_view line : split(text, '\n')) {
    const auto fields = split(line, ':');
    const std::string_view kind = field(fields, 1);
    if (kind == "pub" || kind == "sec") {
      const std::string_view validity = field(fields, 2);
      all.push_back({.fingerprint = {},
                     .subkeys = {},
                     .user_id = {},
                     .capabilities = std::string(field(fields, 12)),
                     .validity = validity.empty() ? '-' : validity[0]});
      primary = true;
    } else if (kind == "sub" || kind == "ssb") {
      primary = false;
    } else if (all.empty()) {
      continue;
    } else if (kind == "fpr" && primary) {
      all.back().fingerprint = field(fields, 10);
    } else if (kind == "fpr") {
      all.back().subkeys.emplace_back(field(fields, 10));
    } else if (kind == "uid" && all.back().user_id.empty()) {
      all.back().user_id = field(fields, 10);
    }
  }
  return all;
}

/// What a key is wanted for, and how gpg calls it.
struct purpose {
  const char* list;      ///< the option that lists keys for it
  char capability;       ///< in gpg's listing
  errc missing;          ///< when there is none
  const char* verb;      ///< "sign as"
  const char* for_what;  ///< "for signing"
};
constexpr purpose to_sign{"--list-secret-keys", 'S', errc::no_secret_key, "sign as", "for signing"};
constexpr purpose to_encrypt{"--list-keys", 'E', errc::no_recipient_key, "encrypt for", "for encryption"};

/// @param said  gets what gpg says to people, for when there is nothing.
std::vector<listed_certificate> list(const signing& proof, const purpose& p, const std::string& name, std::string& said,
                                     const std::stop_token& stop) {
  // Fingerprints of subkeys come when they are asked for twice.
  const nbio::result run = gpg(proof, {"--with-colons", "--with-fingerprint", "--with-fingerprint", p.list, "--", name})
                               .any_exit()
                               .stop(stop)
                               .run();
  if (!run) gpg_failed(fmt::format("cannot {} \"{}\"", p.verb, name), run);
  said = messages_of(run.stages.front().err).text;
  return parse_listing(run.out);
}

std::string hex_digits(std::string_view name) {
  if (name.starts_with("0x") || name.starts_with("0X")) name.remove_prefix(2);
  std::string digits;
  for (const char c : name) {
    if (c == ' ') continue;
    if (!std::isxdigit(static_cast<unsigned char>(c))) return {};
    digits += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return digits.size() >= 8 ? digits : std::string{};
}

/// A fingerprint that leaves gpg no choice. A subkey that is named itself is the one to use.
std::string exact_name(const listed_certificate& certificate, const std::string& name) {
  const std::string digits = hex_digits(name);
  if (!digits.empty() && !certificate.fingerprint.ends_with(digits))
    for (const std::string& subkey : certificate.subkeys)
      if (subkey.ends_with(digits)) return subkey + "!";
  return certificate.fingerprint;
}

std::string why_unusable(const listed_certificate& certificate, const purpose& p) {
  switch (certificate.validity) {
    case 'e':
      return "it has expired";
    case 'r':
      return "it was revoked";
    default:
      return fmt::format("it has no key {}", p.for_what);
  }
}

/// The one certificate that a name means, as message_writer finds it in a key ring: gpg itself would take the first.
std::string resolve(const signing& proof, const purpose& p, const std::string& name, const std::stop_token& stop) {
  const bool is_address = name.find('@') != std::string::npos && !name.starts_with('<');
  std::vector<listed_certificate> found;
  std::string said;
  if (is_address) found = list(proof, p, "<" + name + ">", said, stop);
  if (found.empty()) found = list(proof, p, name, said, stop);
  std::string against;
  std::vector<const listed_certificate*> fitting;
  for (const listed_certificate& certificate : found) {
    if (certificate.capabilities.find(p.capability) != std::string::npos)
      fitting.push_back(&certificate);
    else
      against += (against.empty() ? "" : "; ") + certificate.fingerprint + ": " + why_unusable(certificate, p);
  }
  if (fitting.size() == 1) return exact_name(*fitting.front(), name);
  std::string why = against.empty() ? "gpg knows no such key" : against;
  if (!fitting.empty()) {
    why = "several keys fit:";
    for (const listed_certificate* certificate : fitting)
      why += fmt::format(" {} ({})", certificate->fingerprint, certificate->user_id);
  }
  throw error(p.missing, {.what = fmt::format("cannot {} \"{}\"", p.verb, name),
                          .why = why,
                          .remedy = fmt::format("name one key that gpg {} shows", p.list),
                          .output = found.empty() ? said : std::string()});
}

arguments how_to_sign(const signing& proof, const std::stop_token& stop) {
  const openpgp::sign_options& how = proof.how;
  // Everything in the key ring is trusted, as without gpg; the content is compressed already.
  arguments options{"--trust-model", "always", "--compress-algo", "none"};
  if (how.time)
    options.insert(options.end(), {"--faked-system-time", fmt::format("{}!", how.time->time_since_epoch().count())});
  if (how.armor) options.emplace_back("--armor");
  if (how.sign) options.emplace_back("--sign");
  for (const std::string& name : how.signers)
    options.insert(options.end(), {"--local-user", resolve(proof, to_sign, name, stop)});
  if (!how.recipients.empty()) options.emplace_back("--encrypt");
  for (const std::string& name : how.recipients)
    options.insert(options.end(), {"--recipient", resolve(proof, to_encrypt, name, stop)});
  return options;
}

}  // namespace

void sign_with_gpg(int to, const signing& proof, const content_producer& content, const std::stop_token& stop) {
  if (!proof.keyring.empty() && !std::filesystem::is_directory(proof.keyring))
    throw error(errc::keyring_unusable, {.what = "cannot sign with gpg",
                                         .why = proof.keyring.string() + " is no directory",
                                         .remedy = "name a directory that gpg --homedir takes",
                                         .path = proof.keyring.string()});
  const auto produce = [&content](nbio::stage_reader&, nbio::stage_writer& out) {
    any_writer into = by_reference(out);
    content(into);
  };
  const nbio::process signer = gpg(proof, how_to_sign(proof, stop));
  const nbio::result run =
      (nbio::borrow(nbio::view()) | nbio::on_thread(produce) | signer | nbio::fd(to)).stop(stop).run();
  if (!run) gpg_failed("cannot sign with gpg", run);
}

}  // namespace fussy::pack
