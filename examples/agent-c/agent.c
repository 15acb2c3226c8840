/* An update agent: a small daemon with an event loop that takes packages over a Unix socket.
 *
 *   agent-c SOCKET KEYRING TARGET
 *
 * A client sends one line, then perhaps more, and reads lines until the agent hangs up:
 *
 *   install       followed by the package and the end of what is sent (shutdown(2)); answered by `progress PHASE DONE`
 *                 lines, then `ok VERSION` or `failed STATUS MESSAGE`
 *   status        answered by `state idle|installing PHASE DONE`, `current VERSION`, `versions N`
 *   cancel        ends the install that runs; answered by `ok`
 *
 * fussy's operations block, so the install has a thread of its own, which reads the package from the client's socket
 * itself: no byte passes through the loop, and a slow client slows down nobody else. Everything the thread has to say
 * goes through a pipe to the loop. SIGTERM and SIGINT cancel the install, wait for it, and end the agent: an install is
 * never left half done, whenever the signal comes.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <fussy.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CLIENTS 16
#define COMMAND_SECONDS 5  /* a client has to say what it wants, and to end when it has its answer */
#define STALLED_SECONDS 30 /* an upload that brings nothing for so long is given up */

/* What the thread tells the loop. Smaller than PIPE_BUF, so it arrives whole. */
typedef struct news {
  int32_t finished;
  int32_t phase;
  uint64_t done;
} news;

typedef struct client {
  int fd;       /* -1: free */
  int answered; /* all is said; what it still sends is thrown away */
  char line[64];
  size_t length;
  time_t since;
} client;

typedef struct agent {
  const char *keyring, *target;
  fussy_session *installer; /* used by the thread while `uploader` is not -1 */
  fussy_session *observer;  /* used by the loop, for status */
  pthread_t thread;
  int uploader; /* socket of the client whose package is being installed; -1: none */
  int told[2];  /* pipe from thread and signal handler to the loop */
  news last;
  time_t last_news;
  int32_t outcome;
  client clients[MAX_CLIENTS];
} agent;

static volatile sig_atomic_t stopping = 0;
static fussy_session *running = NULL; /* for the signal handler; set once, before the handler is */
static int wake_up = -1;

static void on_signal(int number) {
  const int saved = errno;
  const news nothing = {0, -1, 0};
  (void)number;
  stopping = 1;
  fussy_session_cancel(running);
  if (write(wake_up, &nothing, sizeof nothing) < 0) stopping = 1; /* a full pipe wakes the loop as well */
  errno = saved;
}

static time_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

/* A client that has gone, or does not read, is no reason to wait. */
static void answer(int fd, const char *text) {
  const size_t size = strlen(text);
  if (send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size && errno != EPIPE)
    fprintf(stderr, "agent: a client does not read: %s", text);
}

static client *find_place(agent *a) {
  int i;
  for (i = 0; i < MAX_CLIENTS; ++i)
    if (a->clients[i].fd == -1) return &a->clients[i];
  return NULL;
}

static void hang_up(client *c) {
  close(c->fd);
  c->fd = -1;
}

/* The last answer. Closing a socket that has unread data would take the answer away from the client that is still
 * sending: so it is closed when the client has ended. */
static void answer_last(agent *a, int fd, const char *text) {
  client *c = find_place(a);
  answer(fd, text);
  shutdown(fd, SHUT_WR);
  if (c == NULL) {
    close(fd);
    return;
  }
  c->fd = fd;
  c->answered = 1;
  c->since = now();
}

static const char *phase_name(int32_t phase) {
  static const char *const names[] = {"waiting",    "recovering",  "verifying", "unpacking",    "syncing",  "publishing",
                                      "pre-install", "switching", "post-install", "restoring", "done"};
  return phase >= 0 && phase <= FUSSY_PHASE_DONE ? names[phase] : "working";
}

/* ---- On the thread ---------------------------------------------------------------------------------------------- */

static int32_t tell_progress(void *user, const fussy_progress *progress) {
  const agent *a = user;
  news n = {0, 0, 0};
  n.phase = progress->phase;
  n.done = progress->done;
  if (write(a->told[1], &n, sizeof n) < 0) return 0; /* the loop is behind: it may miss this one */
  return 0;
}

