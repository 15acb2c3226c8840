/// @file enable.hpp  Making a version live, and the way back when it fails: previous, then failsafe.
///
///     forward:  .pre-install V False | current -> V | .post-install V False
///     back:     .pre-install P True  | current -> P | .post-install P True     for P = previous, then failsafe
///
/// Every arrow is announced in the journal before it is taken (invariant 3), and all that the way back needs is on disk
/// before the way forward begins.
/// Threads: one object, one thread.   Errors: fussy::error.
#pragma once

#include <fussy/deadline.hpp>
#include <fussy/install/target.hpp>
#include <fussy/progress.hpp>

#include <functional>
#include <stop_token>

namespace fussy::install {

inline const std::string pre_install = ".pre-install";
inline const std::string post_install = ".post-install";

/// One run of a hook script: `VERSION_PATH/HOOK VERSION_PATH False|True`.
struct hook_call {
  std::string hook{};          ///< ".pre-install" or ".post-install"
  std::string version_path{};  ///< absolute path of the version it belongs to: its first argument
  bool recovery = false;       ///< the version is enabled again after a failure: its second argument is True
  std::string target{};        ///< absolute path of the target
  std::string version{};       ///< name of the version
  std::string previous{};      ///< name of the version that was live before; may be empty
};

/// Runs a hook to its end. @throws fussy::error when it failed in any way.
using hook_runner = std::function<void(const hook_call&, std::stop_token)>;

/// What a transaction is given by its host. Everything may be left empty; without a hook_runner no hook is run.
struct transaction_options {
  hook_runner hooks{};
  log_sink log{};
  progress_sink progress{};
  std::stop_token
      stop{};  ///< obeyed between steps and by hooks, until .post-install is through; never while going back
};

template <store Store>
class enabler {
public:
  enabler(basic_target<Store>& target, const transaction_options& options) : target_(target), options_(options) {}

  /// The way forward. `record` follows the journal. @throws what failed; the caller then goes back().
  void forward(journal_record& record) {
    stop_if_asked();
    prepare_ways(record);
    record.at = step::staged;
    if (target_.has_hook(record.version, pre_install)) {
      record.hooks = true;
      target_.write_journal(record);
      run(pre_install, record.version, false, record);
    }
    stop_if_asked();
    report(phase::switching);
    record.at = step::switching;
    target_.write_journal(record);
    target_.point_current_at(record.version, next_link);
    target_.say(log_level::info, "current is " + record.version);
    finish(record);
  }

  /// The part of the way forward behind the switch.
  void finish(journal_record& record) {
    record.at = step::switched;
    if (!target_.has_hook(record.version, post_install)) return;
    target_.write_journal(record);
    run(post_install, record.version, false, record);
  }

  /// Whether something of `record.version` has run, or it is live: then only back() helps, else undo().
  bool has_begun(const journal_record& record) {
    return record.hooks || record.at == step::switched || record.at == step::restoring ||
           (target_.current() == record.version && record.previous != record.version);
  }

  /// Makes it as if the version had never been.
  void undo(const journal_record& record) {
    if (record.published) target_.discard({record.version});
    target_.clear_journal();
  }

  /// The way back. @return the version that is live again, durably; nothing where none could be enabled. The journal is
  /// clear on return.
  /// @param failed  nobody cancelled it: a version that was live and stays is noted as failed
  std::optional<std::string> back(journal_record& record, bool failed = true) {
    const deadline_pause to_its_end;  // what is live again must not be given up because the caller's time is over
    report(phase::restoring);
    const std::vector<std::string> ladder = candidates(record);
    for (const std::string& candidate : ladder) {
      if (candidate == failsafe_name && record.restoring != failsafe_name) record.attempt = 0;
      if (record.at != step::restoring) start_restoring(record, failed);
      record.restoring = candidate;
      if (!enable_again(record)) continue;
      discard_failed(record);
      for (int tries = 0; tries < 2; ++tries)
        if (target_.warn_on_failure("cannot clear the journal", [&] { target_.clear_journal(); })) break;
      target_.say(log_level::info, "restored " + candidate);
      return candidate;
    }
    if (ladder.empty()) start_restoring(record, failed);
    discard_failed(record);
    target_.clear_journal();
    return std::nullopt;
  }

