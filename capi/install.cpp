// Operations on packages and targets.
#include <sys/stat.h>
#include <fussy/install.hpp>

#include <cstdio>
#include <cstdlib>

#include "session.hpp"

using namespace fussy;
using namespace fussy::capi;

namespace {

/// A fresh directory, mode 0700, that goes with everything in it.
class private_directory {
public:
  explicit private_directory(const std::filesystem::path& parent) : path_((parent / ".fussy-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr)
      throw system_error("cannot make a directory in", errno, parent.string(),
                         "name a directory that can be written to");
  }
  private_directory(const private_directory&) = delete;
  private_directory& operator=(const private_directory&) = delete;
  ~private_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }

private:
  std::string path_;
};

void keep(fussy_session& session, install::report done) {
  if (!done.signers.empty()) copy_text(session.report.signer, done.signers.front().key.hex());
  describe(session.report, done);
  session.signers = std::move(done.signers);
}

/// Calls `function` with the package as it comes: a path or a reader.
template <class Function>
void take_package(fussy_session& session, const install::options& how, Function&& function) {
  keep(session, from_package(
                    session, how, [&](const std::filesystem::path& file) { return function(file, how); },
                    [&](any_reader stream) { return function(std::move(stream), how); }));
}

install::report verified(const openpgp::verification& proof) {
  install::report done;
  done.signers = proof.signers();
  done.encrypted = proof.encrypted();
  return done;
}

/// Unpacks into a private place in `directory`; what was made gets its name there once it is proven.
template <class Package>
install::report unpack_into(const std::filesystem::path& directory, Package&& package, const install::options& how) {
  private_directory room(directory);
  install::report done = install::unpack(std::forward<Package>(package), room.path(), how);
  const std::filesystem::path from = std::exchange(done.path, directory / done.version);
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, done.path.c_str(), RENAME_NOREPLACE) != 0)
    throw system_error("cannot make", errno, done.path.string(), "name a directory that has nothing of this name");
  return done;
}

/// The proof of a file or stream, with progress.
install::report verify(any_reader package, std::uint64_t size, const install::options& how) {
  struct watched {
    any_reader from;
    progress now;
    const install::options* how;
    std::uint64_t told = 0;
    std::size_t read(byte_span room) {
      if (how->stop.stop_requested())
        throw error(errc::cancelled, {.what = "stopped verifying the package", .why = "the caller asked to stop"});
      const std::size_t n = from.read(room);
      now.done += n;
      if (n == 0 || now.done - told >= std::max<std::uint64_t>(now.total / 100, 1 << 20)) {
        how->progress(now);
        told = now.done;
      }
      return n;
    }
  };
  const auto keys = openpgp::keyring::load(how.keyring, {.log = how.log, .passphrase = how.passphrase});
  return verified(openpgp::verify(watched{std::move(package), {.at = phase::verifying, .done = 0, .total = size}, &how},
                                  keys, how.policy));
}

/// What would become of the package; a stream cannot be looked at without being used up.
[[noreturn]] install::report not_a_stream(const char* function) {
  throw error(errc::unsupported, {.what = std::string(function) + " cannot look into the package",
                                  .why = "it is a stream, which can be read once",
                                  .remedy = "set a file as the package"});
}

/// A dry run, as the real one would be reported.
install::report as_if(install::inspection seen) {
  install::report would;
  would.version = std::move(seen.version);
  would.path = std::move(seen.path);
  would.previous = std::move(seen.current);
  would.signers = std::move(seen.signers);
  would.encrypted = seen.message.encrypted;
  if (const auto& content = seen.content) {
    would.unpacked.bytes = content->bytes;
    would.unpacked.files = content->files;
    would.unpacked.written = content->added.bytes + content->changed.bytes + content->touched.bytes;
    would.unpacked.shared = content->unchanged.files;
  }
  return would;
}

/// Takes the package to the target, or says what that would do.
template <class Function>
int32_t to_target(fussy_session* session, const char* name, Function&& function) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    if (!s.dry_run) return take_package(s, how, function);
    const auto look = [&](const std::filesystem::path& file) { return as_if(install::dry_run(file, how)); };
    keep(s, from_package(s, how, look, [&](any_reader) { return not_a_stream(name); }));
  });
}

}  // namespace

