/// @file signing.hpp  Options that fussy-pack and fussy-sign share: keys, recipients, passphrases, and who signs.
#pragma once

#include <fussy/pack.hpp>

#include "events.hpp"
#include "passphrase_prompt.hpp"

namespace fussy::cli {

/// What is said of a package that was made.
inline json package_fields(const std::filesystem::path& package, bool is_signed) {
  std::error_code ignored;
  return {{"path", package.string()}, {"size", std::filesystem::file_size(package, ignored)}, {"signed", is_signed}};
}

class signing_options {
public:
  void add_to(CLI::App& app) {
    app.add_option("-k,--key", keys_,
                   "Sign with this key: fingerprint, key ID, e-mail, or a part of the user ID that only one key has "
                   "(repeatable: several signatures)")
        ->type_name("KEY")
        ->allow_extra_args(false);  // what follows its value is the file
    app.add_option("-e,--encrypt-for", recipients_, "Encrypt for this key as well, named as for -k (repeatable)")
        ->type_name("KEY")
        ->allow_extra_args(false);
    app.add_option("--homedir", homedir_, "Key ring to take keys from (default: $GNUPGHOME or ~/.gnupg)")
        ->type_name("DIR");
    app.add_flag("-a,--armor", armor_, "Write ASCII armor (.asc) instead of binary (.gpg)");
    app.add_option("--signer", signer_, "Who signs: fussy itself, or gpg, for keys on smart cards")
        ->capture_default_str()
        ->check(CLI::IsMember({"fussy", "gpg"}));
    app.add_option("--passphrase-file", passphrase_file_, "File whose first line opens protected keys")
        ->type_name("FILE");
    app.add_option("--passphrase-fd", passphrase_fd_, "Descriptor to read that line from")->type_name("N");
  }

  /// @param stop  ends the wait for a passphrase.
  pack::signing proof(const std::stop_token& stop) const {
    pack::signing p;
    if (signer_ == "gpg") {
      if (!passphrase_file_.empty() || passphrase_fd_ >= 0)
        throw error(errc::usage, {.what = "cannot give a passphrase to gpg",
                                  .why = "its agent asks for PIN or passphrase itself",
                                  .remedy = "leave out --passphrase-file and --passphrase-fd"});
      p.by = pack::signing::program::gpg;
    }
    p.keyring = homedir_;
    p.how.signers = keys_;
    p.how.recipients = recipients_;
    p.how.armor = armor_;
    if (const auto epoch = source_date_epoch()) p.how.time = openpgp::time_point(std::chrono::seconds(*epoch));
    p.passphrase = passphrases(stop);
    return p;
  }

private:
  /// Read at once, so that a file that is not there is told as such; several protected keys share the line.
  openpgp::passphrase_callback passphrases(const std::stop_token& stop) const {
    std::optional<std::string> line;
    if (!passphrase_file_.empty())
      line = first_line(stoppable_reader(file_reader(std::filesystem::path(passphrase_file_)), passphrase_file_, stop));
    else if (passphrase_fd_ >= 0)
      line = first_line(stoppable_reader(file_reader(passphrase_fd_, "passphrase descriptor"), "the passphrase", stop));
    return [line, stop](const openpgp::fingerprint& key) {
      return line ? line : ask_on_terminal("Passphrase for key " + key.hex() + ": ", stop);
    };
  }

  std::vector<std::string> keys_, recipients_;
  std::string homedir_, passphrase_file_, signer_ = "fussy";
  int passphrase_fd_ = -1;
  bool armor_ = false;
};

}  // namespace fussy::cli
