// A GnuPG home of its own for tests: keys are made, files signed and encrypted by the real program. Its agent ends with
// the object.
#pragma once

#include <fussy/openpgp.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "support/program.hpp"
#include "support/temporary_directory.hpp"

namespace test {

class gnupg {
public:
  gnupg() {
    std::filesystem::permissions(home_.path(), std::filesystem::perms::owner_all);
    // GnuPG 2.4 encrypts with ciphers of 64-bit blocks only when it is told that this is meant.
    if (run({"gpg", "--dump-options"}).out.find("--allow-old-cipher-algos\n") != std::string::npos)
      more_options_.emplace_back("--allow-old-cipher-algos");
  }
  ~gnupg() {
    try {
      run({"gpgconf", "--homedir", home(), "--kill", "all"});
    } catch (...) {  // NOLINT: there is nobody to tell
    }
  }

  std::string home() const { return home_.path().string(); }

  outcome gpg(std::vector<std::string> arguments, std::string_view input = {}) const {
    return run(command(std::move(arguments)), input);
  }
  /// As gpg(), for what has to succeed. @return what it wrote.
  std::string output(std::vector<std::string> arguments, std::string_view input = {}) const {
    return output_of(command(std::move(arguments)), input);
  }

  /// Makes a key with an encryption subkey. @param algorithm  rsa3072, ed25519 (with cv25519), nistp256 …
  /// @return the primary key's fingerprint.
  std::string make_key(const std::string& user_id, const std::string& algorithm, const std::string& expires = "0",
                       const std::string& faked_time = {}) const {
    const auto at_time = [&](std::vector<std::string> arguments) {
      // "!": it stands still, or a slow machine would make a primary key that is younger than its subkey.
      const std::string still = faked_time.ends_with('!') ? faked_time : faked_time + "!";
      if (!faked_time.empty()) arguments.insert(arguments.begin(), {"--faked-system-time", still});
      return arguments;
    };
    output(at_time({"--quick-gen-key", user_id, algorithm, "sign,cert", expires}));
    const std::string fingerprint = fingerprint_of("=" + user_id);
    const std::string encryption = algorithm == "ed25519" ? "cv25519" : algorithm == "dsa2048" ? "elg2048" : algorithm;
    output(at_time({"--quick-add-key", fingerprint, encryption, "encr", expires}));
    return fingerprint;
  }
  std::string fingerprint_of(const std::string& key) const {
    const std::string listing = output({"--with-colons", "--list-keys", key});
    const std::size_t at = listing.find("\nfpr:");
    const std::size_t begin = listing.find_first_of("0123456789ABCDEF", at + 5);
    return listing.substr(begin, listing.find(':', begin) - begin);
  }

  std::string sign(const std::string& key, std::string_view data, std::vector<std::string> options = {}) const {
    options.insert(options.end(), {"--local-user", key, "--sign"});
    return output(std::move(options), data);
  }
  std::string sign_and_encrypt(const std::string& key, std::string_view data,
                               std::vector<std::string> options = {}) const {
    options.insert(options.end(), {"--local-user", key, "--recipient", key, "--sign", "--encrypt"});
    return output(std::move(options), data);
  }

  fussy::openpgp::keyring keys() const { return fussy::openpgp::keyring::load(home_.path()); }

private:
  std::vector<std::string> command(std::vector<std::string> arguments) const {
    std::vector<std::string> all{"gpg",     "--homedir",           home(),     "--batch",      "--yes", "--no-tty",
                                 "--quiet", "--pinentry-mode",     "loopback", "--passphrase", "",      "--trust-model",
                                 "always",  "--no-auto-key-locate"};
    all.insert(all.end(), more_options_.begin(), more_options_.end());
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }

  temporary_directory home_;
  std::vector<std::string> more_options_;
};

}  // namespace test
