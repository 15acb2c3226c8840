// Sessions: their life, their settings, and the frame in which their operations run.
#include "session.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <fussy/deadline.hpp>

#include <csignal>
#include <limits>
#include <stop_token>
#include <thread>

using namespace fussy;
using namespace fussy::capi;

// ---- Life -------------------------------------------------------------------------------------------------------------

fussy_session::fussy_session() : wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake) throw system_error("cannot make a session", errno);
}

void fussy_session::cancel() noexcept {
  const int saved = errno;  // a signal handler must not change it
  cancelled.store(true);
  const std::uint64_t one = 1;
  (void)!::write(wake.get(), &one, sizeof one);
  errno = saved;
}

int32_t fussy_session_new(fussy_session** session) {
  if (session == nullptr) return FUSSY_USAGE;
  return guarded([&] { *session = new fussy_session; }, [](const problem&) {});
}

void fussy_session_free(fussy_session* session) { delete session; }

const char* fussy_session_message(const fussy_session* session) {
  return session == nullptr ? "there is no session; make one with fussy_session_new()" : session->message;
}

int32_t fussy_session_report(const fussy_session* session, fussy_report* report) {
  if (session == nullptr || report == nullptr || session->busy) return FUSSY_USAGE;
  fussy_report copy = session->report;
  publish(report, copy);
  return FUSSY_OK;
}

int32_t fussy_session_cancel(fussy_session* session) {
  if (session == nullptr) return FUSSY_USAGE;
  session->cancel();
  return FUSSY_OK;
}

int32_t fussy_session_clear_cancel(fussy_session* session) {
  return call(session, [](fussy_session& s) {
    s.cancelled = false;
    std::uint64_t count = 0;
    (void)!::read(s.wake.get(), &count, sizeof count);
  });
}

// ---- Settings ---------------------------------------------------------------------------------------------------------

namespace {

bool yes_or_no(const char* function, int32_t value) {
  if (value != 0 && value != 1) refuse(function, "the value is neither 0 nor 1", "pass 0 for no, 1 for yes");
  return value == 1;
}

const char* named_path(const char* function, const char* path, const char* by_default) {
  if (path != nullptr && *path == '\0') refuse(function, "the path is empty", "pass a path, or NULL for the default");
  return path != nullptr ? path : by_default;
}

void add_or_forget(std::vector<std::string>& list, const char* function, const char* text) {
  if (text == nullptr) return list.clear();
  if (*text == '\0') refuse(function, "the text is empty", "pass a text, or NULL to forget all");
  list.emplace_back(text);
}

}  // namespace

int32_t fussy_session_set_keyring(fussy_session* session, const char* path) {
  return call(session, [&](fussy_session& s) {
    s.options.keyring = named_path("fussy_session_set_keyring", path, FUSSY_DEFAULT_KEYRING);
  });
}

int32_t fussy_session_set_target(fussy_session* session, const char* path) {
  return call(session, [&](fussy_session& s) {
    s.options.target = named_path("fussy_session_set_target", path, FUSSY_DEFAULT_TARGET);
  });
}

int32_t fussy_session_set_lock_wait(fussy_session* session, uint64_t count) {
  return call(session, [&](fussy_session& s) { s.options.lock_wait = milliseconds(count); });
}

int32_t fussy_session_set_hook_timeout(fussy_session* session, uint64_t count) {
  return call(session, [&](fussy_session& s) { s.options.hook_timeout = milliseconds(count); });
}

int32_t fussy_session_set_min_signers(fussy_session* session, uint32_t count) {
  return call(session, [&](fussy_session& s) {
    if (count == 0)
      refuse("fussy_session_set_min_signers", "nothing is ever installed without a valid signature",
             "ask for at least 1");
    s.options.policy.min_signers = count;
  });
}

int32_t fussy_session_allow_signer(fussy_session* session, const char* text) {
  return call(session, [&](fussy_session& s) {
    if (text == nullptr) return s.options.policy.allowed.clear();
    auto key = openpgp::fingerprint::parse(text);
    if (!key) refuse("fussy_session_allow_signer", "this is no fingerprint", "pass 40 or 64 hexadecimal digits");
    s.options.policy.allowed.push_back(std::move(*key));
  });
}

int32_t fussy_session_set_min_rsa_bits(fussy_session* session, uint32_t bits) {
  return call(session, [&](fussy_session& s) {
    if (bits < 1024 || bits > 16384)
      refuse("fussy_session_set_min_rsa_bits", "this is no sensible size of a key", "pass 1024 to 16384 bits");
    s.options.policy.min_rsa_bits = bits;
  });
}

