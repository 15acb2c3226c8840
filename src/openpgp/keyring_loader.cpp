#include "keyring_loader.hpp"

#include <dirent.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <memory>
#include <string_view>

#include "armor.hpp"
#include "keybox.hpp"
#include "packet.hpp"

namespace fussy::openpgp {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_ring_octets = std::size_t{256} << 20;
constexpr std::size_t max_agent_key_octets = std::size_t{1} << 20;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// Files of a directory that may hold keys. Backups (pubring.kbx~), locks and hidden files are none of them.
bool may_hold_keys(const fs::path& file) {
  const std::string name = lower(file.filename().string());
  if (name.empty() || name.front() == '.' || name == "trustdb.gpg") return false;
  const std::string extension = lower(file.extension().string());
  return name == "pubring.kbx" || extension == ".gpg" || extension == ".asc" || extension == ".pgp";
}

/// Of gpg 1.4 and 2.0: its secret keys are used, but what is only in it was never trusted.
bool holds_anchors(const fs::path& file) { return file.filename() != "secring.gpg"; }

bool is_key_label(std::string_view label) {
  return label == armor_label::public_key || label == armor_label::secret_key;
}

bool is_key(packet_type type) {
  using enum packet_type;
  return type == public_key || type == secret_key || type == public_subkey || type == secret_subkey;
}
bool is_secret_key(packet_type type) { return type == packet_type::secret_key || type == packet_type::secret_subkey; }

error unreadable(const fs::path& directory, int number) {
  return error(number == ENOMEM ? errc::no_memory : errc::keyring_unusable,
               {.what = "cannot read key ring " + directory.string(),
                .why = errno_text(number),
                .remedy = "check the path and its permissions",
                .path = directory.string(),
                .system = number});
}

/// Not by fs::directory_iterator: libstdc++ copies the path inside a noexcept constructor, so that running out of
/// memory there ends the process.
std::vector<fs::path> sorted_entries(const fs::path& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
  if (!stream) throw unreadable(directory, errno);
  std::vector<fs::path> entries;
  while (errno = 0, true) {
    const dirent* entry = ::readdir(stream.get());
    if (!entry) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") entries.push_back(directory / name);
  }
  if (errno != 0) throw unreadable(directory, errno);
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace

void keyring_loader::warn(const std::string& text) {
  warnings_.push_back(text);
  log(options_.log, log_level::warning, text);
}

std::shared_ptr<const keyring::state> keyring_loader::load(const fs::path& path) {
  if (path.empty())
    throw error(errc::keyring_unusable, {.what = "cannot use the key ring",
                                         .why = "its name is empty",
                                         .remedy = "give a directory with the keys you trust"});
  std::error_code problem;
  const fs::file_status status = fs::status(path, problem);
  if (!fs::exists(status))
    throw error(errc::keyring_unusable,
                {.what = "cannot use key ring " + path.string(),
                 .why = status.type() == fs::file_type::not_found ? "it does not exist" : problem.message(),
                 .remedy = "give a directory with the keys you trust, for example a GNUPGHOME",
                 .path = path.string()});
  const bool directory = fs::is_directory(status);
  if (directory)
    load_directory(path);
  else
    load_file(path, true);

  warn_of_writable(path);
  auto ring = finish();
  ring->path = path.string();
  if (ring->certificates.empty()) throw nothing_usable(path, directory);
  return ring;
}

error keyring_loader::nothing_usable(const fs::path& path, bool directory) const {
  std::error_code problem;
  std::string why = "there is no usable key in it";
  std::string remedy =
      "export the keys you trust into it: gpg --export KEY > " + (directory ? path / "vendor.gpg" : path).string();
  const bool keyboxd = directory && fs::exists(path / "public-keys.d" / "pubring.db", problem);
  if (keyboxd) {
    why = "its keys are in a database of keyboxd, which is not supported";
  } else if (keys_without_anchor_) {
    const fs::path folder = directory ? path : path.parent_path();
    why = "its keys stand in secring.gpg, which holds secret keys and no trust anchors";
    remedy = std::string(directory ? "export the public keys you trust beside it"
                                   : "give the directory, with the public keys you trust in a file of another name") +
             ": gpg --export KEY > " + (folder / "vendor.gpg").string() +
             " (where gpg does not have them: gpg --import " + (folder / "secring.gpg").string() + " first)";
  } else {
    remedy += "; to sign, make one: gpg --quick-generate-key NAME ed25519 sign";
  }
  if (!keyboxd && !warnings_.empty()) why += " (" + warnings_.front() + ")";
  return error(errc::keyring_unusable,
               {.what = "cannot use key ring " + path.string(), .why = why, .remedy = remedy, .path = path.string()});
}

/// Whoever may write to a key ring decides what is installed.
void keyring_loader::warn_of_writable(const fs::path& path) {
  std::vector<fs::path> all{path};
  if (fs::is_directory(path))
    for (const fs::path& entry : sorted_entries(path))
      if (may_hold_keys(entry)) all.push_back(entry);
  for (const fs::path& one : all) {
    std::error_code ignored;
    const fs::file_status status = fs::status(one, ignored);
    if ((status.permissions() & fs::perms::others_write) != fs::perms::none && fs::exists(status))
      warn("anybody may write to " + one.string() + ", and so choose whom to trust; chmod o-w " + one.string());
  }
}

void keyring_loader::load_directory(const fs::path& directory) {
  for (const fs::path& entry : sorted_entries(directory))
    if (may_hold_keys(entry)) load_file(entry, false);
  load_agent_keys(directory / "private-keys-v1.d");
}

void keyring_loader::load_file(const fs::path& file, bool asked_for) {
  std::error_code problem;
  const fs::file_status status = fs::status(file, problem);
  if (!asked_for && !fs::is_regular_file(status)) {
    if (!fs::is_directory(status)) warn(file.string() + " is skipped: it is no file that can be read");
    return;
  }
  try {
    const byte_vector content = read_all(file_reader(file), max_ring_octets);
    if (content.empty() && !asked_for) return;
    add_file(content, file.string(), holds_anchors(file));
  } catch (const error& e) {
    if (asked_for)
      throw error(errc::keyring_unusable, {.what = "cannot use key ring " + file.string(),
                                           .why = e.parts().why.empty() ? e.what() : e.parts().why,
                                           .remedy = "check the path and its permissions",
                                           .path = file.string(),
                                           .system = e.parts().system});
    warn(file.string() + " is skipped: " + e.what());
  }
}

void keyring_loader::add_file(byte_view content, const std::string& name, bool anchors) {
  if (is_keybox(content)) {
    const keybox_contents keybox = read_keybox(content);
    for (const byte_view block : keybox.blocks) add_block(block, name, anchors);
    if (!keybox.damage.empty()) warn(name + ": " + keybox.damage);
  } else if (!content.empty() && (content[0] & std::byte{0x80}) != std::byte{}) {
    add_block(content, name, anchors);
  } else if (has_armor(as_text(content))) {
    add_armored(content, name, anchors);
  } else {
    warn(name + " is skipped: it holds no keys");
  }
}

void keyring_loader::add_armored(byte_view text, const std::string& name, bool anchors) {
  bool any = false;
  for (const armor_block& block : decode_armor(as_text(text))) {
    if (!is_key_label(block.label)) continue;
    any = true;
    if (!block.damage.empty()) warn(name + ": an armored block is damaged: " + block.damage);
    add_block(block.octets, name, anchors);
  }
  if (!any) warn(name + " is skipped: it holds no keys");
}

void keyring_loader::add_block(byte_view packets, const std::string& name, bool anchors) {
  packet_sequence sequence(packets);
  bool any_key = false;
  drafts_.end_of_block();
  for (;;) {
    try {
      const std::optional<packet> p = sequence.next();
      if (!p) break;
      any_key |= is_key(p->type);
      // Signatures that cannot be read concern nobody: a newer version, or another program's.
      try {
        if (anchors) drafts_.add(static_cast<unsigned>(p->type), p->body);
      } catch (const error& e) {
        if (is_key(p->type)) warn(name + ": a key is skipped: " + e.what());
      }
      if (!is_secret_key(p->type)) continue;
      try {
        secrets_.push_back(parse_secret_key(p->body, static_cast<unsigned>(p->type), name));
      } catch (const error& e) {
        warn(name + ": a secret key is skipped: " + e.what());
      }
    } catch (const error& e) {
      warn(name + ": the rest is skipped: " + e.what());
      break;
    }
  }
  if (!any_key) warn(name + " is skipped: it holds no keys");
  keys_without_anchor_ |= any_key && !anchors;
}

// ---- Secret keys of gpg-agent ---------------------------------------------------------------------------------------

void keyring_loader::load_agent_keys(const fs::path& directory) {
  std::error_code problem;
  if (!fs::is_directory(directory, problem)) return;
  std::vector<fs::path> entries;
  try {
    entries = sorted_entries(directory);
  } catch (const error& e) {  // a device that may verify, but not read the secrets
    return warn(directory.string() + " is skipped: " + e.parts().why);
  }
  for (const fs::path& file : entries) {
    if (file.extension() != ".key") continue;
    try {
      agent_keys_.push_back({parse_agent_key(read_all(file_reader(file), max_agent_key_octets)), file.string()});
    } catch (const error& e) {
      warn(file.string() + " is skipped: " + e.what());
    }
  }
}

void keyring_loader::match_agent_keys(keyring::state& ring) {
  for (const stored_agent_key& stored : agent_keys_)
    for (const certificate& cert : ring.certificates)
      for (std::size_t i = 0; i < cert.key_count(); ++i)
        if (belongs_to(stored.key, cert.key(i).key))
          ring.secrets.push_back(as_secret(stored.key, cert.key(i).key, stored.where));
}

std::shared_ptr<keyring::state> keyring_loader::finish() {
  auto ring = std::make_shared<keyring::state>();
  ring->certificates = drafts_.finish();
  ring->secrets = std::move(secrets_);
  match_agent_keys(*ring);
  // What opens without a question comes first, stubs last.
  std::stable_sort(ring->secrets.begin(), ring->secrets.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const locked_secret& s) { return s.is_stub() ? 2 : s.is_protected() ? 1 : 0; };
    return rank(*a) < rank(*b);
  });
  ring->passphrase = options_.passphrase;
  ring->log = options_.log;
  ring->warnings = warnings_;
  ring->index();
  return ring;
}

}  // namespace fussy::openpgp