int32_t fussy_install(const char* package, const char* keyring, const char* target, fussy_report* report) {
  fussy_report full = FUSSY_REPORT_INIT;
  fussy_session* session = nullptr;
  const int32_t status = guarded(
      [&] {
        if (package == nullptr) refuse("fussy_install", "there is no package", "pass the path of the file");
        session = new fussy_session;
        session->package = package_path{package};
        if (keyring != nullptr) session->options.keyring = keyring;
        if (target != nullptr) session->options.target = target;
      },
      [&](const problem& p) { describe(full, p); });
  const int32_t outcome = status == FUSSY_OK ? fussy_session_install(session) : status;
  if (status == FUSSY_OK) full = session->report;
  publish(report, full);
  delete session;
  return outcome;
}

int32_t fussy_session_install(fussy_session* session) {
  return to_target(session, "fussy_session_install", [](auto&& package, const install::options& how) {
    return install::install(std::forward<decltype(package)>(package), how);
  });
}

int32_t fussy_session_install_bytes(fussy_session* session) {
  return to_target(session, "fussy_session_install_bytes", [](auto&& package, const install::options& how) {
    return install::install_bytes(std::forward<decltype(package)>(package), how);
  });
}

int32_t fussy_session_unpack(fussy_session* session, const char* directory) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    if (directory == nullptr) refuse("fussy_session_unpack", "there is no directory", "pass one that exists");
    take_package(s, how, [&](auto&& package, const install::options&) {
      return unpack_into(std::filesystem::absolute(directory), std::forward<decltype(package)>(package), how);
    });
  });
}

int32_t fussy_session_verify(fussy_session* session) {
  return operate(session, [](fussy_session& s, const install::options& how) {
    keep(s, from_package(
                s, how,
                [&](const std::filesystem::path& path) {
                  file_reader file(path);
                  struct stat st {};
                  if (::fstat(file.fd(), &st) != 0) throw system_error("cannot look at", errno, path.string());
                  return verify(std::move(file), static_cast<std::uint64_t>(std::max<off_t>(st.st_size, 0)), how);
                },
                [&](any_reader stream) { return verify(std::move(stream), 0, how); }));
  });
}

int32_t fussy_session_enable(fussy_session* session, const char* version) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    if (version == nullptr || *version == '\0')
      refuse("fussy_session_enable", "there is no version", "pass the name of one in the target");
    keep(s, s.dry_run ? as_if(install::dry_run_enable(version, how)) : install::enable(version, how));
  });
}

int32_t fussy_session_recover(fussy_session* session) {
  return operate(session, [](fussy_session& s, const install::options& how) {
    const install::recovery found = install::recover(how);
    s.report.recovered = static_cast<int32_t>(found.what);
    copy_text(s.report.version, found.version);
  });
}

int32_t fussy_session_clean(fussy_session* session, uint32_t keep_last, uint32_t* removed) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    s.removed = s.dry_run ? install::dry_run_clean(how, keep_last).versions : install::clean(how, keep_last);
    if (removed != nullptr) *removed = static_cast<uint32_t>(s.removed.size());
  });
}

const char* fussy_session_removed(const fussy_session* session, uint32_t index) {
  if (session == nullptr || session->busy || index >= session->removed.size()) return nullptr;
  return session->removed[index].c_str();
}

// ---- Looking -----------------------------------------------------------------------------------------------------------

