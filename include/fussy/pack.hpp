/// @file pack.hpp  Building a package: one directory becomes one compressed, signed and perhaps encrypted file.
/// Threads: distinct calls are independent.
/// Errors:  fussy::error: usage (a root that may not be packed), not_found, no_secret_key, no_recipient_key,
///          bad_passphrase, no_space, io, cancelled; with gpg also missing_program, process_failed; std::bad_alloc. A
///          failed call leaves no file and no directory behind.
#pragma once

#include <fussy/codec.hpp>
#include <fussy/log.hpp>
#include <fussy/openpgp.hpp>
#include <fussy/progress.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace fussy::pack {

/// How what is made gets its proof.
struct signing {
  /// Who computes it. `gpg`: the program of that name, for keys that only it can use, on a smart card for instance.
  enum class program { library, gpg };

  std::filesystem::path keyring{};            ///< GNUPGHOME or a file of secret keys; empty: default_keyring()
  openpgp::sign_options how{};                ///< keys, recipients, armor, time
  openpgp::passphrase_callback passphrase{};  ///< for protected keys; without it they cannot sign. Not asked for gpg
  program by = program::library;
};

struct options {
  std::vector<std::string> exclude{};  ///< patterns as of tar --exclude{}; `.svn .bzr .git` are always excluded
  std::string name{};                  ///< of the file, without suffix; empty: the name of the directory
  std::filesystem::path directory{};   ///< that gets the file, made by the caller; empty: a fresh one, see pack()
  codec::format compression = codec::format::gzip;  ///< or zstd, bzip2. The original reads gzip alone
  int level = 0;                                    ///< of the compression; 0 picks the format's default
  bool sign = true;  ///< false: only the archive, to be signed with sign() on another machine
  signing proof{};
  std::optional<std::int64_t> clamp_mtime{};  ///< SOURCE_DATE_EPOCH in seconds: no file in the archive is younger
  bool root_owner = false;                    ///< all files belong to 0:0 in the archive, whoever packs them
  log_sink log{};
  progress_sink progress{};
  std::stop_token stop{};  ///< obeyed until the package gets its name: throws cancelled, nothing stays
};

/// What a caller hears of signing, and how it can end that.
struct attention {
  progress_sink progress{};  ///< phase::packing; its bytes are those of all passes over the file
  std::stop_token stop{};    ///< obeyed until the package gets its name: throws cancelled, the file stays as it was
};

/// Packs the directory `root`. Its name is the one top-level name in the archive and the version's name on a device.
/// @return absolute path of the package: `TMP/fussy-XXXXXX-pack/NAME.tar.gz.gpg` in a fresh directory (mode 0700, below
///         $TMPDIR or /tmp) that belongs to the caller, or a file in `options::directory`.
std::filesystem::path pack(const std::filesystem::path& root, const options& opts);

/// Signs a file. An archive made with `sign = false`: writes FILE.gpg (or .asc) beside it and removes FILE. A package
/// that is signed and not encrypted: adds one signature for each of `proof.how.signers` and replaces FILE. It keeps its
/// form (binary or armored), its content and the signatures it has; one of these must be valid with the key ring, so
/// that nobody lends a signature to content that was changed on its way.
/// @throws usage  the package is signed by these keys already, or is encrypted; gpg is asked to add to a package, which
///                it cannot. Of what proves the package: every 20xx code.
/// @return path of the package.
std::filesystem::path sign(const std::filesystem::path& file, const signing& proof, const attention& to = {});

/// $GNUPGHOME, else ~/.gnupg.
std::filesystem::path default_keyring();

/// Whether a version may have this name: not empty, at most 255 bytes, no `/` or control character, no dot in front,
/// and neither `current` nor `failsafe`. @return why not; empty when it may.
std::string why_not_a_version_name(std::string_view name);

}  // namespace fussy::pack
