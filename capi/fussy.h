/* fussy.h - field upgrades of an application directory, from C.
 *
 * Rules, for everything below:
 *
 * Status     Functions that can fail return int32_t: FUSSY_OK (0), or one of the numbers below. Numbers are frozen; a
 *            newer library may return numbers this header does not name: fussy_status_exit_code() tells their family.
 * Results    go through pointers. A pointer that is documented as optional may be NULL; NULL elsewhere is
 *            FUSSY_USAGE, never a crash. After a failure the result is untouched, unless it says otherwise.
 * Ownership  Strings handed in are copied or used during the call only. Nothing returned by the functions of this part
 *            must be freed: texts are static, reports are the caller's own memory.
 * Structs    that the library fills begin with `size`. Set it to sizeof the struct (FUSSY_REPORT_INIT does; 0 means the
 *            first published layout). The library writes no further than that, so an old program works with a new library
 *            and the other way round; structs only ever grow at their end.
 * Text       is UTF-8 or whatever octets the file system has; always terminated; cut, at a whole character, where the
 *            buffer ends.
 * Threads    Functions may be called from any thread. Calls on different targets are independent; a second call on the same
 *            target gets FUSSY_BUSY, from this process or another.
 * The host   The library writes nothing to stdout or stderr, installs no signal handler, never exits, changes neither
 *            directory nor locale nor environment, and lets no C++ exception out.
 * Fork       Do not use what one process began in a forked child; begin anew there.
 *
 * License: BSD-2-Clause.
 */
#ifndef FUSSY_H
#define FUSSY_H

#include <stdint.h>

/* Marks what the shared library exports. */
#ifndef FUSSY_API
#if defined(__GNUC__)
#define FUSSY_API __attribute__((visibility("default")))
#else
#define FUSSY_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header. Compare with fussy_version_number() of the library that is loaded. */
#define FUSSY_VERSION_MAJOR 0
#define FUSSY_VERSION_MINOR 1
#define FUSSY_VERSION_PATCH 0
#define FUSSY_VERSION_NUMBER ((FUSSY_VERSION_MAJOR << 16) | (FUSSY_VERSION_MINOR << 8) | FUSSY_VERSION_PATCH)

/* ---- Versions and status ------------------------------------------------------------------------------------------------------- */

#define FUSSY_OK 0

/* General: commands exit with 2. */
#define FUSSY_FAILURE 200        /* something unforeseen; the message has the details, please report it */
#define FUSSY_USAGE 201          /* the call is wrong, for instance NULL where a pointer is needed */
#define FUSSY_IO 202             /* the system refused a read, write or change: see path and system_errno */
#define FUSSY_NO_SPACE 203       /* bytes, inodes or quota ran out: free some (fussy-clean) and retry */
#define FUSSY_BUSY 204           /* another process holds the target: retry when it has finished */
#define FUSSY_ALREADY_HELD 205   /* this process holds it already */
#define FUSSY_TIMEOUT 206        /* the time given was over */
#define FUSSY_CANCELLED 207      /* the caller asked to stop */
#define FUSSY_PROCESS_FAILED 208 /* a process ended with a bad status: see its output */
#define FUSSY_SPAWN_FAILED 209   /* a process could not be started: see system_errno */
#define FUSSY_NOT_FOUND 210      /* a file that was named does not exist or cannot be read */
#define FUSSY_UNSUPPORTED 211    /* this build or system lacks what was asked for */
#define FUSSY_NO_MEMORY 212      /* memory ran out */
#define FUSSY_RESOURCE_LIMIT 213 /* descriptors or processes ran out: raise the limit */

/* The new version failed: `cause` of the report says why. Commands exit with 3 and 4. */
#define FUSSY_REVERTED 300      /* the previous or failsafe version is live again */
#define FUSSY_UNRECOVERABLE 400 /* none could be restored */

/* Signature or decryption: commands exit with 20. The target was not touched. */
#define FUSSY_NO_SIGNATURE 2000
#define FUSSY_UNKNOWN_SIGNER 2001
#define FUSSY_BAD_SIGNATURE 2002
#define FUSSY_KEY_EXPIRED 2003
#define FUSSY_KEY_REVOKED 2004
#define FUSSY_KEY_UNUSABLE 2005
#define FUSSY_WEAK_ALGORITHM 2006
#define FUSSY_CANNOT_DECRYPT 2007
#define FUSSY_TAMPERED 2008
#define FUSSY_TRUNCATED 2009
#define FUSSY_NOT_OPENPGP 2010
#define FUSSY_BAD_MESSAGE 2011
#define FUSSY_MESSAGE_TOO_LARGE 2012
#define FUSSY_TOO_FEW_SIGNERS 2013
#define FUSSY_SIGNATURE_EXPIRED 2014
#define FUSSY_PACKAGE_CHANGED 2015
#define FUSSY_NO_SECRET_KEY 2016
#define FUSSY_NO_RECIPIENT_KEY 2017
#define FUSSY_BAD_PASSPHRASE 2018
#define FUSSY_SIGNER_NOT_ALLOWED 2019

/* Archive: commands exit with 21. The running version was not touched. */
#define FUSSY_MALFORMED 2100
#define FUSSY_ENTRY_REFUSED 2101
#define FUSSY_BAD_ROOT 2102
#define FUSSY_TOO_LARGE 2103

/* The system is not set up: commands exit with 40. */
#define FUSSY_KEYRING_UNUSABLE 4000
#define FUSSY_TARGET_UNUSABLE 4001
#define FUSSY_MISSING_PROGRAM 4002

/* Since 0.1. Name of a status as above in lower case without prefix ("no_space"); "unknown" for a number the library
 * does not know. Never NULL, static. */
FUSSY_API const char *fussy_status_name(int32_t status);

/* Since 0.1. One sentence: what it means and what to do. Never NULL, static. */
FUSSY_API const char *fussy_status_text(int32_t status);

/* Since 0.1. Exit status of a command that ends with this status: 0, 2, 3, 4, 20, 21 or 40; 2 for unknown numbers
 * outside these families. */
FUSSY_API int32_t fussy_status_exit_code(int32_t status);

/* Since 0.1. "0.1.0". Never NULL, static. */
FUSSY_API const char *fussy_version(void);

/* Since 0.1. FUSSY_VERSION_NUMBER of the library that is loaded. */
FUSSY_API uint32_t fussy_version_number(void);

/* What a library may have been built without (bits of fussy_features). The functions are there all the same and return
 * FUSSY_UNSUPPORTED. */
#define FUSSY_FEATURE_PACK UINT32_C(1)       /* packing and signing */
#define FUSSY_FEATURE_PIPES UINT32_C(2)      /* processes and pipes */
#define FUSSY_FEATURE_MIGRATIONS UINT32_C(4) /* rolling migrations back */
#define FUSSY_FEATURE_ISAL UINT32_C(8)       /* the faster inflate; nothing else differs */

/* Since 0.1. The bits of what the library that is loaded has. */
FUSSY_API uint32_t fussy_features(void);

#ifdef __cplusplus
}
#endif

#endif /* FUSSY_H */