namespace {

// The numbers of the header are those of the C++ library.
template <class Enum>
constexpr bool same(int32_t number, Enum value) noexcept {
  return number == static_cast<int32_t>(value);
}
using kind = archive::entry_info::kind;
static_assert(same(FUSSY_ENTRY_DIRECTORY, kind::directory) && same(FUSSY_ENTRY_FILE, kind::file) &&
              same(FUSSY_ENTRY_SYMBOLIC_LINK, kind::symbolic_link) && same(FUSSY_ENTRY_HARD_LINK, kind::hard_link));
using archive::change;
static_assert(same(FUSSY_CHANGE_ADDED, change::added) && same(FUSSY_CHANGE_CHANGED, change::changed) &&
              same(FUSSY_CHANGE_TOUCHED, change::touched) && same(FUSSY_CHANGE_UNCHANGED, change::unchanged) &&
              same(FUSSY_CHANGE_REMOVED, change::removed));

fussy_entry to_c(const archive::entry_info& from) noexcept {
  fussy_entry to = FUSSY_ENTRY_INIT;
  to.kind = static_cast<int32_t>(from.type);
  if (from.becomes) to.becomes = static_cast<int32_t>(*from.becomes);
  to.mode = from.mode;
  to.bytes = from.size;
  to.mtime = from.mtime;
  to.path = from.path.c_str();
  to.link = from.link.c_str();
  return to;
}

void describe(fussy_inspection& to, const archive::surveyed& from) noexcept {
  to.bytes = from.bytes;
  to.files = from.files;
  to.links = from.links;
  to.directories = from.directories;
  to.added_files = from.added.files, to.added_bytes = from.added.bytes;
  to.changed_files = from.changed.files, to.changed_bytes = from.changed.bytes;
  to.touched_files = from.touched.files, to.touched_bytes = from.touched.bytes;
  to.unchanged_files = from.unchanged.files, to.unchanged_bytes = from.unchanged.bytes;
  to.removed_files = from.removed.files, to.removed_bytes = from.removed.bytes;
  to.needed_bytes = from.needed_bytes;
  to.needed_inodes = from.needed_inodes;
  copy_text(to.compression, from.compression);
}

fussy_inspection to_c(const install::inspection& from) {
  fussy_inspection to = FUSSY_INSPECTION_INIT;
  if (from.hindrance) to.hindrance = status_of(from.hindrance->code()), copy_text(to.message, from.hindrance->what());
  if (from.refused) to.refused = status_of(from.refused->code()), copy_text(to.message, from.refused->what());
  to.interrupted = from.interrupted;
  to.signatures = static_cast<uint32_t>(from.message.signatures.size());
  to.recipients = static_cast<uint32_t>(from.message.recipients.size());
  to.signers = static_cast<uint32_t>(from.signers.size());
  to.encrypted = from.message.encrypted;
  to.passphrase = from.message.passphrase;
  to.armored = from.message.armored;
  to.hooks = (from.pre_install ? FUSSY_HOOK_PRE_INSTALL : 0) | (from.post_install ? FUSSY_HOOK_POST_INSTALL : 0);
  to.package_bytes = from.size;
  if (from.content) describe(to, *from.content);
  to.free_bytes = from.free_bytes;
  to.free_inodes = from.free_inodes;
  copy_text(to.version, from.version);
  copy_text(to.current, from.current);
  copy_text(to.path, from.path.native());
  copy_text(to.cipher, from.message.cipher);
  copy_text(to.protection, from.message.protection);
  return to;
}

}  // namespace

int32_t fussy_session_inspect(fussy_session* session, fussy_entry_callback entry, void* user,
                              fussy_inspection* inspection) {
  return operate(session, [&](fussy_session& s, install::options how) {
    std::error_code ignored;
    if (!std::filesystem::exists(how.target, ignored)) how.target.clear();  // as on a vendor's machine
    const install::archive_entry_sink tell = [&](const archive::entry_info& found) {
      if (entry == nullptr || s.cancelled) return;
      const fussy_entry news = to_c(found);
      if (call_host(s, [&] { return entry(user, &news); }) != 0) s.cancel();
    };
    fussy_inspection full;
    const auto look = [&](const std::filesystem::path& file) {
      install::inspection seen = install::inspect(file, how, tell);
      if (s.cancelled || how.stop.stop_requested())
        throw stopped();  // among the last entries, when nothing was read any more
      full = to_c(seen);
      s.seen = seen.message;
      return as_if(std::move(seen));
    };
    keep(s, from_package(s, how, look, [](any_reader) { return not_a_stream("fussy_session_inspect"); }));
    publish(inspection, full);
  });
}

