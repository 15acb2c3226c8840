/// @file signing.hpp  Options that fussy-pack and fussy-sign share: keys, recipients, passphrases.
#pragma once

#include <termios.h>
#include <fussy/pack.hpp>

#include "common.hpp"

namespace fussy::cli {

class signing_options {
public:
  void add_to(CLI::App& app) {
    app.add_option("-k,--key", keys_,
                   "Sign with this key: fingerprint, key ID or e-mail (repeatable: several signatures)")
        ->type_name("KEY");
    app.add_option("-e,--encrypt-for", recipients_, "Encrypt for this key as well (repeatable)")->type_name("KEY");
    app.add_option("--homedir", homedir_, "Key ring to take keys from (default: $GNUPGHOME or ~/.gnupg)")
        ->type_name("DIR");
    app.add_flag("-a,--armor", armor_, "Write ASCII armor (.asc) instead of binary (.gpg)");
    app.add_option("--passphrase-file", passphrase_file_, "File whose first line opens protected keys")
        ->type_name("FILE");
    app.add_option("--passphrase-fd", passphrase_fd_, "Descriptor to read that line from")->type_name("N");
  }

  pack::signing proof() const {
    pack::signing p;
    p.keyring = homedir_;
    p.how.signers = keys_;
    p.how.recipients = recipients_;
    p.how.armor = armor_;
    if (const auto epoch = source_date_epoch()) p.how.time = openpgp::time_point(std::chrono::seconds(*epoch));
    p.passphrase = [*this](const openpgp::fingerprint& key) { return passphrase(key); };
    return p;
  }

private:
  std::optional<std::string> passphrase(const openpgp::fingerprint& key) const {
    if (!passphrase_file_.empty()) return first_line(file_reader(passphrase_file_));
    if (passphrase_fd_ >= 0) {
      // One descriptor can be read once; several protected keys share its line.
      static const std::string line = first_line(file_reader(passphrase_fd_, "passphrase descriptor"));
      return line;
    }
    return ask(key);
  }

  template <class Reader>
  static std::string first_line(Reader r) {
    std::string line;
    std::byte one[1];
    while (line.size() < 4096 && r.read(one) == 1 && static_cast<char>(one[0]) != '\n')
      line += static_cast<char>(one[0]);
    if (line.ends_with('\r')) line.pop_back();
    return line;
  }

  // On the terminal itself, as gpg and ssh do: stdin and stdout may be pipes. No terminal: the key stays locked.
  static std::optional<std::string> ask(const openpgp::fingerprint& key) {
    const unique_fd tty(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (!tty) return std::nullopt;
    termios before{};
    if (::tcgetattr(tty.get(), &before) != 0) return std::nullopt;
    termios quiet = before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    file_writer(tty.get()).write(as_bytes("Passphrase for key " + key.hex() + ": "));
    ::tcsetattr(tty.get(), TCSAFLUSH, &quiet);
    std::string line = first_line(file_reader(tty.get(), "terminal"));
    ::tcsetattr(tty.get(), TCSAFLUSH, &before);
    file_writer(tty.get()).write(as_bytes("\n"));
    return line;
  }

  std::vector<std::string> keys_, recipients_;
  std::string homedir_, passphrase_file_;
  int passphrase_fd_ = -1;
  bool armor_ = false;
};

}  // namespace fussy::cli
