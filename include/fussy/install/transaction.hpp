/// @file transaction.hpp  One install, all or nothing: stage, publish, enable, commit.
///
///     basic_transaction<Store> tx(std::move(store), options);  // holds the lock; what a crash left is recovered
///     auto staged  = tx.stage(fill);                           // unpacked in a private place, proven, durable
///     auto version = tx.publish(std::move(staged));            // one rename: it has a name
///     tx.enable(version);                                      // hooks and the switch; a failure goes back
///     tx.commit();                                             // without it the destructor goes back
///
/// Invariants, cited by number in the code and the tests:
/// 1. After the first install, at every instant and after a power cut at any instant, `current` names a complete,
///    verified version.
/// 2. Nothing outside `.fussy/` changes before the proof is there.
/// 3. The journal says what is about to be done, durably, before it is done.
/// 4. A version is durable before it is published; the directory is synced before the link is switched, and after.
/// 5. A published inode is never written by us.
/// 6. Recovery is idempotent, may be cut at any instant, and runs before anything else.
/// 7. Nobody deletes the target of `current`, `failsafe`, or the previous version of a transaction in flight.
/// 8. One process changes a target at a time.
///
/// Threads: one object, one thread.   Errors: fussy::error; std::bad_alloc.
#pragma once

#include <fussy/install/enable.hpp>
#include <fussy/install/recover.hpp>

namespace fussy::install {

/// What a filler of a staging directory returns: the one directory it made there, and the proof that it may.
template <class Proof>
struct unpacked {
  std::string root;
  Proof proof;
};

template <store Store>
class basic_transaction {
public:
  using directory = typename Store::directory;
  using proof = typename Store::proof;

  /// A complete, proven, durable tree that has no name yet. Made by stage(), consumed by publish(), by nobody else.
  class staged {
  public:
    const std::string& root() const noexcept { return root_; }
    const proof& evidence() const noexcept { return proof_; }

  private:
    friend class basic_transaction;
    staged(std::string id, unpacked<proof> content)
        : id_(std::move(id)), root_(std::move(content.root)), proof_(std::move(content.proof)) {}
    std::string id_, root_;
    proof proof_;
  };

  /// Recovers what a crash left. @throws target_unusable, io; never for a recovery that found no way back: see found().
  explicit basic_transaction(Store disk, transaction_options options = {})
      : options_(std::move(options)), target_(std::move(disk), options_.log), found_(recover(target_, options_)) {}
  basic_transaction(const basic_transaction&) = delete;
  basic_transaction& operator=(const basic_transaction&) = delete;
  ~basic_transaction() { abandon(); }

  basic_target<Store>& target() noexcept { return target_; }
  const transaction_options& settings() const noexcept { return options_; }
  /// What was live when publish() or enable() began; empty: nothing.
  const std::string& previous() const noexcept { return record_.previous; }
  /// What recovery found at the start.
  const recovery& found() const noexcept { return found_; }

  /// Calls `fill(directory&)`, which makes one tree in the directory and returns unpacked<proof>. Durable on return.
  /// @throws what fill throws, bad_root, no_space, io; then nothing is left of it.
  template <class Fill>
  requires std::same_as<std::invoke_result_t<Fill&, directory&>, unpacked<proof>> staged stage(Fill&& fill) {
    target_.check_current();
    const std::string id = target_.make_staging();
    try {
      directory room = target_.open_staging(id);
      unpacked<proof> content = fill(room);
      check_root(room, content.root);
      report(phase::syncing);
      target_.disk().sync_all();  // invariant 4: content, names, everything, before it can be seen
      unnamed_.push_back(id);
      return staged(id, std::move(content));
    } catch (...) {
      target_.warn_on_failure("cannot remove what was unpacked", [&] { target_.remove_staging(id); });
      throw;
    }
  }

  /// Gives it the first free name. Durable on return, not live; removed again unless commit() follows.
  /// @return the name
  std::string publish(staged tree) {
    if (in_flight_) throw std::logic_error("fussy: publish() called twice in one transaction");
    report(phase::publishing);
    migrate_current(target_);
    Store& disk = target_.disk();
    record_ = {.at = step::staged,
               .version = target_.free_name(tree.root_),
               .previous = target_.previous(),
               .published = true};
    target_.forget_failed({record_.version});  // of one that had this name and was removed by hand
    bool named = false;
    try {
      directory room = target_.open_staging(tree.id_);
      target_.write_journal(record_);
      disk.rename(room, tree.root_, disk.root(), record_.version, rename_mode::exclusive);
      named = true;
      disk.sync_directory(disk.root());
    } catch (...) {
      target_.warn_on_failure("left to recovery", [&] {
        if (named) target_.discard({record_.version});
        target_.clear_journal();
      });
      remove_unnamed();
      throw;
    }
    in_flight_ = true;
    remove_unnamed();
    return record_.version;
  }

