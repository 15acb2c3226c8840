/// @file install.hpp  Installing packages: verify, unpack beside the running version, switch, or go back.
///
///     fussy::install::install("firmware-2.1.tar.gz.gpg", {.keyring = "/etc/fussy/keys", .target = "/opt/firmware"});
///
/// which is, for who wants the steps:
///
///     transaction tx{target};                                    // lock and recovery
///     auto staged  = tx.stage(package | openpgp::open(keys));    // unpack, share, sync; holds the proof or throws
///     auto version = tx.publish(std::move(staged));              // takes nothing that does not hold a proof
///     tx.enable(version);                                        // hooks and switch; goes back and throws on failure
///     tx.commit();                                               // a transaction destroyed without it goes back
///
/// When a function returns, what it did survives a power cut; the same holds for errc::reverted. What the target
/// directory looks like at every instant: install/transaction.hpp and install/target.hpp.
/// Threads: calls on different targets are independent; on one target the lock keeps them apart.
/// Errors:  fussy::error. 2xx: nothing has changed. 20xx, 21xx: the package was refused, nothing has changed.
///          `reverted`, `unrecoverable`: see transaction::enable. 40xx: keyring or target are unusable.
#pragma once

#include <fussy/archive.hpp>
#include <fussy/install/posix_store.hpp>
#include <fussy/install/transaction.hpp>
#include <fussy/io.hpp>
#include <fussy/openpgp.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace fussy::install {

struct options {
  std::filesystem::path keyring = "/etc/fussy/keys";
  std::filesystem::path target = "/opt/firmware";
  openpgp::policy policy{};
  archive::limits limits{};
  std::chrono::milliseconds hook_timeout = std::chrono::minutes(10);  ///< for each hook; zero: none
  std::chrono::milliseconds lock_wait{0};                             ///< longest wait for another command
  log_sink log{};
  progress_sink progress{};
  openpgp::passphrase_callback passphrase{};  ///< for a protected decryption key
  std::stop_token stop{};                     ///< obeyed until the version is live; a read that blocks ends first
};

/// What an install did.
struct report {
  std::string version{};                   ///< name of the version directory
  std::filesystem::path path{};            ///< its absolute path
  std::string previous{};                  ///< what was live before; empty: nothing
  archive::extracted unpacked{};           ///< not of enable()
  std::vector<openpgp::signer> signers{};  ///< not of enable()
  bool encrypted = false;
  recovery recovered{};  ///< what an earlier crash had left
};

/// The transaction on a real directory.
class transaction : public basic_transaction<posix_store> {
public:
  /// Takes the lock and recovers. @throws target_unusable, busy, already_held, cancelled
  explicit transaction(const std::filesystem::path& target) : transaction(options{.target = target}) {}
  explicit transaction(const options& how);

  using basic_transaction::stage;
  /// Unpacks the tar archive a message contains, sharing files with the version that is live.
  /// @throws 20xx (then the message is not proven), 21xx, no_space, io; nothing is left of it
  staged stage(openpgp::message_reader message);
  /// Of the last stage().
  const archive::extracted& unpacked_files() const noexcept { return extracted_; }

private:
  archive::limits limits_;
  archive::extracted extracted_;
};

/// Installs a package and makes it live. A regular file is proven first and unpacked second (policy::unpack); anything
/// else is unpacked as it arrives and proven at its end.
report install(const std::filesystem::path& package, const options& how);
report install(any_reader package, const options& how);

/// The same without making it live: enable() may follow.
report install_bytes(const std::filesystem::path& package, const options& how);
report install_bytes(any_reader package, const options& how);

/// Unpacks a package somewhere else, to look at it: verified as in an install, into `directory`, which exists and is
/// private and empty. Needs no target and takes no lock. After a throw the directory holds litter for the caller to
/// remove.
/// @return version and path are those of the one directory that is there now.
report unpack(const std::filesystem::path& package, const std::filesystem::path& directory, const options& how);
report unpack(any_reader package, const std::filesystem::path& directory, const options& how);

/// Makes a version live that is in the target already.
/// @param version  its path, or its bare name. @throws not_found when it is none; reverted …: as install
report enable(const std::filesystem::path& version, const options& how);

