#include <fussy/error.hpp>

#include "fussy.h"

namespace {

const char* text_of(fussy::errc code) noexcept {
  using fussy::errc;
  switch (code) {
    case errc::success:
      return "success";
    case errc::failure:
      return "something unforeseen happened; please report it with the message";
    case errc::usage:
      return "the call or command line is wrong; read its documentation";
    case errc::io:
      return "the system refused to read, write or change something; look at the path and the system error";
    case errc::no_space:
      return "bytes, inodes or quota ran out; free some, for instance with fussy-clean, and retry";
    case errc::busy:
      return "another process holds the lock; retry when it has finished";
    case errc::already_held:
      return "this process holds the lock already; release it first";
    case errc::timeout:
      return "the time given was over; give more, or find out what hangs";
    case errc::cancelled:
      return "the caller asked to stop";
    case errc::process_failed:
      return "a process ended with a bad status; look at its output";
    case errc::spawn_failed:
      return "a process could not be started; look at the system error";
    case errc::not_found:
      return "a file that was named does not exist or cannot be read; check the path";
    case errc::unsupported:
      return "this build or this system lacks what was asked for";
    case errc::no_memory:
      return "memory ran out; free some and retry";
    case errc::resource_limit:
      return "descriptors or processes ran out, or a file may not get so large; raise the limit and retry";
    case errc::reverted:
      return "the new version failed and the previous or failsafe one is live; look at the cause";
    case errc::unrecoverable:
      return "the new version failed and none could be restored; the device needs help";
    case errc::no_signature:
      return "nothing signs the content; have the vendor sign the package";
    case errc::unknown_signer:
      return "signed by no key of the key ring; refuse it, or install the vendor's key";
    case errc::bad_signature:
      return "a signature does not match the content; fetch the package again";
    case errc::key_expired:
      return "the signing key had expired when it signed; ship the renewed key";
    case errc::key_revoked:
      return "the signing key is revoked; the vendor must sign with another";
    case errc::key_unusable:
      return "the signing key may not sign data; the vendor must sign with one that may";
    case errc::weak_algorithm:
      return "hash or key size is below what the policy asks for; sign with a stronger one";
    case errc::cannot_decrypt:
      return "no secret key of the key ring opens it; encrypt it for this device's key";
    case errc::tampered:
      return "the encrypted content was changed; fetch the package again";
    case errc::truncated:
      return "the package ends too early; fetch it again";
    case errc::not_openpgp:
      return "this is no OpenPGP message; pack it with fussy-pack";
    case errc::bad_message:
      return "the package breaks the rules of OpenPGP messages; pack it again";
    case errc::message_too_large:
      return "the package exceeds the policy's limits on size or nesting";
    case errc::too_few_signers:
      return "fewer valid signatures than the policy asks for; have the others sign";
    case errc::signature_expired:
      return "the signature has expired; have the package signed again";
    case errc::package_changed:
      return "the package changed while it was read; make sure nobody writes to it, and retry";
    case errc::no_secret_key:
      return "there is no usable secret key to sign with; check the key ring";
    case errc::no_recipient_key:
      return "there is no usable key to encrypt for; import the recipient's";
    case errc::bad_passphrase:
      return "the passphrase does not open the secret key";
    case errc::signer_not_allowed:
      return "signed by a trusted key that the policy does not allow";
    case errc::malformed:
      return "compression or tar is damaged; pack it again";
    case errc::entry_refused:
      return "the archive has an entry that no application directory may have; see the path";
    case errc::bad_root:
      return "the archive must hold exactly one top-level directory with an ordinary name";
    case errc::too_large:
      return "the archive exceeds the limits on entries, size or compression ratio";
    case errc::keyring_unusable:
      return "the key ring is missing, unreadable or has no usable key; prepare the device";
    case errc::target_unusable:
      return "the target is missing, read-only or not a directory; prepare the device";
    case errc::missing_program:
      return "a program that is needed is not installed; install it";
  }
  return "unknown status";
}

}  // namespace

const char* fussy_status_name(int32_t status) { return fussy::name(static_cast<fussy::errc>(status)); }

const char* fussy_status_text(int32_t status) { return text_of(static_cast<fussy::errc>(status)); }

int32_t fussy_status_exit_code(int32_t status) {
  const int32_t family = fussy::exit_status(static_cast<fussy::errc>(status));
  switch (family) {
    case 3:
    case 4:
    case 20:
    case 21:
    case 40:
      return family;
    default:
      return status == FUSSY_OK ? 0 : 2;
  }
}

const char* fussy_version(void) { return FUSSY_VERSION; }

uint32_t fussy_version_number(void) { return FUSSY_VERSION_NUMBER; }

uint32_t fussy_features(void) {
  uint32_t features = 0;
#ifdef FUSSY_WITH_PACK
  features |= FUSSY_FEATURE_PACK;
#endif
#ifdef FUSSY_WITH_PIPES
  features |= FUSSY_FEATURE_PIPES;
#endif
#ifdef FUSSY_WITH_MIGRATIONS
  features |= FUSSY_FEATURE_MIGRATIONS;
#endif
#ifdef FUSSY_HAVE_ISAL
  features |= FUSSY_FEATURE_ISAL;
#endif
  return features;
}