int32_t fussy_session_allow_hash(fussy_session* session, const char* name) {
  return call(session,
              [&](fussy_session& s) { add_or_forget(s.options.policy.hashes, "fussy_session_allow_hash", name); });
}

int32_t fussy_session_set_sha1_self_signatures(fussy_session* session, int32_t yes) {
  return call(session, [&](fussy_session& s) {
    s.options.policy.sha1_self_signatures = yes_or_no("fussy_session_set_sha1_self_signatures", yes);
  });
}

int32_t fussy_session_set_ignore_expiry(fussy_session* session, int32_t yes) {
  return call(session, [&](fussy_session& s) {
    s.options.policy.ignore_expiry = yes_or_no("fussy_session_set_ignore_expiry", yes);
  });
}

int32_t fussy_session_set_dry_run(fussy_session* session, int32_t yes) {
  return call(session, [&](fussy_session& s) { s.dry_run = yes_or_no("fussy_session_set_dry_run", yes); });
}

int32_t fussy_session_set_decrypt(fussy_session* session, int32_t yes) {
  return call(session,
              [&](fussy_session& s) { s.options.policy.decrypt = yes_or_no("fussy_session_set_decrypt", yes); });
}

int32_t fussy_session_set_time(fussy_session* session, int64_t seconds) {
  return call(session, [&](fussy_session& s) {
    if (seconds == FUSSY_TIME_CLOCK) return s.options.policy.now.reset();
    if (seconds < 0 || seconds > UINT32_MAX)  // what OpenPGP's times can say
      refuse("fussy_session_set_time", "this is no time of a signature", "pass seconds since 1970");
    s.options.policy.now = openpgp::time_point(std::chrono::seconds(seconds));
  });
}

int32_t fussy_session_set_unpack(fussy_session* session, int32_t when) {
  return call(session, [&](fussy_session& s) {
    using enum openpgp::policy::unpack_when;
    auto& unpack = s.options.policy.unpack;
    switch (when) {
      case FUSSY_UNPACK_AFTER_PROOF:
        unpack = after_proof;
        break;
      case FUSSY_UNPACK_STREAMS_EARLY:
        unpack = streams_early;
        break;
      case FUSSY_UNPACK_EARLY:
        unpack = early;
        break;
      default:
        refuse("fussy_session_set_unpack", "there is no such number", "pass one of FUSSY_UNPACK_...");
    }
  });
}

int32_t fussy_session_set_max_entries(fussy_session* session, uint64_t count) {
  return call(session, [&](fussy_session& s) { s.options.limits.max_entries = count; });
}

int32_t fussy_session_set_max_bytes(fussy_session* session, uint64_t bytes) {
  return call(session, [&](fussy_session& s) { s.options.limits.max_bytes = bytes; });
}

int32_t fussy_session_set_max_ratio(fussy_session* session, uint64_t ratio) {
  return call(session, [&](fussy_session& s) { s.options.limits.max_ratio = ratio; });
}

int32_t fussy_session_set_max_path(fussy_session* session, uint32_t bytes, uint32_t depth) {
  return call(session, [&](fussy_session& s) {
    if (bytes < 1 || bytes > 4095 || depth < 1)
      refuse("fussy_session_set_max_path", "no path can be like this", "pass 1 to 4095 bytes and at least 1 directory");
    s.options.limits.max_path = bytes;
    s.options.limits.max_depth = depth;
  });
}

int32_t fussy_session_set_log(fussy_session* session, fussy_log_callback log, void* user) {
  return call(session, [&](fussy_session& s) { s.log = {log, user}; });
}

int32_t fussy_session_set_progress(fussy_session* session, fussy_progress_callback progress, void* user) {
  return call(session, [&](fussy_session& s) { s.progress = {progress, user}; });
}

int32_t fussy_session_set_passphrase(fussy_session* session, fussy_passphrase_callback passphrase, void* user) {
  return call(session, [&](fussy_session& s) { s.passphrase = {passphrase, user}; });
}

int32_t fussy_session_set_package_path(fussy_session* session, const char* path) {
  return call(session, [&](fussy_session& s) {
    if (path == nullptr || *path == '\0')
      refuse("fussy_session_set_package_path", "there is no path", "pass the path of a package");
    s.package = package_path{path};
  });
}

int32_t fussy_session_set_package_fd(fussy_session* session, int32_t fd) {
  return call(session, [&](fussy_session& s) {
    if (fd < 0) refuse("fussy_session_set_package_fd", "a descriptor is not negative", "pass one that is open");
    s.package = package_descriptor{fd};
  });
}

