/// @file policy.hpp  Options about whose signatures are enough.
#pragma once

#include <fussy/openpgp.hpp>

#include <string>
#include <vector>

#include "common.hpp"

namespace fussy::cli {

inline void add_policy_to(CLI::App& app, openpgp::policy& rules, std::vector<std::string>& allowed) {
  app.add_option("--min-signers", rules.min_signers, "Ask for valid signatures by so many distinct keys")
      ->type_name("N")
      ->check(more_than_zero())
      ->capture_default_str();
  app.add_option("--allow-signer", allowed,
                 "Of the key ring, trust only the key with this fingerprint (repeatable; default: every key of it)")
      ->type_name("FINGERPRINT")
      ->allow_extra_args(false);  // what follows its value is the file
}

/// As gpg prints them, with or without spaces and 0x. @throws usage
inline std::vector<openpgp::fingerprint> fingerprints(const std::vector<std::string>& texts) {
  std::vector<openpgp::fingerprint> all;
  for (const std::string& text : texts) {
    const auto one = openpgp::fingerprint::parse(text);
    if (!one)
      throw error(errc::usage, {.what = "cannot allow signer \"" + printable(text) + "\"",
                                .why = "it is no fingerprint",
                                .remedy = "give all 40 (or 64) hexadecimal digits; fussy-keys lists them"});
    all.push_back(*one);
  }
  return all;
}

}  // namespace fussy::cli
