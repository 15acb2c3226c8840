/* fussy.h - field upgrades of an application directory, from C.
 *
 * Rules, for everything below:
 *
 * Status     Functions that can fail return int32_t: FUSSY_OK (0), or one of the numbers below. Numbers are frozen; a
 *            newer library may return numbers this header does not name: fussy_status_exit_code() tells their family.
 * Results    go through pointers. A pointer that is documented as optional may be NULL; NULL elsewhere is
 *            FUSSY_USAGE, never a crash. After a failure the result is untouched, unless it says otherwise.
 * Handles    (fussy_session, fussy_lock, fussy_pipe) are made by ..._new or ..._acquire and given back to ..._free or
 *            ..._release. Set your pointer to NULL then: every function answers FUSSY_USAGE to a NULL handle, and
 *            freeing NULL does nothing.
 * Ownership  Strings, lists and structs handed in are copied, or used during the call only. Texts that are returned are
 *            static, or belong to the handle and live until its next call. Structs are filled in the caller's memory.
 *            Nothing but handles is ever to be freed.
 * Structs    that the library fills begin with `size`. Set it to sizeof the struct (the ..._INIT macros do; 0 means the
 *            layout of the first version that had the struct). The library writes no further than that, so an old
 *            program works with a new library and the other way round; structs only ever grow at their end.
 * Text       is UTF-8 or whatever octets a file system or a package has, so escape it before it reaches a terminal;
 *            always terminated; cut, at a whole character, where the buffer ends.
 * Callbacks  run on the thread that called the library. They must not call functions of the handle that calls them
 *            (FUSSY_USAGE), but for fussy_session_cancel(); must not throw, longjmp or end the thread.
 * Threads    Distinct handles are independent, and so are calls on different targets; a second call on the same target
 *            gets FUSSY_BUSY or FUSSY_ALREADY_HELD. One handle is used by one thread at a time (else FUSSY_USAGE);
 *            fussy_session_cancel() alone may be called at any time, from any thread or signal handler. While a call
 *            runs, the library may use threads of its own, with all signals blocked where they wait for long.
 *            pthread_cancel(3) of a thread inside the library takes effect when the call has returned.
 * The host   The library writes nothing to stdout or stderr, installs no signal handler, never exits, changes neither
 *            directory nor locale nor environment nor umask, and lets no C++ exception out. Children that the host
 *            started are never waited for.
 * Memory     When an allocation fails, the function returns FUSSY_NO_MEMORY (or, where that was in the middle of an
 *            install, what became of it) and leaks nothing. Two things are beyond the library: libarchive calls exit(3)
 *            where it cannot store a name of an entry (the library asks for the memory first), and a Botan with a
 *            locking allocator calls std::terminate where that cannot grow: set BOTAN_MLOCK_POOL_SIZE=0 in the
 *            environment before the library is loaded, or build Botan without. The target survives both as it survives
 *            a power cut.
 * Fork       A handle belongs to the process that made it: in a forked child use none of them, free none of them, begin
 *            anew. Forking in one thread while another is inside the library is fine when the child soon calls exec;
 *            all descriptors of the library are close-on-exec.
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
#define FUSSY_RESOURCE_LIMIT 213 /* descriptors or processes ran out, a file may not get so large: raise the limit */

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

/* ---- Installing --------------------------------------------------------------------------------------------------- */

#define FUSSY_DEFAULT_KEYRING "/etc/fussy/keys"
#define FUSSY_DEFAULT_TARGET "/opt/firmware"

/* What an operation is doing, or was doing when it ended. Frozen, in their order. */
#define FUSSY_PHASE_WAITING 0      /* for the lock on the target */
#define FUSSY_PHASE_RECOVERING 1   /* finishing or undoing what a crash left */
#define FUSSY_PHASE_VERIFYING 2    /* reading a package that is a file, once, for its proof */
#define FUSSY_PHASE_UNPACKING 3    /* into a private place */
#define FUSSY_PHASE_SYNCING 4      /* making it durable */
#define FUSSY_PHASE_PUBLISHING 5   /* giving it its name */
#define FUSSY_PHASE_PRE_INSTALL 6  /* running its hook */
#define FUSSY_PHASE_SWITCHING 7    /* making it live */
#define FUSSY_PHASE_POST_INSTALL 8 /* running its hook */
#define FUSSY_PHASE_RESTORING 9    /* going back, after a failure */
#define FUSSY_PHASE_DONE 10
#define FUSSY_PHASE_PACKING 11 /* packing or signing; bytes are the archive's; packing does not know their total */

/* What the recovery at the start of an operation found: an earlier one had been interrupted. */
#define FUSSY_RECOVERED_NOTHING 0       /* none had */
#define FUSSY_RECOVERED_UNDONE 1        /* no hook of its version had begun: removed */
#define FUSSY_RECOVERED_FINISHED 2      /* its version was live and stays */
#define FUSSY_RECOVERED_RESTORED 3      /* its version failed or was cut off in a hook: another one is live again */
#define FUSSY_RECOVERED_UNRECOVERABLE 4 /* its version failed, and there was nothing to go back to */
#define FUSSY_RECOVERED_MIGRATED 5      /* a directory `current` has become `failsafe` */