int32_t fussy_session_set_package_callback(fussy_session* session, fussy_read_callback read, void* user) {
  return call(session, [&](fussy_session& s) {
    if (read == nullptr) refuse("fussy_session_set_package_callback", "there is no callback", "pass one");
    s.package = package_callback{read, user};
  });
}

int32_t fussy_session_add_signing_key(fussy_session* session, const char* key) {
  return call(session,
              [&](fussy_session& s) { add_or_forget(s.packing.signers, "fussy_session_add_signing_key", key); });
}

int32_t fussy_session_add_recipient(fussy_session* session, const char* key) {
  return call(session,
              [&](fussy_session& s) { add_or_forget(s.packing.recipients, "fussy_session_add_recipient", key); });
}

int32_t fussy_session_add_exclude(fussy_session* session, const char* pattern) {
  return call(session,
              [&](fussy_session& s) { add_or_forget(s.packing.exclude, "fussy_session_add_exclude", pattern); });
}

int32_t fussy_session_set_package_name(fussy_session* session, const char* name) {
  return call(session, [&](fussy_session& s) {
    if (name && (*name == '\0' || std::string_view(name).find('/') != std::string_view::npos))
      refuse("fussy_session_set_package_name", "a file cannot have this name", "pass one without a slash");
    s.packing.name = name ? name : "";
  });
}

int32_t fussy_session_set_compression(fussy_session* session, int32_t compression, int32_t level) {
  return call(session, [&](fussy_session& s) {
    if (compression < FUSSY_COMPRESSION_GZIP || compression > FUSSY_COMPRESSION_ZSTD)
      refuse("fussy_session_set_compression", "there is no such number", "pass one of FUSSY_COMPRESSION_...");
    const int32_t highest = compression == FUSSY_COMPRESSION_ZSTD ? 22 : 9;
    if (level < 0 || level > highest)
      refuse("fussy_session_set_compression", "there is no such level",
             "pass 0, or 1 to 9, or up to 22 for FUSSY_COMPRESSION_ZSTD");
    s.packing.compression = compression;
    s.packing.level = level;
  });
}

int32_t fussy_session_set_armor(fussy_session* session, int32_t yes) {
  return call(session, [&](fussy_session& s) { s.packing.armor = yes_or_no("fussy_session_set_armor", yes); });
}

// ---- The frame of operations ------------------------------------------------------------------------------------------

namespace fussy::capi {

namespace {

/// Blocks all signals in this thread, and so in those it makes, until it ends: a handler of the host must not run on a
/// thread the host knows nothing of.
class no_signals {
public:
  no_signals() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  no_signals(const no_signals&) = delete;
  no_signals& operator=(const no_signals&) = delete;
  ~no_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
  sigset_t before_;
};

/// Ends an operation early: turns the session's eventfd, which a signal handler may write to, and the deadline of the
/// thread into a stop request.
class watcher {
public:
  explicit watcher(fussy_session& session)
      : session_(session), quit_(make_event()), stopped_(make_event()), until_(current_deadline()) {
    session.late = false;
    session.stop = stopped_.get();
    if (session.cancelled) stop();
    const no_signals quiet;
    thread_ = std::thread([this] { watch(); });
    session.ends = &stop_;
  }
  watcher(const watcher&) = delete;
  watcher& operator=(const watcher&) = delete;
  ~watcher() {
    set(quit_);
    thread_.join();
    session_.stop = -1;
    session_.ends = nullptr;
  }
  std::stop_token token() const { return stop_.get_token(); }

private:
  static unique_fd make_event() {
    unique_fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) throw system_error("cannot watch for a cancellation", errno);
    return fd;
  }
  static void set(const unique_fd& event) noexcept {
    const std::uint64_t one = 1;
    (void)!::write(event.get(), &one, sizeof one);
  }
  void stop() noexcept {
    stop_.request_stop();
    set(stopped_);
  }
  void watch() noexcept {
    pollfd ends[2] = {{session_.wake.get(), POLLIN, 0}, {quit_.get(), POLLIN, 0}};
    for (;;) {
      const int wait = until_ == no_deadline ? -1 : static_cast<int>(time_left(until_).count());
      const int n = ::poll(ends, 2, wait);
      if (n > 0) break;
      if (n == 0 && deadline_clock::now() >= until_) {
        session_.late = true;
        return stop();
      }
    }
    if (ends[0].revents != 0) stop();
  }