/// Removes versions: everything that is not hidden, except `current`, what it leads to, `failsafe`, what it leads to,
/// and `keep` more: the version that was live before, then those that were installed last, but none that failed. Links
/// are removed, not followed.
/// @return names of what was removed. @throws target_unusable when `current` is missing or leads nowhere
std::vector<std::string> clean(const options& how, std::size_t keep = 0);

/// Finishes or undoes what a crash left; nothing to do is no error. Every call that changes a target does it first.
/// @throws unrecoverable  the interrupted version failed and none could be restored
recovery recover(const options& how);

// ---- Looking, without changing anything ------------------------------------------------------------------------------
// None of these takes the lock or writes; what happens meanwhile may be seen half before and half after.

using archive_entry_sink = std::function<void(const archive::entry_info&)>;

/// What a package is, and what an install of it would do.
struct inspection {
  std::filesystem::path package{};
  std::uint64_t size = 0;           ///< of the file
  openpgp::message_info message{};  ///< what its packets say, also of a package that is refused
  std::optional<error> refused{};   ///< why an install would refuse the package, 20xx or 21xx; nothing: it would not
  std::vector<openpgp::signer> signers{};      ///< that count; none: it is not proven, and nothing in it was looked at
  std::optional<archive::surveyed> content{};  ///< of a package that would not be refused
  bool pre_install = false, post_install = false;  ///< hooks it brings

  // Of the target, where one was given and the package is not refused.
  std::string version{};          ///< name it would get
  std::filesystem::path path{};   ///< of that
  std::string current{};          ///< what is live, and what it was compared with; empty: nothing
  std::uint64_t free_bytes = 0;   ///< for who runs this
  std::uint64_t free_inodes = 0;  ///< UINT64_MAX where the file system does not count them
  bool interrupted = false;  ///< an earlier command was interrupted; what is said holds if recovery changes nothing
  std::optional<error> hindrance{};  ///< why an install would not begin: target unusable, busy, no_space …
};

/// Proves a package that is in a file and, where the proof holds, looks into it and compares it with the version that
/// is live. An unproven package is reported, in `refused`, and its content is not looked at.
/// @param how       keyring, target (empty: nothing to compare with), policy, limits, progress
/// @param on_entry  called for what is in it, see archive::survey_options
/// @throws not_found, unsupported (a stream), keyring_unusable, target_unusable, io, cancelled
inspection inspect(const std::filesystem::path& package, const options& how, const archive_entry_sink& on_entry = {});

/// What install() would do, short of running hooks. @throws what install() would throw as far as it can be known
inspection dry_run(const std::filesystem::path& package, const options& how);
/// What enable() would do: version, path, current and hooks are filled in. @throws as enable() before it begins
inspection dry_run_enable(const std::filesystem::path& version, const options& how);

struct cleaning {
  std::vector<std::string> versions{};  ///< by name
  std::uint64_t freed = 0;              ///< bytes on disk
};
/// What clean() would remove. @throws target_unusable
cleaning dry_run_clean(const options& how, std::size_t keep = 0);

/// One version, as status() sees it.
struct version_status {
  std::string name{};
  std::filesystem::path path{};
  bool current = false, previous = false, failsafe = false;
  bool failed = false;       ///< it was live, failed, and another one was restored: the last to do so
  std::uint64_t own = 0;     ///< bytes on disk that removing it would free
  std::uint64_t shared = 0;  ///< bytes on disk that other versions need, too
  std::uint64_t files = 0;   ///< everything that is not a directory
  std::chrono::sys_seconds installed{};
};

struct status_report {
  std::filesystem::path target{};
  std::string current{}, previous{}, failsafe{}, failed{};  ///< names of versions; empty: none
  std::vector<version_status> versions{};         ///< by name
  std::optional<journal_record> in_flight{};      ///< a transaction that runs, or that waits for recovery
  bool journal_damaged = false;
  std::optional<std::int64_t> busy{};  ///< a command holds the lock; its PID, 0 when not known
  bool private_hidden = false;         ///< no right to look into .fussy/: previous, failed and all below are not known
  std::uint64_t staging = 0;           ///< bytes on disk below .fussy/
};

/// Looks, without taking the lock or changing anything. @throws target_unusable
status_report status(const std::filesystem::path& target);

}  // namespace fussy::install
