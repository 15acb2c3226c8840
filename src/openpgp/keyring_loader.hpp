/// @file keyring_loader.hpp  From files to a key ring: which files are read, and what is taken from each.
/// Threads: one object, one thread.
/// Errors:  keyring_unusable; what is wrong with one file or one key is a warning.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "agent_key.hpp"
#include "certificate.hpp"
#include "keyring_state.hpp"

namespace fussy::openpgp {

class keyring_loader {
public:
  explicit keyring_loader(const keyring::options& options) : options_(options) {}
  std::shared_ptr<const keyring::state> load(const std::filesystem::path& path);

  /// Octets of one file of keys, as load() takes them in. @param anchors  false: only its secret keys count.
  void add_file(byte_view content, const std::string& name, bool anchors = true);
  std::shared_ptr<keyring::state> finish();

private:
  void load_directory(const std::filesystem::path& directory);
  void load_file(const std::filesystem::path& file, bool asked_for);
  void load_agent_keys(const std::filesystem::path& directory);
  void add_block(byte_view packets, const std::string& name, bool anchors);
  void add_armored(byte_view text, const std::string& name, bool anchors);
  void match_agent_keys(keyring::state& ring);
  void warn(const std::string& text);
  void warn_of_writable(const std::filesystem::path& path);
  error nothing_usable(const std::filesystem::path& path, bool directory) const;

  struct stored_agent_key {
    agent_key key;
    std::string where;
  };

  const keyring::options& options_;
  certificate_drafts drafts_;
  std::vector<std::shared_ptr<const locked_secret>> secrets_;
  std::vector<stored_agent_key> agent_keys_;
  std::vector<std::string> warnings_;
  bool keys_without_anchor_ = false;  ///< there were keys in a file whose keys are no anchors
};

}  // namespace fussy::openpgp
