/// @file session.hpp  What a fussy_session is.
/// Threads: one at a time, but for cancel(), which is lock-free.
#pragma once

#include <fussy/install.hpp>
#include <fussy/openpgp.hpp>

#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "guard.hpp"

namespace fussy::capi {

/// Where the package comes from. What can be read once is taken by the operation that reads it.
struct no_package {};
struct package_path {
  std::filesystem::path path;
};
struct package_descriptor {
  int fd;
};
struct package_callback {
  fussy_read_callback read;
  void* user;
};
using package_source = std::variant<no_package, package_path, package_descriptor, package_callback>;

template <class Function>
struct host_callback {
  Function call = nullptr;
  void* user = nullptr;
};

/// How a package is made; see pack.hpp.
struct packing {
  std::vector<std::string> signers, recipients, exclude;
  std::string name;
  int32_t compression = FUSSY_COMPRESSION_GZIP;
  int32_t level = 0;
  bool armor = false;
};

}  // namespace fussy::capi

struct fussy_session {
  fussy_session();

  // ---- Settings
  fussy::install::options options;
  fussy::capi::packing packing;
  fussy::capi::package_source package;
  fussy::capi::host_callback<fussy_log_callback> log;
  fussy::capi::host_callback<fussy_progress_callback> progress;
  fussy::capi::host_callback<fussy_passphrase_callback> passphrase;
  bool dry_run = false;

  // ---- Of the last operation
  fussy_report report = FUSSY_REPORT_INIT;
  char message[sizeof report.message] = "";  // of the last call, also when that was a setter
  std::vector<fussy::openpgp::signer> signers;
  std::vector<std::string> removed;
  std::vector<fussy::install::version_status> versions;
  std::vector<fussy_key> keys;
  fussy::openpgp::message_info seen;  // of the last inspection

  // ---- Cancelling, from anywhere
  std::atomic<bool> busy = false;
  std::atomic<bool> cancelled = false;
  fussy::unique_fd wake;             // eventfd, readable from cancel to clear_cancel
  std::atomic<bool> late = false;    // the deadline of the thread is over
  int stop = -1;                     // descriptor that is readable once the operation that runs is to end
  std::stop_source* ends = nullptr;  // ends the operation that runs; what a callback cancels, before that goes on

  void cancel() noexcept;
};

namespace fussy::capi {

/// Runs a setter or look-up: its failure changes nothing but the message.
template <class Body>
int32_t call(const fussy_session* session, Body&& body) noexcept {
  if (session == nullptr) return FUSSY_USAGE;
  auto* s = const_cast<fussy_session*>(session);   // the message is no setting
  if (s->busy.exchange(true)) return FUSSY_USAGE;  // from a callback, or from another thread
  s->message[0] = '\0';
  const int32_t status =
      guarded([&] { std::forward<Body>(body)(*s); }, [&](const problem& p) { copy_text(s->message, p.message); });
  s->busy = false;
  return status;
}

/// A body of an operation, without the allocation that a std::function may need.
using operation = void (*)(void* body, fussy_session&, const install::options&);
int32_t operate(fussy_session* session, operation run, void* body) noexcept;

/// Runs an operation, with the options it needs: those of the session with its callbacks and its cancelling in place.
/// Afterwards the report says what became of it.
template <class Body>
int32_t operate(fussy_session* session, Body&& body) noexcept {
  using type = std::remove_reference_t<Body>;
  return operate(
      session, [](void* b, fussy_session& s, const install::options& how) { (*static_cast<type*>(b))(s, how); }, &body);
}

/// Calls `use` with the path of the package or with a reader on it. @throws usage  there is none
install::report from_package(fussy_session& session, const install::options& how,
                             const std::function<install::report(const std::filesystem::path&)>& use_file,
                             const std::function<install::report(any_reader)>& use_stream);

void describe(fussy_report& to, const install::report& from) noexcept;

error stopped();  ///< what a cancelled operation throws

/// Callbacks of a C++ host may throw, though they must not. In the middle of going back that would be fatal.
template <class Call>
auto call_host(fussy_session& session, Call&& call) noexcept -> decltype(call()) {
  struct obeying {
    fussy_session& session;
    ~obeying() {
      if (session.cancelled && session.ends != nullptr) session.ends->request_stop();
    }
  } const when_it_returns{session};
  try {
    return call();
  } catch (...) {
    session.cancel();
    return decltype(call())();
  }
}

}  // namespace fussy::capi
