// The numbers that programs were compiled with years ago. abidiff does not see macros, so this test does.
#include <doctest/doctest.h>
#include <fussy.h>
#include <fussy/error.hpp>

#include <string>

namespace {

struct frozen {
  int32_t number;
  int32_t macro;
  const char* name;
  int32_t exit_code;
};

// Append only. A line that is changed here breaks every program out there.
const frozen statuses[] = {
    {0, FUSSY_OK, "success", 0},
    {200, FUSSY_FAILURE, "failure", 2},
    {201, FUSSY_USAGE, "usage", 2},
    {202, FUSSY_IO, "io", 2},
    {203, FUSSY_NO_SPACE, "no_space", 2},
    {204, FUSSY_BUSY, "busy", 2},
    {205, FUSSY_ALREADY_HELD, "already_held", 2},
    {206, FUSSY_TIMEOUT, "timeout", 2},
    {207, FUSSY_CANCELLED, "cancelled", 2},
    {208, FUSSY_PROCESS_FAILED, "process_failed", 2},
    {209, FUSSY_SPAWN_FAILED, "spawn_failed", 2},
    {210, FUSSY_NOT_FOUND, "not_found", 2},
    {211, FUSSY_UNSUPPORTED, "unsupported", 2},
    {212, FUSSY_NO_MEMORY, "no_memory", 2},
    {213, FUSSY_RESOURCE_LIMIT, "resource_limit", 2},
    {300, FUSSY_REVERTED, "reverted", 3},
    {400, FUSSY_UNRECOVERABLE, "unrecoverable", 4},
    {2000, FUSSY_NO_SIGNATURE, "no_signature", 20},
    {2001, FUSSY_UNKNOWN_SIGNER, "unknown_signer", 20},
    {2002, FUSSY_BAD_SIGNATURE, "bad_signature", 20},
    {2003, FUSSY_KEY_EXPIRED, "key_expired", 20},
    {2004, FUSSY_KEY_REVOKED, "key_revoked", 20},
    {2005, FUSSY_KEY_UNUSABLE, "key_unusable", 20},
    {2006, FUSSY_WEAK_ALGORITHM, "weak_algorithm", 20},
    {2007, FUSSY_CANNOT_DECRYPT, "cannot_decrypt", 20},
    {2008, FUSSY_TAMPERED, "tampered", 20},
    {2009, FUSSY_TRUNCATED, "truncated", 20},
    {2010, FUSSY_NOT_OPENPGP, "not_openpgp", 20},
    {2011, FUSSY_BAD_MESSAGE, "bad_message", 20},
    {2012, FUSSY_MESSAGE_TOO_LARGE, "message_too_large", 20},
    {2013, FUSSY_TOO_FEW_SIGNERS, "too_few_signers", 20},
    {2014, FUSSY_SIGNATURE_EXPIRED, "signature_expired", 20},
    {2015, FUSSY_PACKAGE_CHANGED, "package_changed", 20},
    {2016, FUSSY_NO_SECRET_KEY, "no_secret_key", 20},
    {2017, FUSSY_NO_RECIPIENT_KEY, "no_recipient_key", 20},
    {2018, FUSSY_BAD_PASSPHRASE, "bad_passphrase", 20},
    {2019, FUSSY_SIGNER_NOT_ALLOWED, "signer_not_allowed", 20},
    {2100, FUSSY_MALFORMED, "malformed", 21},
    {2101, FUSSY_ENTRY_REFUSED, "entry_refused", 21},
    {2102, FUSSY_BAD_ROOT, "bad_root", 21},
    {2103, FUSSY_TOO_LARGE, "too_large", 21},
    {4000, FUSSY_KEYRING_UNUSABLE, "keyring_unusable", 40},
    {4001, FUSSY_TARGET_UNUSABLE, "target_unusable", 40},
    {4002, FUSSY_MISSING_PROGRAM, "missing_program", 40},
};

TEST_SUITE_BEGIN("capi");

TEST_CASE("status numbers, their names and exit codes are frozen") {
  for (const frozen& status : statuses) {
    CAPTURE(status.number);
    CHECK(status.macro == status.number);
    CHECK(fussy_status_name(status.number) == std::string(status.name));
    CHECK(fussy_status_exit_code(status.number) == status.exit_code);
    CHECK(fussy_status_text(status.number) != std::string("unknown status"));
  }
}

TEST_CASE("every errc of the C++ library has its macro in the C header") {
  std::size_t known = 0;
  for (int number = 0; number < 10000; ++number)
    if (fussy::name(static_cast<fussy::errc>(number)) != std::string("unknown")) ++known;
  CHECK(known == std::size(statuses));
}

TEST_CASE("a number the library does not know still has a name, a text and an exit code") {
  for (int32_t number : {-1, 1, 299, 9999, INT32_MIN, INT32_MAX}) {
    CAPTURE(number);
    CHECK(fussy_status_name(number) == std::string("unknown"));
    CHECK(fussy_status_text(number) == std::string("unknown status"));
    CHECK(fussy_status_exit_code(number) == 2);
  }
  // A newer library's number keeps its family.
  CHECK(fussy_status_exit_code(2050) == 20);
  CHECK(fussy_status_exit_code(2150) == 21);
  CHECK(fussy_status_exit_code(4050) == 40);
}

TEST_CASE("the library that is loaded is the one of this header") {
  CHECK(fussy_version_number() == FUSSY_VERSION_NUMBER);
  const std::string version = std::to_string(FUSSY_VERSION_MAJOR) + "." + std::to_string(FUSSY_VERSION_MINOR) + "." +
                              std::to_string(FUSSY_VERSION_PATCH);
  CHECK(fussy_version() == version);
}

TEST_CASE("features name no bit that the header does not know") {
  const uint32_t known = FUSSY_FEATURE_PACK | FUSSY_FEATURE_PIPES | FUSSY_FEATURE_MIGRATIONS | FUSSY_FEATURE_ISAL;
  CHECK((fussy_features() & ~known) == 0);
}

}  // namespace
