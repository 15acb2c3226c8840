/* measured REPORT COMMAND…  runs a command and writes "wall user system peak_kib" into REPORT; exits as the command does.
 *
 * Small on purpose: what a process forks starts with the peak memory of its parent, and Python's is larger than tar's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec * 1e-6; }

static int fail(const char *what) {
  fprintf(stderr, "measured: %s: %s\n", what, strerror(errno));
  return 125;
}

int main(int count, char **words) {
  struct rusage used;
  int status = 0;
  if (count < 3) {
    fprintf(stderr, "usage: measured REPORT COMMAND...\n");
    return 125;
  }
  const double start = now();
  const pid_t child = fork();
  if (child < 0) return fail("fork");
  if (child == 0) {
    execvp(words[2], words + 2);
    _exit(fail(words[2]));
  }
  while (wait4(child, &status, 0, &used) < 0)
    if (errno != EINTR) return fail("wait4");
  const double wall = now() - start;
  FILE *report = fopen(words[1], "w");
  if (!report) return fail(words[1]);
  fprintf(report, "%.6f %.6f %.6f %ld\n", wall, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss);
  if (fclose(report) != 0) return fail(words[1]);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