int32_t fussy_session_status(fussy_session* session, fussy_target* target) {
  return operate(session, [&](fussy_session& s, const install::options& how) {
    if (target == nullptr) refuse("fussy_session_status", "there is nowhere to put it", "pass a fussy_target");
    s.versions.clear();
    install::status_report seen = install::status(how.target);
    fussy_target full = FUSSY_TARGET_INIT;
    full.versions = static_cast<uint32_t>(seen.versions.size());
    full.busy = seen.busy.has_value();
    full.interrupted = seen.in_flight.has_value() || seen.journal_damaged;
    full.pid = seen.busy.value_or(0);
    full.staging_bytes = seen.staging;
    full.hidden = seen.private_hidden;
    copy_text(full.path, seen.target.native());
    copy_text(full.current, seen.current);
    copy_text(full.previous, seen.previous);
    copy_text(full.failsafe, seen.failsafe);
    if (seen.in_flight) copy_text(full.in_flight, seen.in_flight->version);
    copy_text(s.report.path, seen.target.native());
    s.versions = std::move(seen.versions);
    publish(target, full);
  });
}

// ---- Results in lists -------------------------------------------------------------------------------------------------

namespace {

/// @param list  of a session: member or function
template <class List, class Struct, class Fill>
int32_t entry(const fussy_session* session, List list, uint32_t index, Struct* to, Fill&& fill) noexcept {
  if (session == nullptr || to == nullptr || session->busy) return FUSSY_USAGE;
  if (index >= std::invoke(list, *session).size()) return FUSSY_NOT_FOUND;
  return guarded(
      [&] {
        Struct full;
        std::memset(&full, 0, sizeof full);
        fill(full, std::invoke(list, *session)[index]);
        publish(to, full);
      },
      [](const problem&) {});
}

}  // namespace

int32_t fussy_session_signer(const fussy_session* session, uint32_t index, fussy_signer* signer) {
  return entry(session, &fussy_session::signers, index, signer, [](fussy_signer& to, const openpgp::signer& from) {
    to.created = from.created.time_since_epoch().count();
    copy_text(to.key, from.key.hex());
    copy_text(to.primary, from.primary.hex());
    copy_text(to.user_id, from.user_id);
    copy_text(to.algorithm, from.algorithm);
  });
}

int32_t fussy_session_signature(const fussy_session* session, uint32_t index, fussy_signature* signature) {
  return entry(
      session, [](const fussy_session& s) -> auto& { return s.seen.signatures; }, index, signature,
      [](fussy_signature& to, const openpgp::signature_info& from) {
        to.verdict = from.verdict ? status_of(*from.verdict) : -1;
        if (from.created) to.created = from.created->time_since_epoch().count();
        copy_text(to.key, from.key);
        copy_text(to.user_id, from.user_id);
        copy_text(to.algorithm, from.algorithm);
        copy_text(to.why, from.why);
      });
}

int32_t fussy_session_recipient(const fussy_session* session, uint32_t index, fussy_recipient* recipient) {
  return entry(
      session, [](const fussy_session& s) -> auto& { return s.seen.recipients; }, index, recipient,
      [](fussy_recipient& to, const openpgp::message_info::recipient& from) {
        to.ours = from.ours;
        copy_text(to.key, from.key);
        copy_text(to.algorithm, from.algorithm);
      });
}

int32_t fussy_session_version(const fussy_session* session, uint32_t index, fussy_version_info* version) {
  return entry(session, &fussy_session::versions, index, version,
               [](fussy_version_info& to, const install::version_status& from) {
                 to.flags = (from.current ? FUSSY_VERSION_CURRENT : 0) | (from.previous ? FUSSY_VERSION_PREVIOUS : 0) |
                            (from.failsafe ? FUSSY_VERSION_FAILSAFE : 0) | (from.failed ? FUSSY_VERSION_FAILED : 0);
                 to.own_bytes = from.own;
                 to.shared_bytes = from.shared;
                 to.files = from.files;
                 to.installed = from.installed.time_since_epoch().count();
                 copy_text(to.name, from.name);
               });
}

int32_t fussy_session_key(const fussy_session* session, uint32_t index, fussy_key* key) {
  return entry(session, &fussy_session::keys, index, key, [](fussy_key& to, const fussy_key& from) { to = from; });
}