  /// Makes a version live: of this transaction, or one that is in the target already.
  /// @throws reverted       it failed, what was live before (or failsafe) is live again
  /// @throws cancelled      a hook was to end: what was live before is live again, and what was published is gone
  /// @throws unrecoverable  it failed, and there was no way back
  /// @throws others         it could not even begin; nothing has changed
  void enable(const std::string& version) {
    if (!in_flight_)
      begin_with(version);
    else if (version != record_.version)
      throw std::logic_error("fussy: enable() of another version than was published");
    guarded([&](enabler<Store>& way) { way.forward(record_); });
  }

  /// What was published or enabled stays. Durable on return. @throws as enable(), having gone back.
  void commit() {
    if (!in_flight_) return;
    guarded([&](enabler<Store>&) {
      if (record_.at == step::switched)
        target_.conclude();
      else
        target_.clear_journal();
    });
    in_flight_ = false;
    report(phase::done);
  }

private:
  void check_root(directory& room, const std::string& root) {
    if (!is_version_name(root)) throw bad_root(root, "a version may not have this name");
    if (target_.disk().type(room, root) != entry_type::directory) throw bad_root(root, "it is not a directory");
  }

  static error bad_root(const std::string& root, std::string why) {
    return error(errc::bad_root, {.what = "cannot use the top-level directory '" + detail::escape_line(root) + "'",
                                  .why = std::move(why),
                                  .remedy = "pack a directory with another name"});
  }

  void begin_with(const std::string& version) {
    target_.check_current();
    target_.check_version(version);
    if (target_.disk().type(target_.disk().root(), current_name) == entry_type::directory) migrate_current(target_);
    record_ = {.at = step::staged, .version = version, .previous = target_.previous()};
    in_flight_ = true;
  }

  /// A step that goes back when it fails.
  template <class Step>
  void guarded(Step&& step) {
    enabler<Store> way(target_, options_);
    try {
      step(way);
    } catch (const error& e) {
      go_back(way, e);
      throw;                             // go_back returned: nothing had begun
    } catch (const std::exception& e) {  // of a sink or runner of the host
      go_back(way, error(errc::failure, {.what = "installing " + target_.path_of(record_.version), .why = e.what()}));
      throw;
    }
  }

  /// Returns only where nothing of the version had begun and all is as before.
  void go_back(enabler<Store>& way, const error& cause) {
    in_flight_ = false;
    target_.say(log_level::error, cause.what());
    std::optional<std::string> live;
    bool begun = true;
    const bool cancelled = cause.cause() == errc::cancelled;
    if (cancelled) record_.discard = record_.published;  // nothing was wrong with it to look at
    for (int tries = 0; tries < 2; ++tries) {  // once more, where the system refused once; then it is recovery's
      try {
        begun = way.has_begun(record_);
        if (begun)
          live = way.back(record_, !cancelled);
        else
          way.undo(record_);
        break;
      } catch (const error& e) {
        target_.say(log_level::error, std::string("going back: ") + e.what());
      }
    }
    if (begun) throw way.outcome(record_, cause, live);
  }

  /// A transaction that is given up goes back, as far as it got.
  void abandon() noexcept {
    try {
      remove_unnamed();
      if (in_flight_) give_up();
    } catch (...) {  // go_back has logged it; whom it concerns has destroyed the transaction
    }
    try {
      if (!target_.has_journal()) target_.sweep();  // what could not be removed at the first try
    } catch (...) {                                 // the next command sweeps, too
    }
  }

  void give_up() {
    enabler<Store> way(target_, options_);
    go_back(way,
            error(errc::cancelled, {.what = "installing " + record_.version, .why = "the transaction was given up"}));
  }

  void remove_unnamed() {
    for (const std::string& id : unnamed_)
      target_.warn_on_failure("cannot remove litter", [&] { target_.remove_staging(id); });
    unnamed_.clear();
  }

  void report(phase p) const {
    if (options_.progress) options_.progress(progress{.at = p});
  }

  transaction_options options_;
  basic_target<Store> target_;
  recovery found_;
  journal_record record_;
  std::vector<std::string> unnamed_;  // staged: below staging/ until published
  bool in_flight_ = false;
};

/// Removes versions, see basic_target_view::superfluous(). @return what was removed
template <store Store, class NewestFirst>
std::vector<std::string> clean(basic_target<Store>& target, std::size_t keep, NewestFirst&& newest_first) {
  const std::vector<std::string> others = target.superfluous(keep, newest_first);
  target.discard(others);
  return others;
}

}  // namespace fussy::install
