/// @file error.hpp  What can go wrong, as stable numbers, and the one exception type that carries it.
/// Threads: an `error` is immutable and may be copied between threads.
/// Errors:  none of its own.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

/// Marks what must have one identity in a program although our libraries hide their symbols (the type thrown).
#ifndef FUSSY_API
#define FUSSY_API __attribute__((visibility("default")))
#endif

namespace fussy {

/// Status of every operation, in C++ and in C. Numbers are frozen: append, never renumber, never reuse.
/// The exit status of a command is the number divided by 100.
enum class errc : int {
  success = 0,

  // 2xx: general. Exit status 2.
  failure = 200,         ///< something unforeseen; the message has the details, please report it
  usage = 201,           ///< the call or command line is wrong; read the documentation of what was called
  io = 202,              ///< the system refused a read, write or change; look at the path and the system error
  no_space = 203,        ///< bytes, inodes or quota ran out; free some (fussy-clean) and retry
  busy = 204,            ///< another process holds the lock; retry when it has finished
  already_held = 205,    ///< this process holds the lock already
  timeout = 206,         ///< the time given was over; give more, or find out what hangs
  cancelled = 207,       ///< the caller asked to stop
  process_failed = 208,  ///< a process ended with a status that is not a good one; see its output
  spawn_failed = 209,    ///< a process could not be started; see the system error
  not_found = 210,       ///< a file that was named does not exist or cannot be read
  unsupported = 211,     ///< this build or this system lacks what was asked for
  no_memory = 212,       ///< memory ran out
  resource_limit = 213,  ///< descriptors or processes ran out, a file may not get so large; raise the limit (ulimit)

  reverted = 300,       ///< the new version failed; the previous or failsafe one is live. See cause(). Exit status 3.
  unrecoverable = 400,  ///< the new version failed and none could be restored. See cause(). Exit status 4.

  // 20xx: signature or decryption. Exit status 20.
  no_signature = 2000,        ///< nothing signs the content; sign the package
  unknown_signer = 2001,      ///< signed, but by no key of the key ring; install the vendor's key or refuse the package
  bad_signature = 2002,       ///< a signature by a known key does not match the content; fetch the package again
  key_expired = 2003,         ///< the signing key had expired when it signed; the vendor must renew and ship it
  key_revoked = 2004,         ///< the signing key is revoked; the vendor must sign with another
  key_unusable = 2005,        ///< the signing key may not sign data (flags, binding, back-signature)
  weak_algorithm = 2006,      ///< hash or key size below what the policy asks for
  cannot_decrypt = 2007,      ///< no secret key of the key ring opens it, or what it opened makes no sense
  tampered = 2008,            ///< the integrity check of the encrypted content failed
  truncated = 2009,           ///< the message ends too early; fetch it again
  not_openpgp = 2010,         ///< this is no OpenPGP message
  bad_message = 2011,         ///< packets that no OpenPGP message may have, or in an order it may not have
  message_too_large = 2012,   ///< the policy's limit on size or nesting is exceeded
  too_few_signers = 2013,     ///< fewer valid signatures than the policy asks for
  signature_expired = 2014,   ///< the signature itself carries an expiry that has passed
  package_changed = 2015,     ///< the bytes changed between the proof and their use; somebody writes to the package
  no_secret_key = 2016,       ///< there is no usable secret key to sign with
  no_recipient_key = 2017,    ///< there is no usable key to encrypt for
  bad_passphrase = 2018,      ///< the passphrase does not open the secret key
  signer_not_allowed = 2019,  ///< a valid signature, but the policy does not allow this signer

  // 21xx: archive. Exit status 21.
  malformed = 2100,      ///< compression or tar is damaged
  entry_refused = 2101,  ///< an entry that an application directory may not have (device, `..`, link that leads out)
  bad_root = 2102,       ///< not exactly one top-level directory, or one with a name that is not allowed
  too_large = 2103,      ///< more entries, bytes, or a higher compression ratio than the limits allow