  /// The error a caller gets once back() is through.
  error outcome(const journal_record& record, const error& cause, const std::optional<std::string>& restored) const {
    failure_parts parts = cause.parts();
    parts.cause = cause.cause();
    parts.what = "cannot enable " + target_.path_of(record.version);
    parts.why = cause.what();
    parts.version = record.version;
    parts.live = restored.value_or("");
    if (restored && cause.cause() == errc::cancelled) {
      parts.why = "the caller asked to stop";
      parts.remedy = *restored + " is live again; install it again when it suits";
      return error(errc::cancelled, std::move(parts));
    }
    if (restored) {
      parts.remedy = *restored + " is live again; correct the package and install it again";
      return error(errc::reverted, std::move(parts));
    }
    parts.remedy = record.previous.empty() ? "there was no version to go back to; install a working package"
                                           : "going back failed as well, see the log; install a working package";
    return error(errc::unrecoverable, std::move(parts));
  }

private:
  /// Once the hooks of the new version run, space may be gone: the links of the way back are made now.
  void prepare_ways(const journal_record& record) {
    target_.prepare_link(next_link, record.version);
    if (!record.previous.empty()) target_.prepare_link(back_link, record.previous);
    if (target_.can_be_live(failsafe_name)) target_.prepare_link(failsafe_link, failsafe_name);
  }

  void start_restoring(journal_record& record, bool failed) {
    const bool lived = record.at == step::switching || record.at == step::switched;
    if (failed && lived && target_.current() == record.version && record.previous != record.version)
      target_.note_failed(record.version);
    record.discard = record.discard || (record.published && target_.current() != record.version);
    record.at = step::restoring;
    record.attempt = 0;
  }

  std::vector<std::string> candidates(const journal_record& record) {
    std::vector<std::string> ladder;
    const bool failed_live = record.at == step::switching || record.at == step::switched;
    if (record.at == step::restoring) {
      ladder.push_back(record.restoring);
    } else if (!failed_live || record.previous != record.version) {
      ladder.push_back(record.previous);
    }
    ladder.push_back(failsafe_name);
    if (ladder.front() == failsafe_name && ladder.size() > 1) ladder.pop_back();
    if (failed_live && (record.version == failsafe_name || store_behind(failsafe_name) == record.version))
      std::erase(ladder, failsafe_name);
    std::erase_if(ladder, [&](const std::string& name) { return !target_.can_be_live(name); });
    return ladder;
  }

  /// One rung of the ladder. A journal that cannot be written must not stop it: `switched` with another version live
  /// reads as `restoring`, too.
  bool enable_again(journal_record& record) {
    if (record.attempt > 1) {
      target_.say(log_level::error, "two crashes while restoring " + record.restoring);
      return false;
    }
    target_.warn_on_failure("cannot write the journal", [&] { target_.write_journal(record); });
    discard_failed(record);
    target_.warn_on_failure("going on without " + pre_install + " of " + record.restoring,
                            [&] { run_if_there(pre_install, record.restoring, record); });
    hook_failed_ = false;
    for (int tries = 0; tries < 2 && !hook_failed_; ++tries) {  // the system may refuse once; a hook has had its say
      try {
        if (target_.current() != record.restoring || record.restoring == failsafe_name)
          target_.point_current_at(record.restoring, record.restoring == failsafe_name ? failsafe_link : back_link);
        run_if_there(post_install, record.restoring, record);
        return true;
      } catch (const error& e) {
        target_.say(log_level::error, "cannot restore " + record.restoring + ": " + e.what());
      }
    }
    return false;
  }

  std::optional<std::string> store_behind(const std::string& name) { return target_.disk().version_behind(name); }

  void discard_failed(journal_record& record) {
    if (!record.discard || target_.current() == record.version || store_behind(failsafe_name) == record.version) return;
    if (target_.warn_on_failure("cannot remove what failed", [&] { target_.discard({record.version}); }))
      record.discard = false;
  }

  void run_if_there(const std::string& hook, const std::string& version, const journal_record& record) {
    if (target_.has_hook(version, hook)) run(hook, version, true, record);
  }

  void run(const std::string& hook, const std::string& version, bool recovery, const journal_record& record) {
    if (!recovery) report(hook == pre_install ? phase::pre_install : phase::post_install);
    target_.say(log_level::info, "running " + hook + " of " + version);
    if (!options_.hooks) return;
    hook_failed_ = true;
    options_.hooks(hook_call{.hook = hook,
                             .version_path = target_.path_of(version),
                             .recovery = recovery,
                             .target = target_.path(),
                             .version = version,
                             .previous = record.previous},
                   recovery ? std::stop_token() : options_.stop);
    hook_failed_ = false;
  }

  void stop_if_asked() const {
    if (options_.stop.stop_requested())
      throw error(errc::cancelled, {.what = "installing into " + target_.path(), .why = "the caller asked to stop"});
  }

  void report(phase p) const {
    if (options_.progress) options_.progress(progress{.at = p});
  }

  basic_target<Store>& target_;
  const transaction_options& options_;
  bool hook_failed_ = false;
};

}  // namespace fussy::install
