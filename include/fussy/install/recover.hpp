/// @file recover.hpp  Finishing or undoing what a crash left. Idempotent, and may itself be cut at any instant
/// (invariant 6).
/// Threads: as the target.
/// Errors:  fussy::error.
#pragma once

#include <fussy/install/enable.hpp>

namespace fussy::install {

/// What recovery found and did.
enum class recovered {
  nothing,   ///< no transaction was in flight; litter may have been removed
  undone,    ///< no hook of the new version had begun: removed
  finished,  ///< the new version was live: its .post-install was run (again) and it stays
  restored,  ///< the new version was cut off in its .pre-install, failed, or crashed twice: another one is live again
  unrecoverable,  ///< as before, but what was there to go back to failed, too
  migrated,       ///< a real directory `current` has become `failsafe`
};

constexpr const char* name(recovered r) noexcept {
  switch (r) {
    case recovered::nothing:
      return "nothing";
    case recovered::undone:
      return "undone";
    case recovered::finished:
      return "finished";
    case recovered::restored:
      return "restored";
    case recovered::unrecoverable:
      return "unrecoverable";
    case recovered::migrated:
      return "migrated";
  }
  return "unknown";
}

struct recovery {
  recovered what = recovered::nothing;
  std::string version{};  ///< the version of the transaction that was in flight
  std::string live{};     ///< what is live now; asked only where something was in flight
};

/// The one-time step of a device whose `current` is a real directory: it becomes `failsafe`, and `current` a link to
/// it. No instant without a `current`, where the file system can exchange names.
template <store Store>
void migrate_current(basic_target<Store>& target) {
  Store& disk = target.disk();
  if (disk.type(disk.root(), current_name) != entry_type::directory) return;
  target.write_journal({.at = step::migrating, .version = failsafe_name});
  try {
    // A link `failsafe -> failsafe`; swapped with the directory `current` it is what we want.
    if (disk.type(disk.root(), failsafe_name) == entry_type::none) {
      disk.make_link(failsafe_name, disk.root(), failsafe_name);
      disk.sync_directory(disk.root());
    }
    disk.rename(disk.root(), failsafe_name, disk.root(), current_name, rename_mode::exchange);
  } catch (const error& e) {
    if (!failed_with(e, EINVAL) && !failed_with(e, ENOSYS)) throw;
    disk.remove_file(disk.root(), failsafe_name);
    target.prepare_link(failsafe_link, failsafe_name);
    disk.sync_directory(target.private_directory());
    disk.rename(disk.root(), current_name, disk.root(), failsafe_name, rename_mode::replace);
    try {
      disk.rename(target.private_directory(), failsafe_link, disk.root(), current_name, rename_mode::replace);
    } catch (const error&) {
      disk.rename(disk.root(), failsafe_name, disk.root(), current_name, rename_mode::replace);
      throw;
    }
  }
  disk.sync_directory(disk.root());
  target.say(log_level::info, target.path_of(current_name) + " was a directory; it is failsafe now");
  target.clear_journal();
}

namespace detail {

template <store Store>
void recover_migration(basic_target<Store>& target) {
  Store& disk = target.disk();
  const auto type = [&](const std::string& name) { return disk.type(disk.root(), name); };
  if (type(current_name) == entry_type::directory) {
    // Not exchanged yet. There was no failsafe when this began, so the link is ours.
    if (type(failsafe_name) == entry_type::link) {
      disk.remove_file(disk.root(), failsafe_name);
      disk.sync_directory(disk.root());
    }
  } else if (type(current_name) == entry_type::none && type(failsafe_name) == entry_type::directory) {
    target.point_current_at(failsafe_name, failsafe_link);
  }
  target.clear_journal();
}

/// The journal is damaged: the directory itself says what there is. The link decides; without one, failsafe.
template <store Store>
void recover_without_journal(basic_target<Store>& target) {
  target.say(log_level::error, "the journal of " + target.path() + " is damaged; keeping every version there is");
  if (!target.current() && target.can_be_live(failsafe_name)) target.point_current_at(failsafe_name, failsafe_link);
  target.clear_journal();
}

template <store Store>
recovered recover_version(basic_target<Store>& target, const transaction_options& options, journal_record& record) {
  const deadline_pause to_its_end;
  enabler<Store> way(target, options);
  const auto back = [&] { return way.back(record) ? recovered::restored : recovered::unrecoverable; };
  const bool live = target.current() == record.version;
  if (record.at == step::restoring) {
    ++record.attempt;
    return back();
  }
  if (!way.has_begun(record)) {
    way.undo(record);
    return recovered::undone;
  }
  // `switched` with another version live: the way back had begun when the journal could not be written.
  if (!live || record.at == step::staged) return back();
  if (record.at == step::switched && ++record.attempt > 1) return back();
  try {
    way.finish(record);
  } catch (const error& e) {
    target.say(log_level::error, e.what());
    return back();
  }
  // It lives and its hook has run: one refusal of the system is no reason to run it again, or to take it for a crash.
  if (!target.warn_on_failure("cannot clear the journal", [&] { target.conclude(); })) target.conclude();
  return recovered::finished;
}

}  // namespace detail

/// Brings a target to rest. Called with the lock held, at the start of everything that changes it.
template <store Store>
recovery recover(basic_target<Store>& target, const transaction_options& options) {
  recovery result;
  target.settle();
  if (target.has_journal()) {
    if (options.progress) options.progress(progress{.at = phase::recovering});
    if (auto record = target.read_journal()) {
      result.version = record->version;
      target.say(log_level::warning, "an earlier command was interrupted (" + std::string(name(record->at)) + " " +
                                         record->version + "); recovering");
      if (record->at == step::migrating) {
        detail::recover_migration(target);
        result.what = recovered::migrated;
      } else {
        // A hook of recovery is not to be cut short by a caller who wants to install: no stop token.
        const transaction_options patient{
            .hooks = options.hooks, .log = options.log, .progress = options.progress, .stop = {}};
        result.what = detail::recover_version(target, patient, *record);
      }
      result.live = target.current().value_or("");
      target.say(log_level::info, std::string("recovered: ") + name(result.what) + ", live is " +
                                      (result.live.empty() ? "nothing" : result.live));
    } else {
      detail::recover_without_journal(target);
    }
  }
  target.sweep();
  return result;
}

}  // namespace fussy::install