  fussy_session& session_;
  unique_fd quit_, stopped_;
  deadline_clock::time_point until_;
  std::stop_source stop_;
  std::thread thread_;  // last: it uses all of the above
};

/// What install reports, without steps back: the recovery at the start may run hooks and restore, which is all
/// "recovering" to a host that wants a bar; and waiting for the lock comes after a file was verified.
class forward_only {
public:
  std::optional<progress> pass(progress now) {
    if (now.at == phase::recovering) recovering_ = true;
    if (recovering_) {
      if (now.at == phase::post_install || now.at == phase::restoring)
        now = {.at = phase::recovering};
      else if (now.at > phase::recovering)
        recovering_ = false;
    }
    if (now.at < last_.at || (now.at == last_.at && now.done < last_.done)) return std::nullopt;
    last_ = now;
    return now;
  }

private:
  progress last_;
  bool recovering_ = false;
};

log_sink log_to(fussy_session& session) {
  if (session.log.call == nullptr) return {};
  return [&session](log_level level, std::string_view line) {
    const std::string text(line);
    call_host(session, [&] { session.log.call(session.log.user, static_cast<int32_t>(level), text.c_str()); });
  };
}

static_assert(FUSSY_PHASE_WAITING == static_cast<int>(phase::waiting) &&
              FUSSY_PHASE_RECOVERING == static_cast<int>(phase::recovering) &&
              FUSSY_PHASE_VERIFYING == static_cast<int>(phase::verifying) &&
              FUSSY_PHASE_UNPACKING == static_cast<int>(phase::unpacking) &&
              FUSSY_PHASE_SYNCING == static_cast<int>(phase::syncing) &&
              FUSSY_PHASE_PUBLISHING == static_cast<int>(phase::publishing) &&
              FUSSY_PHASE_PRE_INSTALL == static_cast<int>(phase::pre_install) &&
              FUSSY_PHASE_SWITCHING == static_cast<int>(phase::switching) &&
              FUSSY_PHASE_POST_INSTALL == static_cast<int>(phase::post_install) &&
              FUSSY_PHASE_RESTORING == static_cast<int>(phase::restoring) &&
              FUSSY_PHASE_DONE == static_cast<int>(phase::done) &&
              FUSSY_PHASE_PACKING == static_cast<int>(phase::packing));

progress_sink progress_to(fussy_session& session) {
  return [&session, steps = forward_only()](const progress& now) mutable {
    const auto step = steps.pass(now);
    if (!step) return;
    session.report.phase = static_cast<int32_t>(step->at);
    if (session.progress.call == nullptr) return;
    const fussy_progress news = {sizeof(fussy_progress), session.report.phase, step->done, step->total};
    call_host(session, [&] {
      if (session.progress.call(session.progress.user, &news) != 0) session.cancel();
    });
  };
}

openpgp::passphrase_callback passphrase_of(fussy_session& session) {
  if (session.passphrase.call == nullptr) return {};
  return [&session](const openpgp::fingerprint& key) -> std::optional<std::string> {
    char buffer[1024];
    const std::string name = key.hex();
    const auto ask = [&] {
      return session.passphrase.call(session.passphrase.user, name.c_str(), buffer, sizeof buffer);
    };
    const int64_t size = call_host(session, ask);
    std::optional<std::string> secret;
    if (size >= 0 && size <= static_cast<int64_t>(sizeof buffer))
      secret.emplace(buffer, static_cast<std::size_t>(size));
    ::explicit_bzero(buffer, sizeof buffer);
    return secret;
  };
}

void begin(fussy_session& session) {
  session.message[0] = '\0';
  session.report = FUSSY_REPORT_INIT;
  session.signers.clear();
  session.removed.clear();
  session.seen = {};
}

/// What ended because of the thread's deadline was not cancelled by anybody.
void explain_lateness(fussy_session& session) {
  static constexpr char text[] =
      "stopped: the time limit of this thread is over; give more time, or find out what hangs";
  fussy_report& report = session.report;
  if (!session.late || report.cause != FUSSY_CANCELLED) return;
  report.cause = FUSSY_TIMEOUT;
  if (report.status != FUSSY_CANCELLED) return;  // nothing could be restored, and it says so
  report.status = FUSSY_TIMEOUT;
  if (report.previous[0] == '\0') copy_text(report.message, text);  // else it says what is live again
}

}  // namespace

error stopped() { return error(errc::cancelled, {.what = "stopped", .why = "the caller asked to stop"}); }