static void *install(void *user) {
  agent *a = user;
  news n = {1, FUSSY_PHASE_DONE, 0};
  struct pollfd room;
  a->outcome = fussy_session_install(a->installer);
  room.fd = a->told[1];
  room.events = POLLOUT;
  while (write(a->told[1], &n, sizeof n) < 0) poll(&room, 1, -1); /* this one it may not miss */
  return NULL;
}

/* ---- Commands --------------------------------------------------------------------------------------------------- */

static void begin_install(agent *a, client *c) {
  sigset_t all, before;
  int error;
  fussy_session_clear_cancel(a->installer);
  if (stopping) fussy_session_cancel(a->installer); /* the signal came in between */
  fussy_session_set_package_fd(a->installer, c->fd);
  a->uploader = c->fd;
  a->last.phase = FUSSY_PHASE_WAITING;
  a->last.done = 0;
  a->last_news = now();
  c->fd = -1;
  sigfillset(&all); /* signals are for the loop */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&a->thread, NULL, install, a);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    answer_last(a, a->uploader, "failed resource_limit no thread can be made; retry later\n");
    a->uploader = -1;
  }
}

static void end_install(agent *a) {
  fussy_report report = FUSSY_REPORT_INIT;
  char text[2048];
  pthread_join(a->thread, NULL);
  fussy_session_report(a->installer, &report);
  if (a->outcome == FUSSY_OK)
    snprintf(text, sizeof text, "ok %s\n", report.version);
  else
    snprintf(text, sizeof text, "failed %s %s\n", fussy_status_name(a->outcome), report.message);
  answer_last(a, a->uploader, text);
  a->uploader = -1;
}

static void show_status(agent *a, int fd) {
  fussy_target target = FUSSY_TARGET_INIT;
  char text[1100];
  if (a->uploader == -1)
    answer(fd, "state idle\n");
  else {
    snprintf(text, sizeof text, "state installing %s %llu\n", phase_name(a->last.phase), (unsigned long long)a->last.done);
    answer(fd, text);
  }
  if (fussy_session_status(a->observer, &target) != FUSSY_OK)
    snprintf(text, sizeof text, "failed %s\n", fussy_session_message(a->observer));
  else
    snprintf(text, sizeof text, "current %s\nversions %u\n", target.current, (unsigned)target.versions);
  answer_last(a, fd, text);
}

static void obey(agent *a, client *c) {
  const int fd = c->fd;
  if (strcmp(c->line, "install") == 0 && a->uploader == -1) {
    begin_install(a, c);
    return;
  }
  c->fd = -1;
  if (strcmp(c->line, "install") == 0) {
    answer_last(a, fd, "failed busy another package is being installed; retry when it has finished\n");
  } else if (strcmp(c->line, "status") == 0) {
    show_status(a, fd);
  } else if (strcmp(c->line, "cancel") == 0) {
    if (a->uploader != -1) fussy_session_cancel(a->installer);
    answer_last(a, fd, "ok\n");
  } else {
    answer_last(a, fd, "failed usage say install, status or cancel\n");
  }
}

/* ---- The loop --------------------------------------------------------------------------------------------------- */

static void throw_away(client *c) {
  char buffer[65536];
  const ssize_t n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (n > 0) c->since = now();
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) hang_up(c);
}

/* The command is read byte by byte: what follows it is the package, and belongs to the thread. */
static void hear(agent *a, client *c) {
  char byte;
  for (;;) {
    const ssize_t n = recv(c->fd, &byte, 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n != 1) {
      hang_up(c);
      return;
    }
    if (byte == '\n' || c->length + 1 == sizeof c->line) {
      c->line[c->length] = '\0';
      obey(a, c);
      return;
    }
    c->line[c->length++] = byte;
  }
}

static void welcome(agent *a, int listening) {
  const int fd = accept(listening, NULL, NULL);
  client *c = find_place(a);
  if (fd < 0) return;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (c == NULL) {
    answer(fd, "failed busy too many clients\n");
    close(fd);
    return;
  }
  c->fd = fd;
  c->answered = 0;
  c->length = 0;
  c->since = now();
}

