/* Preloaded into a process: at its Nth call that touches the file system it is killed, or the call fails.
 *
 *   FUSSY_SHIM=count:FILE      writes how many calls there were to FILE, at the end
 *   FUSSY_SHIM=kill:N          SIGKILL instead of the Nth call (from 0) that changes something
 *   FUSSY_SHIM=fail:N:ERRNO    the Nth call, reading ones included, fails with this errno, once
 *   FUSSY_SHIM=nosync          fsync and syncfs do nothing and say all is well
 *   FUSSY_SHIM=nolock          so do flock and the locks of fcntl
 *   FUSSY_SHIM=full:N:ERRNO    the Nth call and all that need space after it fail with this errno
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* Both names of a call are defined here, so neither may stand for the other. */
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#undef _FORTIFY_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { OFF, COUNT, KILL, FAIL, FULL, NOSYNC, NOLOCK };
static int mode = OFF;
static long number = -1, calls = 0, changes = 0;
static int failure = EIO;
static char result_file[4096];

__attribute__((constructor)) static void begin(void) {
  const char *text = getenv("FUSSY_SHIM");
  if (!text) return;
  if (sscanf(text, "count:%4095s", result_file) == 1) mode = COUNT;
  else if (sscanf(text, "kill:%ld", &number) == 1) mode = KILL;
  else if (sscanf(text, "fail:%ld:%d", &number, &failure) == 2) mode = FAIL;
  else if (sscanf(text, "full:%ld:%d", &number, &failure) == 2) mode = FULL;
  else if (strcmp(text, "nosync") == 0) mode = NOSYNC;
  else if (strcmp(text, "nolock") == 0) mode = NOLOCK;
}

__attribute__((destructor)) static void end(void) {
  if (mode != COUNT) return;
  mode = OFF;
  FILE *f = fopen(result_file, "w");
  if (!f) return;
  fprintf(f, "%ld %ld\n", changes, calls);
  fclose(f);
}

enum kind { READS, CHANGES, NEEDS_SPACE };

/* @return 1: the call is to fail, errno is set. */
static int strike(enum kind k) {
  if (mode == OFF) return 0;
  const long call = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
  const long change = k == READS ? -1 : __atomic_fetch_add(&changes, 1, __ATOMIC_SEQ_CST);
  if (mode == KILL && change == number) kill(getpid(), SIGKILL);
  if ((mode == FAIL && call == number) || (mode == FULL && call >= number && k == NEEDS_SPACE)) {
    errno = failure;
    return 1;
  }
  return 0;
}

static void *next(const char *name) {
  void *f = dlsym(RTLD_NEXT, name);
  if (!f) abort();
  return f;
}