int32_t operate(fussy_session* session, operation run, void* body) noexcept {
  if (session == nullptr || session->busy.exchange(true)) return FUSSY_USAGE;
  fussy_session& s = *session;
  begin(s);
  const int32_t status = guarded(
      [&] {
        if (s.cancelled) throw stopped();
        const watcher watching(s);
        const deadline_pause
            watched_there;  // so that a hook does not end by itself, now and then, before it is told to
        install::options how = s.options;
        how.log = log_to(s);
        how.progress = progress_to(s);
        how.passphrase = passphrase_of(s);
        how.stop = watching.token();
        run(body, s, how);
      },
      [&](const problem& p) {
        describe(s.report, p);
        explain_lateness(s);
        copy_text(s.message, s.report.message);
      });
  s.busy = false;
  return status == FUSSY_OK ? FUSSY_OK : s.report.status;
}

void describe(fussy_report& to, const install::report& from) noexcept {
  to.recovered = static_cast<int32_t>(from.recovered.what);
  to.signers = static_cast<uint32_t>(from.signers.size());
  to.encrypted = from.encrypted;
  to.bytes_unpacked = from.unpacked.bytes;
  to.bytes_written = from.unpacked.written;
  to.files = from.unpacked.files;
  to.files_shared = from.unpacked.shared;
  copy_text(to.version, from.version);
  copy_text(to.previous, from.previous);
  copy_text(to.path, from.path.native());
}

// ---- The package ------------------------------------------------------------------------------------------------------

namespace {

/// Reads a descriptor of the host, blocking or not, until it ends or the session is cancelled.
class descriptor_reader {
public:
  descriptor_reader(int fd, fussy_session& session) noexcept : fd_(fd), session_(&session) {}

  std::size_t read(byte_span room) {
    for (;;) {
      pollfd ends[2] = {{fd_, POLLIN, 0}, {session_->stop, POLLIN, 0}};
      if (::poll(ends, 2, -1) < 0 && errno != EINTR) throw system_error("cannot wait for the package", errno);
      if (ends[1].revents != 0) throw stopped();
      if (ends[0].revents == 0) continue;
      const ssize_t n = ::read(fd_, room.data(), room.size());
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EAGAIN && errno != EINTR)
        throw system_error("cannot read the package from descriptor " + std::to_string(fd_), errno);
    }
  }

private:
  int fd_;
  fussy_session* session_;
};

class callback_reader {
public:
  callback_reader(package_callback from, fussy_session& session) noexcept : from_(from), session_(&session) {}

  std::size_t read(byte_span room) {
    if (ended_) return 0;
    if (session_->cancelled) throw stopped();
    const auto ask = [&] { return from_.read(from_.user, room.data(), room.size()); };
    const int64_t n = call_host(*session_, ask);
    if (session_->cancelled) throw stopped();  // also when it threw
    if (n < 0) throw system_error("cannot read the package", static_cast<int>(-std::max<int64_t>(n, -4095)));
    if (static_cast<uint64_t>(n) > room.size())
      throw error(errc::usage, {.what = "cannot read the package",
                                .why = "the callback says that it wrote more than there was room for",
                                .remedy = "correct the program: its memory may be damaged"});
    ended_ = n == 0;
    return static_cast<std::size_t>(n);
  }

private:
  package_callback from_;
  fussy_session* session_;
  bool ended_ = false;
};

/// A name by which a regular file that is open can be opened once more, with a position of its own; empty for what is
/// no file.
std::filesystem::path name_of_file(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) throw system_error("cannot use descriptor " + std::to_string(fd) + " as package", errno);
  if (!S_ISREG(st.st_mode)) return {};
  std::string name = "/proc/self/fd/" + std::to_string(fd);
  if (::access(name.c_str(), R_OK) == 0) return name;
  if (::lseek(fd, 0, SEEK_SET) != 0) throw system_error("cannot rewind the package", errno);
  return {};
}

}  // namespace

install::report from_package(fussy_session& session, const install::options&,
                             const std::function<install::report(const std::filesystem::path&)>& use_file,
                             const std::function<install::report(any_reader)>& use_stream) {
  if (const auto* file = std::get_if<package_path>(&session.package)) return use_file(file->path);
  const package_source once = std::exchange(session.package, no_package{});
  if (const auto* descriptor = std::get_if<package_descriptor>(&once)) {
    if (const auto name = name_of_file(descriptor->fd); !name.empty()) return use_file(name);
    return use_stream(descriptor_reader(descriptor->fd, session));
  }
  if (const auto* callback = std::get_if<package_callback>(&once))
    return use_stream(callback_reader(*callback, session));
  throw error(errc::usage, {.what = "the session has no package",
                            .why = "none was set, or what can be read once was read before",
                            .remedy = "call one of fussy_session_set_package_... first"});
}

}  // namespace fussy::capi