static void hear_thread(agent *a) {
  news n;
  char text[128];
  while (read(a->told[0], &n, sizeof n) == (ssize_t)sizeof n) {
    if (n.phase < 0 || a->uploader == -1) continue; /* only a wake-up */
    a->last_news = now();
    if (n.finished) {
      end_install(a);
      continue;
    }
    a->last = n;
    snprintf(text, sizeof text, "progress %s %llu\n", phase_name(n.phase), (unsigned long long)n.done);
    answer(a->uploader, text);
  }
}

static void lose_patience(agent *a) {
  const time_t t = now();
  int i;
  for (i = 0; i < MAX_CLIENTS; ++i)
    if (a->clients[i].fd != -1 && t - a->clients[i].since >= COMMAND_SECONDS) hang_up(&a->clients[i]);
  if (a->uploader != -1 && a->last.phase <= FUSSY_PHASE_UNPACKING && t - a->last_news > STALLED_SECONDS)
    fussy_session_cancel(a->installer);
}

static void serve(agent *a, int listening) {
  struct pollfd ends[MAX_CLIENTS + 2];
  int i;
  while (!stopping || a->uploader != -1) {
    ends[0].fd = a->told[0];
    ends[1].fd = stopping ? -1 : listening;
    for (i = 0; i < MAX_CLIENTS; ++i) ends[i + 2].fd = a->clients[i].fd;
    for (i = 0; i < MAX_CLIENTS + 2; ++i) ends[i].events = POLLIN;
    if (poll(ends, MAX_CLIENTS + 2, 1000) < 0) continue; /* a signal */
    for (i = 0; i < MAX_CLIENTS; ++i)
      if (ends[i + 2].revents != 0 && a->clients[i].fd == ends[i + 2].fd) {
        if (a->clients[i].answered)
          throw_away(&a->clients[i]);
        else
          hear(a, &a->clients[i]);
      }
    if (ends[0].revents != 0) hear_thread(a);
    if (ends[1].fd != -1 && ends[1].revents != 0) welcome(a, listening);
    lose_patience(a);
  }
}

/* ---- Set-up ----------------------------------------------------------------------------------------------------- */

static void die(const char *what, const char *why) {
  fprintf(stderr, "agent: %s: %s\n", what, why);
  exit(2);
}

static fussy_session *new_session(const agent *a) {
  fussy_session *s = NULL;
  const int32_t status = fussy_session_new(&s);
  if (status != FUSSY_OK) die("no session", fussy_status_text(status));
  if (fussy_session_set_keyring(s, a->keyring) != FUSSY_OK || fussy_session_set_target(s, a->target) != FUSSY_OK)
    die("cannot set up", fussy_session_message(s));
  return s;
}

static int listen_at(const char *path) {
  struct sockaddr_un address;
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address.sun_path) die(path, "is too long for a socket");
  strcpy(address.sun_path, path);
  umask(077); /* who may connect may install: root, and nobody else */
  unlink(path);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0)
    die(path, strerror(errno));
  umask(022);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static void catch_signals(const agent *a) {
  struct sigaction action;
  running = a->installer;
  wake_up = a->told[1];
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
}

int main(int argc, char **argv) {
  agent a;
  int i, listening;
  if (argc != 4) {
    fprintf(stderr, "usage: %s SOCKET KEYRING TARGET\n", argv[0]);
    return 2;
  }
  memset(&a, 0, sizeof a);
  a.keyring = argv[2];
  a.target = argv[3];
  a.uploader = -1;
  for (i = 0; i < MAX_CLIENTS; ++i) a.clients[i].fd = -1;
  if (pipe(a.told) != 0) die("no pipe", strerror(errno));
  for (i = 0; i < 2; ++i) {
    fcntl(a.told[i], F_SETFD, FD_CLOEXEC);
    fcntl(a.told[i], F_SETFL, O_NONBLOCK);
  }
  a.installer = new_session(&a);
  a.observer = new_session(&a);
  fussy_session_set_progress(a.installer, tell_progress, &a);
  catch_signals(&a);
  /* What a power cut left is put in order before anybody asks. */
  if (fussy_session_recover(a.installer) != FUSSY_OK)
    fprintf(stderr, "agent: %s\n", fussy_session_message(a.installer));
  listening = listen_at(argv[1]);
  serve(&a, listening);
  unlink(argv[1]);
  fussy_session_free(a.installer);
  fussy_session_free(a.observer);
  return 0;
}