/* What happened. Filled on success and on failure, with what was known by then. */
typedef struct fussy_report {
  uint32_t size;           /* in: sizeof(fussy_report), or 0; out: how much of it was filled */
  int32_t status;          /* as returned */
  int32_t cause;           /* for FUSSY_REVERTED and FUSSY_UNRECOVERABLE the status of what led to it, else as status */
  int32_t phase;           /* FUSSY_PHASE_...: how far it came */
  int32_t system_errno;    /* of the system call that failed; 0: none did */
  int32_t recovered;       /* FUSSY_RECOVERED_... */
  uint32_t signers;        /* valid signatures by distinct keys */
  uint32_t encrypted;      /* 1: the package was */
  uint64_t bytes_unpacked; /* content of the archive */
  uint64_t bytes_written;  /* of it that had to be written: unchanged files are shared */
  uint64_t files;          /* regular files in it */
  uint64_t files_shared;   /* of them shared with the version that was current */
  char version[256];       /* name of the new version below the target, also of one that failed; empty: there is none */
  char previous[256];      /* of the version that was live before, or after a failure is again; empty: none */
  char signer[65];         /* fingerprint of the first valid signature's key, hexadecimal; may be empty */
  char reserved[63];       /* zero */
  char message[1024];      /* what failed: why; what to do. Empty on success */
  char remedy[512];        /* the last part of the message alone */
  char path[1024];         /* success: what was made, as each function says; failure: what it is about, may be empty */
  char output[2048];       /* last lines a failed hook or process wrote; may be empty */
} fussy_report;
#define FUSSY_REPORT_INIT \
  { sizeof(fussy_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", "", "", "", "", "", "", "" }

/* Since 0.1. Verifies `package`, unpacks it beside the running version, runs its hooks and makes it live; goes back
 * when it fails. Blocks until done: the new version is on disk and live when it returns FUSSY_OK. Waits for nobody.
 *
 * package  path of the file. Must not be NULL.
 * keyring  directory or file of trusted keys. NULL: FUSSY_DEFAULT_KEYRING.
 * target   directory of the versions. NULL: FUSSY_DEFAULT_TARGET.
 * report   optional: filled whatever the outcome; `path` is the new version.
 *
 * FUSSY_OK             the package's version is live, durably.
 * FUSSY_REVERTED       it failed after its hooks had begun; the previous or failsafe version is live, durably.
 * FUSSY_UNRECOVERABLE  as before, but nothing could be restored.
 * anything else        what runs is as it was. */
FUSSY_API int32_t fussy_install(const char *package, const char *keyring, const char *target, fussy_report *report);

/* ---- Sessions: installing with everything else there is to say ---------------------------------------------------- */

/* Settings, a package, and what came of the last operation. Make one, set what differs from the defaults, operate as
 * often as you like. Every setter answers at once: FUSSY_USAGE for a value that cannot be, the session unchanged.
 *
 * Operations block. An agent with an event loop runs a session on a thread of its own: the package comes from a
 * descriptor (the client's socket itself, or a pipe that the loop writes to), progress goes to the loop through a pipe
 * or eventfd, fussy_session_cancel() ends it also while it waits for a package that never comes.
 * examples/agent-c/agent.c shows it whole. */
typedef struct fussy_session fussy_session;

/* Since 0.1. Only allocates. FUSSY_NO_MEMORY, FUSSY_RESOURCE_LIMIT (no descriptor is left). */
FUSSY_API int32_t fussy_session_new(fussy_session **session);

/* Since 0.1. Not while an operation runs: cancel it, and wait for its return. Closes nothing that the caller opened. */
FUSSY_API void fussy_session_free(fussy_session *session);

/* Since 0.1. What the last call said: "what failed: why; what to do"; empty after a success. Never NULL; valid until the
 * next call on the session. */
FUSSY_API const char *fussy_session_message(const fussy_session *session);

/* Since 0.1. What became of the last operation. */
FUSSY_API int32_t fussy_session_report(const fussy_session *session, fussy_report *report);

/* Since 0.1. Directory or file of trusted keys; for packing, of the secret keys. NULL: FUSSY_DEFAULT_KEYRING. */
FUSSY_API int32_t fussy_session_set_keyring(fussy_session *session, const char *path);

/* Since 0.1. Directory of the versions. NULL: FUSSY_DEFAULT_TARGET. */
FUSSY_API int32_t fussy_session_set_target(fussy_session *session, const char *path);

/* Since 0.1. Longest wait for another command on the target, in milliseconds. Default 0: FUSSY_BUSY at once. */
FUSSY_API int32_t fussy_session_set_lock_wait(fussy_session *session, uint64_t milliseconds);

/* Since 0.1. A hook that runs longer is ended, and has failed. Milliseconds; 0: no limit. Default 10 minutes. */
FUSSY_API int32_t fussy_session_set_hook_timeout(fussy_session *session, uint64_t milliseconds);

/* Since 0.1. Valid signatures by so many distinct certificates. Default 1, which is the least. */
FUSSY_API int32_t fussy_session_set_min_signers(fussy_session *session, uint32_t count);

/* Since 0.1. Only signatures by this key count, and by others allowed likewise: fingerprint of a primary key or subkey
 * in hexadecimal. NULL allows all keys of the key ring again, as is the default. */
FUSSY_API int32_t fussy_session_allow_signer(fussy_session *session, const char *fingerprint);

/* Since 0.1. RSA and DSA keys with fewer bits are refused. Default 2048; not below 1024. */
FUSSY_API int32_t fussy_session_set_min_rsa_bits(fussy_session *session, uint32_t bits);

/* Since 0.1. Only signatures with this hash count ("SHA-512"), and with others allowed likewise. NULL allows SHA-2 and
 * SHA-3 again, as is the default. MD5, SHA-1 and RIPEMD never count. */
FUSSY_API int32_t fussy_session_allow_hash(fussy_session *session, const char *name);

/* Since 0.1. 0: also in self-signatures of the trusted keys SHA-1 counts for nothing. Default 1. */
FUSSY_API int32_t fussy_session_set_sha1_self_signatures(fussy_session *session, int32_t yes);

/* Since 0.1. 1: keys and signatures do not expire; revocation counts all the same. Default 0. */
FUSSY_API int32_t fussy_session_set_ignore_expiry(fussy_session *session, int32_t yes);

/* Since 0.1. 0: a package that is encrypted is refused. Default 1. */
FUSSY_API int32_t fussy_session_set_decrypt(fussy_session *session, int32_t yes);

/* Since 0.1. What time it is, in seconds since 1970, for devices without a clock: it decides whether a signature that was
 * made to expire has, and whether a key may still sign and be encrypted for. Whether the key of a signature had expired
 * is judged at the date of the signature. Default, or FUSSY_TIME_CLOCK: the latest of the system's clock, the newest
 * self-signature in the key ring, and the build of the library. */
FUSSY_API int32_t fussy_session_set_time(fussy_session *session, int64_t seconds);
#define FUSSY_TIME_CLOCK ((int64_t)-1)

/* When content is unpacked, always into a private place and never visible before its proof. */
#define FUSSY_UNPACK_AFTER_PROOF 0   /* a file is read twice: first for its proof. A stream is refused */
#define FUSSY_UNPACK_STREAMS_EARLY 1 /* a file as above; a stream while it arrives. The default */
#define FUSSY_UNPACK_EARLY 2         /* always one pass, which is faster */

/* Since 0.1. One of FUSSY_UNPACK_... */
FUSSY_API int32_t fussy_session_set_unpack(fussy_session *session, int32_t when);

/* Since 0.1. Entries of an archive. Default 1,000,000. */
FUSSY_API int32_t fussy_session_set_max_entries(fussy_session *session, uint64_t count);

/* Since 0.1. Content of an archive, in bytes. Default 128 GiB. */
FUSSY_API int32_t fussy_session_set_max_bytes(fussy_session *session, uint64_t bytes);

/* Since 0.1. Unpacked to packed size, looked at beyond 64 MiB. 0: no limit. Default 100. */
FUSSY_API int32_t fussy_session_set_max_ratio(fussy_session *session, uint64_t ratio);

/* Since 0.1. Longest path in an archive in bytes, 1 to 4095, and most directories in one. Defaults 4095 and 256. */
FUSSY_API int32_t fussy_session_set_max_path(fussy_session *session, uint32_t bytes, uint32_t depth);

#define FUSSY_LOG_DEBUG 10
#define FUSSY_LOG_INFO 20
#define FUSSY_LOG_WARNING 30
#define FUSSY_LOG_ERROR 40

/* Gets what the library has to say, line by line and without a newline. `line` is valid during the call. */
typedef void (*fussy_log_callback)(void *user, int32_t level, const char *line);

/* Since 0.1. NULL: silence, which is the default. */
FUSSY_API int32_t fussy_session_set_log(fussy_session *session, fussy_log_callback log, void *user);

/* How far an operation is. */
typedef struct fussy_progress {
  uint32_t size;  /* of what the library filled: look before you use a field that a later version added */
  int32_t phase;  /* FUSSY_PHASE_... */
  uint64_t done;  /* bytes of the package read in this phase */
  uint64_t total; /* bytes it has; 0: not known (a stream), or not counted in this phase */
} fussy_progress;
#define FUSSY_PROGRESS_INIT { sizeof(fussy_progress), 0, 0, 0 }

/* Called some hundred times in an operation, at most. Monotone: no phase follows a later one, `done` never falls within
 * a phase. Return 0 to go on, anything else to cancel. */
typedef int32_t (*fussy_progress_callback)(void *user, const fussy_progress *progress);

/* Since 0.1. NULL: nobody is told, which is the default. */
FUSSY_API int32_t fussy_session_set_progress(fussy_session *session, fussy_progress_callback progress, void *user);

/* Asked for the passphrase of a protected secret key. Writes it to `buffer` and returns its length in bytes; negative:
 * there is none, the key stays locked. The library overwrites the buffer after use. */
typedef int64_t (*fussy_passphrase_callback)(void *user, const char *fingerprint, char *buffer, uint64_t size);

/* Since 0.1. NULL: protected keys stay locked, which is the default. */
FUSSY_API int32_t fussy_session_set_passphrase(fussy_session *session, fussy_passphrase_callback passphrase, void *user);

/* Since 0.1. The package is this file. It is opened by the operation, again by each. */
FUSSY_API int32_t fussy_session_set_package_path(fussy_session *session, const char *path);

/* Since 0.1. The package is what can be read from this descriptor: of a file from its beginning, as by path; of a pipe
 * or socket everything up to its end, once (blocking or not). It stays the caller's, and open until the operation has
 * returned. */
FUSSY_API int32_t fussy_session_set_package_fd(fussy_session *session, int32_t fd);

/* Writes up to `size` bytes of the package to `buffer` and returns how many; 0: that was the end; negative: the negated
 * errno of what failed. May block; to be cancelled meanwhile is its own business. */
typedef int64_t (*fussy_read_callback)(void *user, void *buffer, uint64_t size);

/* Since 0.1. The package is what this callback returns, once. */
FUSSY_API int32_t fussy_session_set_package_callback(fussy_session *session, fussy_read_callback read, void *user);

/* Since 0.1. From any thread, and from a signal handler: the operation that runs ends with FUSSY_CANCELLED soon, and so
 * does every later one until fussy_session_clear_cancel(): so it does not matter which comes first, cancel or operation.
 * Obeyed until .post-install has come to a good end. A hook that it ends makes the version before live again, whose hooks
 * run to their end, and the new one is removed; FUSSY_UNRECOVERABLE where that fails. */
FUSSY_API int32_t fussy_session_cancel(fussy_session *session);

/* Since 0.1. Forgets an earlier fussy_session_cancel(). */
FUSSY_API int32_t fussy_session_clear_cancel(fussy_session *session);

/* Since 0.1. 1: fussy_session_install(), _install_bytes(), _enable() and _clean() change nothing, take no lock and run no
 * hook. They return what the real call would, as far as that can be known, and the report and fussy_session_removed()
 * say what it would do: `bytes_written` and `files_shared` are what to expect. A package that is a stream cannot be
 * looked at without being used up: FUSSY_UNSUPPORTED. Default 0. */
FUSSY_API int32_t fussy_session_set_dry_run(fussy_session *session, int32_t yes);

/* Since 0.1. As fussy_install(), with the package and the settings of the session. */
FUSSY_API int32_t fussy_session_install(fussy_session *session);

/* Since 0.1. The same without hooks and switch: the version lies in the target, not live. fussy_session_enable() may
 * follow. */
FUSSY_API int32_t fussy_session_install_bytes(fussy_session *session);

/* Since 0.1. Makes a version live that is in the target already: its name, or its path. Hooks, and going back, as
 * fussy_install(). FUSSY_NOT_FOUND: it is no version. */
FUSSY_API int32_t fussy_session_enable(fussy_session *session, const char *version);

/* Since 0.1. Finishes or undoes what a crash left (`recovered` of the report). Every operation that changes a target
 * does so first; call this at boot. FUSSY_UNRECOVERABLE: what was interrupted failed, and nothing could be restored. */
FUSSY_API int32_t fussy_session_recover(fussy_session *session);

/* Since 0.1. Removes what is not needed: all but `current`, what it leads to, `failsafe`, and `keep` more versions: the
 * one that was live before, then those installed last, but none that failed. `removed` (optional) gets how many went;
 * fussy_session_removed() names them. */
FUSSY_API int32_t fussy_session_clean(fussy_session *session, uint32_t keep, uint32_t *removed);

/* Since 0.1. Name number `index` of what the last fussy_session_clean() removed; NULL beyond the last. Valid until the
 * next operation. */
FUSSY_API const char *fussy_session_removed(const fussy_session *session, uint32_t index);

/* Since 0.1. Unpacks the package into the existing directory `directory`, for a look at it. The target is not used.
 * `path` of the report is what was made; nothing is left there when the proof fails. */
FUSSY_API int32_t fussy_session_unpack(fussy_session *session, const char *directory);

/* Since 0.1. Proves the package without unpacking it; fussy_session_signer() tells who signed. */
FUSSY_API int32_t fussy_session_verify(fussy_session *session);

/* One valid signature. */
typedef struct fussy_signer {
  uint32_t size;      /* in: sizeof(fussy_signer), or 0; out: how much of it was filled */
  uint32_t reserved;  /* zero */
  int64_t created;    /* when it was made, by its own account: seconds since 1970 */
  char key[72];       /* fingerprint of the key that made it, hexadecimal */
  char primary[72];   /* fingerprint of the primary key of its certificate */
  char user_id[512];  /* of the certificate, as it is written there; may be empty */
  char algorithm[64]; /* "RSA 3072, SHA-512" */
} fussy_signer;
#define FUSSY_SIGNER_INIT { sizeof(fussy_signer), 0, 0, "", "", "", "" }

/* Since 0.1. Number `index` of the signers the last operation found, `signers` of the report in all.
 * FUSSY_NOT_FOUND beyond the last. */
FUSSY_API int32_t fussy_session_signer(const fussy_session *session, uint32_t index, fussy_signer *signer);

#define FUSSY_ENTRY_DIRECTORY 0
#define FUSSY_ENTRY_FILE 1
#define FUSSY_ENTRY_SYMBOLIC_LINK 2
#define FUSSY_ENTRY_HARD_LINK 3

/* What becomes of a file or link when the package takes the place of the version that is live. */
#define FUSSY_CHANGE_NONE (-1)     /* not said of directories, nor where there is nothing to compare with */
#define FUSSY_CHANGE_ADDED 0       /* the live version has nothing of this name */
#define FUSSY_CHANGE_CHANGED 1     /* it has something else */
#define FUSSY_CHANGE_TOUCHED 2     /* equal content; mode, owner, time or attributes differ */
#define FUSSY_CHANGE_UNCHANGED 3   /* equal in everything: it will be shared */
#define FUSSY_CHANGE_REMOVED 4     /* the package has nothing of this name */

/* One entry of a package. Texts are valid during the callback. */
typedef struct fussy_entry {
  uint32_t size;    /* of what the library filled */
  int32_t kind;     /* FUSSY_ENTRY_... */
  int32_t becomes;  /* FUSSY_CHANGE_... */
  uint32_t mode;    /* permission bits */
  uint64_t bytes;   /* content of a file */
  int64_t mtime;    /* seconds since 1970 */
  const char *path; /* with the name of the one directory at its top */
  const char *link; /* text of a symbolic link, path that a hard link names; else empty */
} fussy_entry;
#define FUSSY_ENTRY_INIT { sizeof(fussy_entry), 0, FUSSY_CHANGE_NONE, 0, 0, 0, "", "" }

/* Gets the entries of a proven package in its order, then what would be removed. Return 0 to go on, anything else to
 * cancel. */
typedef int32_t (*fussy_entry_callback)(void *user, const fussy_entry *entry);

#define FUSSY_HOOK_PRE_INSTALL UINT32_C(1)
#define FUSSY_HOOK_POST_INSTALL UINT32_C(2)

/* What a package is, and what an install of it would do. */
typedef struct fussy_inspection {
  uint32_t size;            /* in: sizeof(fussy_inspection), or 0; out: how much of it was filled */
  int32_t refused;          /* why an install would refuse the package: FUSSY_OK, 20xx or 21xx; its content is not known then */
  int32_t hindrance;        /* why an install would not begin: FUSSY_OK, FUSSY_TARGET_UNUSABLE, FUSSY_BUSY, FUSSY_NO_SPACE ... */
  int32_t interrupted;      /* 1: an earlier operation waits for recovery, what is said holds if that changes nothing */
  uint32_t signatures;      /* how many it claims, see fussy_session_signature() */
  uint32_t recipients;      /* for whom it is encrypted, see fussy_session_recipient() */
  uint32_t signers;         /* whose signatures count, see fussy_session_signer(); 0: it is not proven */
  uint32_t encrypted;       /* 1: it is */
  uint32_t armored;         /* 1: it is */
  uint32_t hooks;           /* FUSSY_HOOK_...: those it brings */
  uint32_t passphrase;      /* 1: a passphrase opens it, too; none is ever tried */
  uint32_t reserved;        /* 0 */
  uint64_t package_bytes;   /* size of the file */
  uint64_t bytes;           /* content of the archive */
  uint64_t files;           /* regular files */
  uint64_t links;           /* symbolic and hard links */
  uint64_t directories;
  uint64_t added_files;     /* these count files and links, and the bytes of their content */
  uint64_t added_bytes;
  uint64_t changed_files;
  uint64_t changed_bytes;
  uint64_t touched_files;
  uint64_t touched_bytes;
  uint64_t unchanged_files;
  uint64_t unchanged_bytes;
  uint64_t removed_files;
  uint64_t removed_bytes;
  uint64_t needed_bytes;    /* on disk, as blocks of 4 KiB count */
  uint64_t needed_inodes;
  uint64_t free_bytes;      /* for who runs this */
  uint64_t free_inodes;     /* UINT64_MAX: the file system does not count them */
  char version[256];        /* name it would get; empty: there is no target to compare with, or it is refused */
  char current[256];        /* the version that is live, compared with; empty: none */
  char path[1024];          /* of the version it would become; empty as `version` */
  char cipher[64];          /* "AES-256"; empty: none, or not known for certain */
  char protection[64];      /* of what is encrypted against changes: "SEIPD v1 (MDC)", "SEIPD v2 (OCB)" */
  char compression[64];     /* of the archive: "gzip" */
  char message[1024];       /* of `refused`, else of `hindrance`: what failed: why; what to do */
} fussy_inspection;
#define FUSSY_INSPECTION_INIT \
  { sizeof(fussy_inspection), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
    "", "", "", "", "", "", "" }

/* Since 0.1. Looks into the package, which is a file, and compares it with the version that is live. Changes nothing,
 * takes no lock. That a package would be refused, or an install hindered, is a result and no failure: FUSSY_OK, see
 * `refused` and `hindrance`. What is in a package that is not proven is not looked at. Where the target does not exist,
 * as on a vendor's machine, there is nothing to compare with: everything would be added, `version`, `current` and `path`
 * stay empty, the free space 0. A stream is FUSSY_UNSUPPORTED. The report and fussy_session_signer() speak of what would
 * be installed, as after a dry run.
 *
 * entry       optional: called for what is in the package.
 * inspection  optional, untouched after a failure. */
FUSSY_API int32_t fussy_session_inspect(fussy_session *session, fussy_entry_callback entry, void *user,
                                        fussy_inspection *inspection);

/* A signature that a package claims. Nobody proves what is said here, but for `verdict`. */
typedef struct fussy_signature {
  uint32_t size;      /* in: sizeof(fussy_signature), or 0; out: how much of it was filled */
  int32_t verdict;    /* FUSSY_OK: it counts; else why it does not; -1: the message ended before it was checked */
  int64_t created;    /* seconds since 1970; 0: not known */
  char key[72];       /* fingerprint or key ID of who claims to have made it */
  char user_id[512];  /* of that key in the key ring; empty: unknown or none */
  char algorithm[64]; /* "RSA, SHA-512" */
  char why[512];      /* it does not count; else empty */
} fussy_signature;
#define FUSSY_SIGNATURE_INIT { sizeof(fussy_signature), 0, 0, "", "", "", "" }

/* Since 0.1. Number `index` of the signatures the last fussy_session_inspect() saw. FUSSY_NOT_FOUND beyond the last. */
FUSSY_API int32_t fussy_session_signature(const fussy_session *session, uint32_t index, fussy_signature *signature);

/* Whom a package is encrypted for, by its own account. */
typedef struct fussy_recipient {
  uint32_t size;      /* in: sizeof(fussy_recipient), or 0; out: how much of it was filled */
  uint32_t ours;      /* 1: the secret key is in the key ring (of a hidden one: may be) */
  char key[72];       /* key ID or fingerprint of the subkey; empty: hidden */
  char algorithm[64]; /* "ECDH" */
} fussy_recipient;
#define FUSSY_RECIPIENT_INIT { sizeof(fussy_recipient), 0, "", "" }

/* Since 0.1. Number `index` of the recipients the last fussy_session_inspect() saw, 100 at most. FUSSY_NOT_FOUND beyond
 * the last. */
FUSSY_API int32_t fussy_session_recipient(const fussy_session *session, uint32_t index, fussy_recipient *recipient);

/* A target directory, looked at. */
typedef struct fussy_target {
  uint32_t size;          /* in: sizeof(fussy_target), or 0; out: how much of it was filled */
  uint32_t versions;      /* how many there are, see fussy_session_version() */
  int32_t busy;           /* 1: another command works on it */
  int32_t interrupted;    /* 1: an operation is in flight; when nobody is busy, it awaits recovery */
  int64_t pid;            /* of the command that works on it; 0: not known, or none */
  uint64_t staging_bytes; /* on disk, private to the library */
  char path[1024];        /* absolute */
  char current[256];      /* name of the version that is live; empty: none */
  char previous[256];     /* of the one before; empty: none is known */
  char failsafe[256];     /* "failsafe"; empty: there is none */
  char in_flight[256];    /* of the version that is being installed; empty: none */
  uint32_t hidden;        /* 1: no right to look into TARGET/.fussy, so nothing of what is there is known: busy, interrupted,
                             pid, staging_bytes, previous, in_flight */
  uint32_t reserved;      /* 0 */
} fussy_target;
#define FUSSY_TARGET_INIT { sizeof(fussy_target), 0, 0, 0, 0, 0, "", "", "", "", "", 0, 0 }

/* Since 0.1. Looks at the target, without waiting for anybody and without changing anything. */
FUSSY_API int32_t fussy_session_status(fussy_session *session, fussy_target *target);

#define FUSSY_VERSION_CURRENT UINT32_C(1)
#define FUSSY_VERSION_PREVIOUS UINT32_C(2)
#define FUSSY_VERSION_FAILSAFE UINT32_C(4)
#define FUSSY_VERSION_FAILED UINT32_C(8) /* it was live, failed, and another one was restored: the last to do so */

/* One version of a target. */
typedef struct fussy_version_info {
  uint32_t size;         /* in: sizeof(fussy_version_info), or 0; out: how much of it was filled */
  uint32_t flags;        /* FUSSY_VERSION_... */
  uint64_t own_bytes;    /* on disk, freed when it is removed */
  uint64_t shared_bytes; /* on disk, needed by others as well */
  uint64_t files;        /* everything that is not a directory */
  int64_t installed;     /* seconds since 1970 */
  char name[256];
} fussy_version_info;
#define FUSSY_VERSION_INFO_INIT { sizeof(fussy_version_info), 0, 0, 0, 0, 0, "" }

/* Since 0.1. Version number `index`, by name, of the last fussy_session_status(). FUSSY_NOT_FOUND beyond the last. */
FUSSY_API int32_t fussy_session_version(const fussy_session *session, uint32_t index, fussy_version_info *version);

#define FUSSY_KEY_PRIMARY UINT32_C(1)
#define FUSSY_KEY_SIGNS UINT32_C(2)       /* meant to sign data */
#define FUSSY_KEY_ENCRYPTS UINT32_C(4)    /* meant to be encrypted for */
#define FUSSY_KEY_HAS_SECRET UINT32_C(8)
#define FUSSY_KEY_IS_EXPIRED UINT32_C(16)
#define FUSSY_KEY_IS_REVOKED UINT32_C(32)
#define FUSSY_KEY_COUNTS UINT32_C(64)     /* signatures by it count, under the session's policy */

/* One key of a key ring. */
typedef struct fussy_key {
  uint32_t size;        /* in: sizeof(fussy_key), or 0; out: how much of it was filled */
  uint32_t flags;       /* FUSSY_KEY_... */
  int64_t created;      /* seconds since 1970 */
  int64_t expires;      /* seconds since 1970; 0: never */
  char fingerprint[72]; /* hexadecimal */
  char primary[72];     /* fingerprint of the primary key of its certificate */
  char user_id[512];    /* of the certificate, as it is written there; may be empty */
  char algorithm[64];   /* "RSA 3072" */
} fussy_key;
#define FUSSY_KEY_INIT { sizeof(fussy_key), 0, 0, 0, "", "", "", "" }

/* Since 0.1. Loads the key ring. `count` (optional) gets how many keys it has; primary keys and subkeys count each. */
FUSSY_API int32_t fussy_session_keys(fussy_session *session, uint32_t *count);

/* Since 0.1. Key number `index` of the last fussy_session_keys(): each primary key, then its subkeys. FUSSY_NOT_FOUND
 * beyond the last. */
FUSSY_API int32_t fussy_session_key(const fussy_session *session, uint32_t index, fussy_key *key);

/* ---- Packing ------------------------------------------------------------------------------------------------------ */

/* Since 0.1. Sign with this key: ID, fingerprint, e-mail address or part of a user ID. Called again, with that as well.
 * NULL forgets them: the first usable secret key of the key ring signs, as is the default. */
FUSSY_API int32_t fussy_session_add_signing_key(fussy_session *session, const char *key);

/* Since 0.1. Encrypt for this key, named as above. NULL forgets all: not encrypted, as is the default. */
FUSSY_API int32_t fussy_session_add_recipient(fussy_session *session, const char *key);

/* Since 0.1. Leave out what matches this pattern, as tar --exclude. NULL forgets all. .svn, .bzr and .git are always
 * left out. */
FUSSY_API int32_t fussy_session_add_exclude(fussy_session *session, const char *pattern);

/* Since 0.1. Name of the package's file without suffix. NULL: that of the directory. */
FUSSY_API int32_t fussy_session_set_package_name(fussy_session *session, const char *name);

#define FUSSY_COMPRESSION_GZIP 0 /* the default; the one that every device reads */
#define FUSSY_COMPRESSION_BZIP2 1
#define FUSSY_COMPRESSION_ZSTD 2

/* Since 0.1. One of FUSSY_COMPRESSION_..., and its level; level 0: the usual one. */
FUSSY_API int32_t fussy_session_set_compression(fussy_session *session, int32_t compression, int32_t level);

/* Since 0.1. 1: the package is ASCII-armored text. Default 0. */
FUSSY_API int32_t fussy_session_set_armor(fussy_session *session, int32_t yes);

/* Since 0.1. Packs the directory `root`, whose name becomes that of the version, into the existing directory `into`;
 * NULL: into a fresh one below $TMPDIR or /tmp, which is the caller's then. `path` of the report is the package. It is
 * signed by a key of the key ring; `sign` 0: only packed, for fussy_session_sign() elsewhere. */
FUSSY_API int32_t fussy_session_pack(fussy_session *session, const char *root, const char *into, int32_t sign);

/* Since 0.1. Signs an archive that was packed without; the archive is replaced by the package. `path` of the report is
 * the package. */
FUSSY_API int32_t fussy_session_sign(fussy_session *session, const char *archive);

/* ---- Locks: jobs of which only one may run at a time --------------------------------------------------------------- */

/* A lock file that this process holds. A process that ends, however it ends, holds nothing; lock files need never be
 * removed. */
typedef struct fussy_lock fussy_lock;

/* Since 0.1. Takes the lock on `file`, which is made when it is missing; its PID stands in it while it is held. Waits up
 * to `wait` milliseconds for another holder. The lock excludes processes and threads alike.
 * FUSSY_BUSY: another process holds it, `message` says which. FUSSY_ALREADY_HELD: this process does. `report` is
 * optional. */
FUSSY_API int32_t fussy_lock_acquire(const char *file, uint64_t wait, fussy_lock **lock, fussy_report *report);

/* Since 0.1. From now on, what this thread does with the library has so many milliseconds: operations on packages, pipes
 * and waits for locks that it starts end with FUSSY_TIMEOUT by then. Replaces what was set before; 0: no limit. What the
 * host does itself is not stopped: let it ask fussy_lock_check(). */
FUSSY_API int32_t fussy_lock_set_timeout(fussy_lock *lock, uint64_t milliseconds);

/* Since 0.1. FUSSY_TIMEOUT once the time set is over, else FUSSY_OK. */
FUSSY_API int32_t fussy_lock_check(const fussy_lock *lock);

/* Since 0.1. Releases the lock and its time limit. On the thread that acquired it. */
FUSSY_API void fussy_lock_release(fussy_lock *lock);

/* ---- Trees of links ----------------------------------------------------------------------------------------------- */

#define FUSSY_LINK_SYMBOLIC 0 /* by absolute path: follows an upgrade when it leads through `current` */
#define FUSSY_LINK_HARD 1     /* across file systems: a copy */
#define FUSSY_LINK_COPY 2

#define FUSSY_LINK_RELATIVE UINT32_C(1) /* symbolic links get a relative text */
#define FUSSY_LINK_PRUNE UINT32_C(2)    /* remove links of an earlier run whose source is gone */
#define FUSSY_LINK_BACKUP UINT32_C(4)   /* keep what is replaced as NAME.~1~ ... */
#define FUSSY_LINK_DRY_RUN UINT32_C(8)  /* change nothing, only count */

/* What a run did. */
typedef struct fussy_link_counts {
  uint32_t size;        /* in: sizeof(fussy_link_counts), or 0; out: how much of it was filled */
  uint32_t reserved;    /* zero */
  uint64_t created;     /* entries that are no directories, as the next three */
  uint64_t updated;
  uint64_t unchanged;
  uint64_t pruned;
  uint64_t directories; /* made */
  uint64_t backed_up;
} fussy_link_counts;
#define FUSSY_LINK_COUNTS_INIT { sizeof(fussy_link_counts), 0, 0, 0, 0, 0, 0, 0 }

/* Since 0.1. For every file below `distribution`, an entry at the same place below `target` that leads to it. What is up
 * to date is not touched, everything else is replaced atomically; a conflict (a directory in the place of a file) is
 * found before anything is changed. `kind` is one of FUSSY_LINK_SYMBOLIC, _HARD, _COPY; `options` are the bits above.
 * `counts` and `report` are optional. */
FUSSY_API int32_t fussy_link_tree(const char *distribution, const char *target, int32_t kind, uint32_t options,
                                  fussy_link_counts *counts, fussy_report *report);

/* ---- Migrations --------------------------------------------------------------------------------------------------- */

/* Since 0.1. For the .pre-install of an older version: undoes the migrations of a data base that the version in
 * `final_target` does not have, while the newer one is still current. Compares final_target/path with
 * final_target/../current/path, where migrations are files named ????_*.py, and runs
 * `admin migrate --noinput application NAME` for the last common one.
 *
 * admin    django-admin, or the path of a manage.py; NULL: only look.
 * report   optional: `version` is the NAME to go back to, empty when nothing is to be undone; `output` the last lines
 *          the command wrote.
 *
 * FUSSY_NOT_FOUND: no migration is in common; undoing all of them, and all data, is not done unasked.
 * FUSSY_PROCESS_FAILED: see `output`. FUSSY_UNSUPPORTED: built without. */
FUSSY_API int32_t fussy_roll_back(const char *final_target, const char *application, const char *path,
                                  const char *admin, fussy_report *report);

/* ---- Pipes: processes, and functions of the host between them ------------------------------------------------------ */

/* Stages, joined as in a shell: the output of each is the input of the next; the first is a process. Adding starts
 * nothing; a run starts all. Neighbouring processes are joined by the kernel; no pipe deadlocks, however full its buffers
 * are. Without input, the first process reads nothing; without output, what the last stage writes is collected. A pipe
 * may be run again. Without FUSSY_FEATURE_PIPES fussy_pipe_new() returns FUSSY_UNSUPPORTED. */
typedef struct fussy_pipe fussy_pipe;

/* Since 0.1. A pipe without stages. */
FUSSY_API int32_t fussy_pipe_new(fussy_pipe **pipe);

/* Since 0.1. Kills what still runs; leaves no process and no zombie. */
FUSSY_API void fussy_pipe_free(fussy_pipe *pipe);

/* Since 0.1. As fussy_session_message(). */
FUSSY_API const char *fussy_pipe_message(const fussy_pipe *pipe);

/* Since 0.1. What became of the last run; `output` has the last lines of what failed. */
FUSSY_API int32_t fussy_pipe_report(const fussy_pipe *pipe, fussy_report *report);

/* Since 0.1. A program and its arguments; a NULL ends the list. The program is looked for in PATH. */
FUSSY_API int32_t fussy_pipe_add_process(fussy_pipe *pipe, const char *const *argv);

/* Since 0.1. A command for /bin/sh -c. */
FUSSY_API int32_t fussy_pipe_add_shell(fussy_pipe *pipe, const char *command);

/* What a stage in the host writes to; valid during the callback. */
typedef struct fussy_stage_output fussy_stage_output;

/* A stage in the host. Gets what comes, and may write any amount by fussy_stage_write(); at the end of its input it is
 * called once more with `size` 0. Must not block. Returns 0; a negated errno fails the run. */
typedef int32_t (*fussy_stage_callback)(void *user, const void *data, uint64_t size, fussy_stage_output *output);

/* Since 0.1. A function of the host as stage. */
FUSSY_API int32_t fussy_pipe_add_callback(fussy_pipe *pipe, fussy_stage_callback stage, void *user);

/* Since 0.1. Called by a stage: passes data on to the next one. Copies it. */
FUSSY_API int32_t fussy_stage_write(fussy_stage_output *output, const void *data, uint64_t size);

/* Since 0.1. Exit statuses of the process added last that are no failure, instead of 0 alone; `count` 0: all are good. A
 * signal always is a failure. */
FUSSY_API int32_t fussy_pipe_set_good_exit(fussy_pipe *pipe, const int32_t *codes, uint32_t count);

/* Since 0.1. A variable for the process added last, beside those of the host; `value` NULL removes it. */
FUSSY_API int32_t fussy_pipe_set_environment(fussy_pipe *pipe, const char *name, const char *value);

/* Since 0.1. Working directory of the process added last. */
FUSSY_API int32_t fussy_pipe_set_directory(fussy_pipe *pipe, const char *path);

#define FUSSY_STDERR_INHERIT 0 /* where the host's goes; the default */
#define FUSSY_STDERR_NULL 1    /* nowhere */
#define FUSSY_STDERR_OUTPUT 2  /* into its output */
#define FUSSY_STDERR_CAPTURE 3 /* into fussy_stage_report */

/* Since 0.1. Where the process added last sends its error output. */
FUSSY_API int32_t fussy_pipe_set_stderr(fussy_pipe *pipe, int32_t where);

/* Since 0.1. Input of the first stage: this descriptor, which stays the caller's and must be open during a run. */
FUSSY_API int32_t fussy_pipe_set_input_fd(fussy_pipe *pipe, int32_t fd);

/* Since 0.1. Input: these bytes, copied. */
FUSSY_API int32_t fussy_pipe_set_input_buffer(fussy_pipe *pipe, const void *data, uint64_t size);

/* Since 0.1. Input: what the callback returns, as for fussy_session_set_package_callback(). Called by whoever drives the
 * run, so it should not block. */
FUSSY_API int32_t fussy_pipe_set_input_callback(fussy_pipe *pipe, fussy_read_callback read, void *user);

/* Since 0.1. Output of the last stage: this descriptor, which stays the caller's and must be open during a run. */
FUSSY_API int32_t fussy_pipe_set_output_fd(fussy_pipe *pipe, int32_t fd);

/* Gets what comes out of the last stage. Returns 0; a negated errno fails the run. */
typedef int32_t (*fussy_write_callback)(void *user, const void *data, uint64_t size);

/* Since 0.1. Output goes to the callback, instead of being collected. */
FUSSY_API int32_t fussy_pipe_set_output_callback(fussy_pipe *pipe, fussy_write_callback write, void *user);

/* Since 0.1. More collected output fails with FUSSY_TOO_LARGE. Default: no limit. */
FUSSY_API int32_t fussy_pipe_set_max_output(fussy_pipe *pipe, uint64_t bytes);

/* Since 0.1. Longest time of a run in milliseconds, then its processes and their descendants are killed; 0: no limit. */
FUSSY_API int32_t fussy_pipe_set_timeout(fussy_pipe *pipe, uint64_t milliseconds);

/* Since 0.1. Runs it to its end. FUSSY_PROCESS_FAILED, FUSSY_SPAWN_FAILED, FUSSY_TIMEOUT: see the report, and
 * fussy_pipe_stage(); what was written till then is in fussy_pipe_output(). */
FUSSY_API int32_t fussy_pipe_run(fussy_pipe *pipe);

/* Since 0.1. Starts a run that the loop of the host drives: whenever the descriptor of fussy_pipe_fd() is readable, call
 * fussy_pipe_step(). */
FUSSY_API int32_t fussy_pipe_start(fussy_pipe *pipe);

/* Since 0.1. One descriptor to poll for reading, for the whole run; not to be read or closed. It is the same from
 * fussy_pipe_start() until the step that says `finished`. FUSSY_USAGE: nothing runs. */
FUSSY_API int32_t fussy_pipe_fd(const fussy_pipe *pipe, int32_t *fd);

/* Since 0.1. Serves what is ready and returns, without blocking. `finished` gets 1 when the run is over, and the status
 * then is that of the run, as of fussy_pipe_run(); else 0 and FUSSY_OK. */
FUSSY_API int32_t fussy_pipe_step(fussy_pipe *pipe, int32_t *finished);

/* Since 0.1. Ends a run that was started: all its processes and their descendants are killed, and reaped by the steps
 * that follow. */
FUSSY_API int32_t fussy_pipe_cancel(fussy_pipe *pipe);

/* Since 0.1. What the last run collected; valid until the next call on the pipe that runs or frees it. */
FUSSY_API int32_t fussy_pipe_output(const fussy_pipe *pipe, const void **data, uint64_t *size);

/* One stage of the last run. */
typedef struct fussy_stage_report {
  uint32_t size;        /* in: sizeof(fussy_stage_report), or 0; out: how much of it was filled */
  int32_t is_process;   /* 0: a function of the host, or an end */
  int32_t exit_code;    /* of a process that ended by itself */
  int32_t signal;       /* that killed it; 0: none did */
  int32_t spawn_errno;  /* why it could not be started; 0: it was */
  int32_t failed;       /* 1: it failed of its own, not because of another one */
  int64_t pid;          /* while it lived; -1: it was never started */
  char name[256];       /* the command, cut */
  char error[2048];     /* last lines of its error output, where that was captured */
} fussy_stage_report;
#define FUSSY_STAGE_REPORT_INIT { sizeof(fussy_stage_report), 0, 0, 0, 0, 0, 0, "", "" }

/* Since 0.1. Stage number `index` of the last run, in the order of the pipe, its ends included. FUSSY_NOT_FOUND beyond
 * the last. */
FUSSY_API int32_t fussy_pipe_stage(const fussy_pipe *pipe, uint32_t index, fussy_stage_report *stage);

#ifdef __cplusplus
}
#endif

#endif /* FUSSY_H */