#define WRAP(kind, type, name, parameters, arguments)  \
  type name parameters {                               \
    static type(*real) parameters;                     \
    if (!real) *(void **)&real = next(#name);          \
    if (strike(kind)) return -1;                       \
    return real arguments;                             \
  }

#define WRAP_OPEN(name)                                                                            \
  int name(const char *path, int flags, ...) {                                                     \
    static int (*real)(const char *, int, ...);                                                    \
    if (!real) *(void **)&real = next(#name);                                                      \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    const mode_t bits = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;                \
    va_end(more);                                                                                  \
    if (strike((flags & O_CREAT) ? NEEDS_SPACE : READS)) return -1;                                \
    return real(path, flags, bits);                                                                \
  }
#define WRAP_OPENAT(name)                                                                          \
  int name(int dir, const char *path, int flags, ...) {                                            \
    static int (*real)(int, const char *, int, ...);                                               \
    if (!real) *(void **)&real = next(#name);                                                      \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    const mode_t bits = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;                \
    va_end(more);                                                                                  \
    if (strike((flags & O_CREAT) ? NEEDS_SPACE : READS)) return -1;                                \
    return real(dir, path, flags, bits);                                                           \
  }

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP(READS, int, fstatat64, (int d, const char *p, struct stat64 *s, int f), (d, p, s, f))
WRAP(READS, int, fstatat, (int d, const char *p, struct stat *s, int f), (d, p, s, f))
WRAP(READS, ssize_t, read, (int fd, void *b, size_t n), (fd, b, n))
WRAP(READS, ssize_t, pread, (int fd, void *b, size_t n, off_t o), (fd, b, n, o))
WRAP(READS, ssize_t, pread64, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o))
WRAP(READS, ssize_t, readlinkat, (int d, const char *p, char *b, size_t n), (d, p, b, n))
WRAP(READS, ssize_t, getdents64, (int fd, void *b, size_t n), (fd, b, n))
WRAP(NEEDS_SPACE, int, mkdirat, (int d, const char *p, mode_t m), (d, p, m))
WRAP(NEEDS_SPACE, int, symlinkat, (const char *t, int d, const char *p), (t, d, p))
WRAP(NEEDS_SPACE, int, linkat, (int d, const char *p, int e, const char *q, int f), (d, p, e, q, f))
WRAP(CHANGES, int, renameat, (int d, const char *p, int e, const char *q), (d, p, e, q))
WRAP(CHANGES, int, renameat2, (int d, const char *p, int e, const char *q, unsigned f), (d, p, e, q, f))
WRAP(CHANGES, int, unlinkat, (int d, const char *p, int f), (d, p, f))
WRAP(NEEDS_SPACE, ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
WRAP(NEEDS_SPACE, ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
WRAP(NEEDS_SPACE, ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
WRAP(NEEDS_SPACE, int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(NEEDS_SPACE, int, ftruncate64, (int fd, off64_t n), (fd, n))
#define WRAP_SYNC(name)                               \
  int name(int fd) {                                  \
    static int (*real)(int);                          \
    if (!real) *(void **)&real = next(#name);         \
    if (mode == NOSYNC) return 0;                     \
    if (strike(CHANGES)) return -1;                   \
    return real(fd);                                  \
  }
WRAP_SYNC(fsync)
WRAP_SYNC(syncfs)

int flock(int fd, int operation) {
  static int (*real)(int, int);
  if (!real) *(void **)&real = next("flock");
  return mode == NOLOCK ? 0 : real(fd, operation);
}

#define WRAP_FCNTL(name)                                                    \
  int name(int fd, int command, ...) {                                      \
    static int (*real)(int, int, ...);                                      \
    if (!real) *(void **)&real = next(#name);                               \
    va_list more;                                                           \
    va_start(more, command);                                                \
    void *argument = va_arg(more, void *);                                  \
    va_end(more);                                                           \
    if (mode != NOLOCK || (command != F_OFD_SETLK && command != F_OFD_GETLK)) return real(fd, command, argument); \
    if (command == F_OFD_GETLK) ((struct flock *)argument)->l_type = F_UNLCK; \
    return 0;                                                               \
  }
WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)
#if __SIZEOF_LONG__ == 4 /* what calls are named there in programs whose time_t has 64 bits */
WRAP_FCNTL(__fcntl_time64)
WRAP(READS, int, __fstatat64_time64, (int d, const char *p, void *s, int f), (d, p, s, f))
WRAP(CHANGES, int, __futimens64, (int fd, const void *t), (fd, t))
WRAP(CHANGES, int, __utimensat64, (int d, const char *p, const void *t, int f), (d, p, t, f))
#endif

WRAP(CHANGES, int, fchmod, (int fd, mode_t m), (fd, m))
WRAP(CHANGES, int, fchmodat, (int d, const char *p, mode_t m, int f), (d, p, m, f))
WRAP(CHANGES, int, fchown, (int fd, uid_t u, gid_t g), (fd, u, g))
WRAP(CHANGES, int, fchownat, (int d, const char *p, uid_t u, gid_t g, int f), (d, p, u, g, f))
WRAP(CHANGES, int, futimens, (int fd, const struct timespec t[2]), (fd, t))
WRAP(CHANGES, int, utimensat, (int d, const char *p, const struct timespec t[2], int f), (d, p, t, f))

long syscall(long which, ...) {
  static long (*real)(long, ...);
  if (!real) *(void **)&real = next("syscall");
  va_list more;
  va_start(more, which);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(more, long);
  va_end(more);
  if (which == SYS_openat2) {
    const struct open_how *how = (const struct open_how *)a[2];
    if (strike((how->flags & O_CREAT) ? NEEDS_SPACE : READS)) return -1;
  }
  return real(which, a[0], a[1], a[2], a[3], a[4], a[5]);
}