  // 40xx: the system is not set up. Exit status 40.
  keyring_unusable = 4000,  ///< the key ring is missing, unreadable or has no usable key
  target_unusable = 4001,   ///< the target directory is missing, read-only or not a directory
  missing_program = 4002,   ///< a program that is needed is not installed
};

/// Exit status of a command that ends with this code.
constexpr int exit_status(errc code) noexcept { return static_cast<int>(code) / 100; }

/// Name of a code as written above ("no_space"), or "unknown". Never null; static storage.
constexpr const char* name(errc code) noexcept {
  switch (code) {
    case errc::success:
      return "success";
    case errc::failure:
      return "failure";
    case errc::usage:
      return "usage";
    case errc::io:
      return "io";
    case errc::no_space:
      return "no_space";
    case errc::busy:
      return "busy";
    case errc::already_held:
      return "already_held";
    case errc::timeout:
      return "timeout";
    case errc::cancelled:
      return "cancelled";
    case errc::process_failed:
      return "process_failed";
    case errc::spawn_failed:
      return "spawn_failed";
    case errc::not_found:
      return "not_found";
    case errc::unsupported:
      return "unsupported";
    case errc::no_memory:
      return "no_memory";
    case errc::resource_limit:
      return "resource_limit";
    case errc::reverted:
      return "reverted";
    case errc::unrecoverable:
      return "unrecoverable";
    case errc::no_signature:
      return "no_signature";
    case errc::unknown_signer:
      return "unknown_signer";
    case errc::bad_signature:
      return "bad_signature";
    case errc::key_expired:
      return "key_expired";
    case errc::key_revoked:
      return "key_revoked";
    case errc::key_unusable:
      return "key_unusable";
    case errc::weak_algorithm:
      return "weak_algorithm";
    case errc::cannot_decrypt:
      return "cannot_decrypt";
    case errc::tampered:
      return "tampered";
    case errc::truncated:
      return "truncated";
    case errc::not_openpgp:
      return "not_openpgp";
    case errc::bad_message:
      return "bad_message";
    case errc::message_too_large:
      return "message_too_large";
    case errc::too_few_signers:
      return "too_few_signers";
    case errc::signature_expired:
      return "signature_expired";
    case errc::package_changed:
      return "package_changed";
    case errc::no_secret_key:
      return "no_secret_key";
    case errc::no_recipient_key:
      return "no_recipient_key";
    case errc::bad_passphrase:
      return "bad_passphrase";
    case errc::signer_not_allowed:
      return "signer_not_allowed";
    case errc::malformed:
      return "malformed";
    case errc::entry_refused:
      return "entry_refused";
    case errc::bad_root:
      return "bad_root";
    case errc::too_large:
      return "too_large";
    case errc::keyring_unusable:
      return "keyring_unusable";
    case errc::target_unusable:
      return "target_unusable";
    case errc::missing_program:
      return "missing_program";
  }
  return "unknown";
}

/// The parts of a failure. A message reads `WHAT: WHY; REMEDY`, so write each without a full stop.
struct failure_parts {
  std::string what{};          ///< what failed and on what: "target /opt/firmware is busy"
  std::string why{};           ///< the cause: "another install (PID 4711) holds it"
  std::string remedy{};        ///< what to do next: "retry when it has finished"
  std::string path{};          ///< file or directory it is about, when there is one
  int system = 0;              ///< errno of the system call that failed, 0 when none did
  errc cause = errc::success;  ///< for `reverted` and `unrecoverable`: the code of what led to it
  std::string output{};        ///< last lines a hook or process wrote, when there are some
  std::string version{};       ///< name of the version that could not be enabled
  std::string live{};          ///< name of the one that was made live again instead
};

/// The only exception the library throws of its own (beside std::bad_alloc; std::logic_error for misuse of the API).
/// No hierarchy: look at code(). `nbio::pipe_error` adds the partial result of a run to it.
class FUSSY_API error : public std::runtime_error {
public:
  /// A template, so that `error(code, {.what = …})` can only mean the parts.
  template <std::convertible_to<std::string> Text>
  error(errc code, Text&& message) : error(code, failure_parts{.what = std::forward<Text>(message)}) {}
  error(errc code, failure_parts parts)
      : std::runtime_error(compose(parts)),
        code_(code),
        parts_(std::make_shared<const failure_parts>(std::move(parts))) {}

  errc code() const noexcept { return code_; }
  /// What led to it; code() itself where nothing else did.
  errc cause() const noexcept { return parts_->cause == errc::success ? code_ : parts_->cause; }
  /// The parts of what(), valid as long as this object or a copy of it lives.
  const failure_parts& parts() const noexcept { return *parts_; }

private:
  static std::string compose(const failure_parts& p) {
    std::string text = p.what;
    if (!p.why.empty()) text.append(": ").append(p.why);
    if (!p.remedy.empty()) text.append("; ").append(p.remedy);
    return text;
  }

  errc code_;
  std::shared_ptr<const failure_parts> parts_;  // shared: copying an exception must not throw
};

/// The family an errno belongs to: `no_space`, `resource_limit`, `not_found`, `no_memory`, else `io`.
constexpr errc errc_of_errno(int number) noexcept {
  switch (number) {
    case ENOSPC:
    case EDQUOT:
      return errc::no_space;
    case EMFILE:
    case ENFILE:
    case EFBIG:
      return errc::resource_limit;
    case ENOENT:
      return errc::not_found;
    case ENOMEM:
      return errc::no_memory;
    default:
      return errc::io;
  }
}

/// Text of an errno; unlike strerror(3) safe with threads.
inline std::string errno_text(int number) { return std::generic_category().message(number); }

/// An error for a system call that failed: `what: text of number; remedy`.
/// @param what    "cannot open", the path is appended when there is one.
/// @param number  errno as it was right after the call.
/// @param code    `success` picks it from the errno.
inline error system_error(std::string what, int number, std::string path = {}, std::string remedy = {},
                          errc code = errc::success) {
  if (!path.empty()) what.append(" ").append(path);
  return error(code == errc::success ? errc_of_errno(number) : code, failure_parts{.what = std::move(what),
                                                                                   .why = errno_text(number),
                                                                                   .remedy = std::move(remedy),
                                                                                   .path = std::move(path),
                                                                                   .system = number});
}

}  // namespace fussy
