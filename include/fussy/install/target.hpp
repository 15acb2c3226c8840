/// @file target.hpp  A target directory whose lock we hold: its names, its journal, the one link that counts.
///
///     TARGET/current -> NAME           relative link; the only thing that decides what runs
///     TARGET/failsafe                  never removed by us
///     TARGET/NAME, NAME-1 ...          published versions
///     TARGET/.fussy/lock               held while a target is open
///     TARGET/.fussy/journal            the transaction in flight, absent when there is none
///     TARGET/.fussy/previous           link to what was live before; for people and status only
///     TARGET/.fussy/failed             link to what was given up last, where it is still there; for status only
///     TARGET/.fussy/link.*             links made beforehand, so that going back needs no space
///     TARGET/.fussy/staging/ID/        being unpacked, or being removed
///
/// Threads: one object, one thread.
/// Errors:  fussy::error.
#pragma once

#include <fussy/install/journal.hpp>
#include <fussy/install/store.hpp>
#include <fussy/log.hpp>

#include <algorithm>
#include <deque>
#include <utility>

namespace fussy::install {

inline const std::string current_name = "current";
inline const std::string failsafe_name = "failsafe";
inline const std::string private_name = ".fussy";
inline const std::string staging_name = "staging";
inline const std::string new_staging_name = "staging.new";
inline const std::string unnamed_prefix = "new.";  ///< in staging/: a tree that is being unpacked and had no name yet
inline const std::string journal_name = "journal";
inline const std::string new_journal_name = "journal.new";
inline const std::string next_link = "link.next";          ///< to the version that is being enabled
inline const std::string back_link = "link.back";          ///< to the one before it
inline const std::string previous_link = "previous";       ///< to the one before the last install that went well
inline const std::string failed_link = "failed";           ///< to the one that was given up last
inline const std::string failsafe_link = "link.failsafe";  ///< to failsafe

/// A name that a version may have: what a package's top-level directory must be called, too. `Current` is none either:
/// a file system may take it for `current`.
inline bool is_version_name(std::string_view name) noexcept {
  const auto is = [&](const std::string& reserved) {
    return std::equal(name.begin(), name.end(), reserved.begin(), reserved.end(),
                      [](char a, char b) { return a == b || (a >= 'A' && a <= 'Z' && a - 'A' + 'a' == b); });
  };
  return !name.empty() && name.size() <= 255 && name.front() != '.' && !is(current_name) && !is(failsafe_name) &&
         std::none_of(name.begin(), name.end(), [](char c) {
           const auto octet = static_cast<unsigned char>(c);
           return octet < 0x20 || octet == 0x7f || c == '/';
         });
}

/// What can be known of a target without holding its lock, by the reading half of a store.
template <class Store>
class basic_target_view {
public:
  using directory = typename Store::directory;

  explicit basic_target_view(Store s, log_sink sink = {}) : store_(std::move(s)), log_(std::move(sink)) {}

  Store& disk() noexcept { return store_; }
  std::string path() const { return store_.path(); }
  std::string path_of(const std::string& version) const { return path() + "/" + version; }
  void say(log_level level, const std::string& line) const { log(log_, level, line); }

  // ---- What is there ---------------------------------------------------------------------------------------------

  /// The version `current` leads to; nothing where it is missing, dangling, or leads out of the target.
  std::optional<std::string> current() { return store_.version_behind(current_name); }

  /// What a failed enabling goes back to: the version that is live, else failsafe, else nothing.
  std::string previous() {
    if (auto live = current()) return *std::move(live);
    return can_be_live(failsafe_name) ? failsafe_name : std::string();
  }

  /// Whether `current` may be pointed at this name.
  bool can_be_live(const std::string& version) {
    if (version.empty() || version == current_name || version.front() == '.') return false;
    const entry_type type = store_.type(store_.root(), version);
    return type == entry_type::directory ||
           (version == failsafe_name && type == entry_type::link && store_.leads_somewhere(failsafe_name));
  }

  /// @throws not_found  `current` may not be pointed at it
  void check_version(const std::string& version) {
    if (!can_be_live(version))
      throw error(errc::not_found, {.what = "cannot enable " + path_of(version),
                                    .why = "it is no version directory of this target",
                                    .remedy = "name a directory in " + path(),
                                    .path = path_of(version)});
  }

  bool has_hook(const std::string& version, const std::string& hook) {
    if (store_.type(store_.root(), version) == entry_type::link) {  // failsafe may be a link to a version
      const auto real = store_.version_behind(version);
      if (!real) return true;  // it leads out of the target: the hook runner looks for itself
      return has_hook(*real, hook);
    }
    directory d = store_.open(store_.root(), version);
    return store_.type(d, hook) != entry_type::none;
  }

  /// Refuses a `current` that is none of: missing, a link to a version, a dangling link, the directory of a device that
  /// was never upgraded. Called before anything is unpacked.
  void check_current() {
    switch (store_.type(store_.root(), current_name)) {
      case entry_type::none:
        return;
      case entry_type::directory:
        if (store_.type(store_.root(), failsafe_name) == entry_type::none) return;
        throw unusable_current("it is a directory, and " + path_of(failsafe_name) + " exists already",
                               "rename it to a version and make " + current_name + " a link to that name");
      case entry_type::link:
        if (store_.version_behind(current_name)) return;
        if (store_.leads_somewhere(current_name))
          throw unusable_current("it leads to a directory that is no version of this target",
                                 "make it a link to the name of a directory in " + path());
        say(log_level::warning, path_of(current_name) + " leads nowhere; what is installed now will replace it");
        return;
      case entry_type::file:
      case entry_type::other:
        throw unusable_current("it is neither a link nor a directory", "remove it");
    }
  }

  /// `root`, or the first of root-1, root-2 … that names nothing, and that no link waits for. @throws bad_root
  std::string free_name(const std::string& root) {
    std::string name = root;
    for (unsigned n = 1;; ++n) {
      if (!is_version_name(name))
        throw error(errc::bad_root,
                    {.what = "cannot use the top-level directory '" + detail::escape_line(root) + "'",
                     .why = "its name is taken, and with a number it is too long",
                     .remedy = "pack a directory with a shorter name, or remove old versions (fussy-clean)"});
      if (store_.type(store_.root(), name) == entry_type::none && !is_awaited(name)) return name;
      name = root + "-" + std::to_string(n);
    }
  }

  /// The versions that a clean removes, by name: all but `current`, failsafe and what it leads to, and `keep` more: the
  /// one that was live before, then those that were published last, but none that failed. What is hidden stays.
  /// @param newest_first orders names, the newest first; asked only where `keep` is not 0.
  template <class NewestFirst>
  std::vector<std::string> superfluous(std::size_t keep, NewestFirst&& newest_first) {
    const auto live = current();
    if (!live)
      throw error(errc::target_unusable, {.what = "cannot clean " + path(),
                                          .why = "current is missing or leads nowhere, so nothing says what to keep",
                                          .remedy = "install a version first",
                                          .path = path()});
    const auto spare = store_.version_behind(failsafe_name);
    std::vector<std::string> others;
    for (const std::string& name : store_.list(store_.root()))
      if (name.front() != '.' && name != current_name && name != failsafe_name && name != live && name != spare &&
          name != "lost+found")
        others.push_back(name);
    if (keep > 0) {
      std::vector<std::string> versions;
      for (const std::string& name : others)
        if (store_.type(store_.root(), name) == entry_type::directory) versions.push_back(name);
      newest_first(versions);
      std::erase(versions, noted(failed_link));
      std::stable_partition(versions.begin(), versions.end(),
                            [before = noted(previous_link)](const std::string& name) { return name == before; });
      versions.resize(std::min(keep, versions.size()));
      std::erase_if(others, [&](const std::string& name) {
        return std::find(versions.begin(), versions.end(), name) != versions.end();
      });
    }
    std::sort(others.begin(), others.end());
    return others;
  }

protected:
  Store store_;
  log_sink log_;

private:
  /// What a link in `.fussy/` says for people; empty where there is none.
  std::string noted(const std::string& link) {
    if (store_.type(store_.root(), private_name) != entry_type::directory) return {};
    directory ours = store_.open(store_.root(), private_name);
    return store_.type(ours, link) == entry_type::link ? store_.read_link(ours, link) : std::string();
  }

  /// Where `current` or failsafe dangle to this name, publishing it would be enabling it.
  bool is_awaited(const std::string& name) {
    for (std::string at : {current_name, failsafe_name}) {
      for (int hops = 0; hops < 8 && store_.type(store_.root(), at) == entry_type::link; ++hops) {
        const std::string text = store_.read_link(store_.root(), at);
        at = text.substr(text.rfind('/') + 1);
        if (at == name) return true;
        if (at.empty()) break;
      }
    }
    return false;
  }

  error unusable_current(std::string why, std::string remedy) const {
    return error(errc::target_unusable, {.what = "cannot use " + path_of(current_name),
                                         .why = std::move(why),
                                         .remedy = std::move(remedy),
                                         .path = path_of(current_name)});
  }
};

template <store Store>
class basic_target : public basic_target_view<Store> {
public:
  using directory = typename Store::directory;
  using view = basic_target_view<Store>;
  using view::current;
  using view::path;
  using view::path_of;
  using view::say;

  basic_target(Store s, log_sink sink) : view(std::move(s), std::move(sink)), ours_(open_private()) {}

  directory& private_directory() noexcept { return ours_; }

  // ---- Journal (invariant 3) -------------------------------------------------------------------------------------

  bool has_journal() { return store_.type(ours_, journal_name) != entry_type::none; }

  /// Nothing where it is damaged, too, or no file of ours: ask has_journal() first.
  std::optional<journal_record> read_journal() {
    if (store_.type(ours_, journal_name) != entry_type::file) return std::nullopt;
    return parse_journal(store_.read_file(ours_, journal_name, max_journal_size));
  }

  /// Durable on return, together with everything else done in `.fussy/` before.
  void write_journal(const journal_record& record) {
    remove_private(new_journal_name);
    store_.write_file(ours_, new_journal_name, format_journal(record));
    store_.sync_file(ours_, new_journal_name);
    store_.rename(ours_, new_journal_name, ours_, journal_name, rename_mode::replace);
    store_.sync_directory(ours_);
  }

  /// The transaction is over, durably.
  void clear_journal() {
    for (const auto& link : {next_link, back_link, failsafe_link}) remove_private(link);
    remove_private(journal_name);
    store_.sync_directory(ours_);
  }

  /// The same after a version was enabled with success; what was live before is remembered.
  void conclude() {
    const auto live = current();
    if (store_.type(ours_, back_link) == entry_type::link && store_.read_link(ours_, back_link) != live)
      store_.rename(ours_, back_link, ours_, previous_link, rename_mode::replace);
    if (live) forget_failed({*live});
    clear_journal();
  }

  /// A version that was live, failed, and stays to be looked at: status says so. For people, so no failure is one here.
  /// Durable with the next journal record.
  void note_failed(const std::string& version) {
    warn_on_failure("cannot note what failed", [&] {
      if (version != failsafe_name && store_.type(store_.root(), version) == entry_type::directory)
        prepare_link(failed_link, version);
    });
  }
  void forget_failed(const std::vector<std::string>& versions) {
    warn_on_failure("cannot forget what failed", [&] {
      if (store_.type(ours_, failed_link) == entry_type::link &&
          std::find(versions.begin(), versions.end(), store_.read_link(ours_, failed_link)) != versions.end())
        remove_private(failed_link);
    });
  }

  // ---- The switch (invariants 1 and 4) ---------------------------------------------------------------------------

  /// Makes a link to `version` where the switch will take it from. Durable with the next journal record.
  void prepare_link(const std::string& link, const std::string& version) {
    remove_private(link);
    store_.make_link(version, ours_, link);
  }

  /// `current` names `version`, durably: a reader sees what it named before or `version`, never nothing.
  void point_current_at(const std::string& version, const std::string& link) {
    if (!is_prepared(link, version)) {
      prepare_link(link, version);
      store_.sync_directory(ours_);
    }
    store_.rename(ours_, link, store_.root(), current_name, rename_mode::replace);
    store_.sync_directory(store_.root());
  }

  // ---- Versions come and go --------------------------------------------------------------------------------------

  /// A fresh private directory below staging/.
  std::string make_staging() {
    directory staging = open_staging();
    std::string id = fresh_name(staging, unnamed_prefix);
    store_.make_directory(staging, id);
    return id;
  }
  directory open_staging(const std::string& id) {
    directory staging = open_staging();
    return store_.open(staging, id);
  }
  void remove_staging(const std::string& id) {
    directory staging = open_staging();
    remove_tree(staging, id);
  }

  /// Makes versions vanish: first all of their names at once, durably, so that nothing half removed is ever seen at its
  /// name; then what is in them. @throws for what invariant 7 forbids.
  void discard(const std::vector<std::string>& versions) {
    if (versions.empty()) return;
    const auto live = current(), spare = store_.version_behind(failsafe_name);
    directory staging = open_staging();
    std::vector<std::string> gone, names;
    std::optional<error> problem;
    for (const std::string& version : versions) {
      if (version == live || version == failsafe_name || version == spare)
        throw error(errc::failure, {.what = "refusing to remove " + path_of(version), .why = "it is live or failsafe"});
      if (store_.type(store_.root(), version) == entry_type::none) continue;
      const std::string name = fresh_name(staging);
      try {
        store_.rename(store_.root(), version, staging, name, rename_mode::replace);
        gone.push_back(name);
        names.push_back(version);
      } catch (const error& e) {  // a mount point, say: the others go all the same
        if (!problem) problem = e;
      }
    }
    store_.sync_directory(store_.root());
    forget_failed(names);
    for (const std::string& name : gone) remove_tree(staging, name);
    if (problem) throw *problem;
  }

  /// After a kill: what recovery decides by, and what it removes, must not come back with the next power cut. Of a tree
  /// that was only being unpacked nothing can come back; it goes first, so that no sync writes it before it goes.
  void settle() {
    if (holds_unpacking_only()) sweep();
    if (has_journal()) store_.sync_directory(ours_);  // a link that was prepared, too: the switch takes it as it is
    store_.sync_directory(store_.root());
  }

  /// Removes what no transaction needs: everything in staging/, links and the half of a journal. What cannot be removed
  /// is a warning: it is in nobody's way.
  void sweep() {
    for (const auto& leftover : {new_journal_name, next_link, back_link, failsafe_link})
      warn_on_failure("cannot remove litter", [&] { remove_private(leftover); });
    warn_on_failure("cannot remove litter", [&] {
      if (store_.type(ours_, new_staging_name) != entry_type::none) store_.remove_directory(ours_, new_staging_name);
    });
    warn_on_failure("cannot remove litter", [&] {
      directory staging = open_staging();
      const std::vector<std::string> names = store_.list(staging);
      for (const std::string& name : names)
        warn_on_failure("cannot remove litter", [&] { remove_tree(staging, name); });
      if (names.size() + counter_ > names_in_one_block) renew_staging();
    });
  }

  template <class Action>
  bool warn_on_failure(const std::string& what, Action&& action) {
    try {
      action();
      return true;
    } catch (const error& e) {
      say(log_level::warning, what + ": " + e.what());
      return false;
    }
  }

private:
  directory open_private() {
    if (store_.type(store_.root(), private_name) == entry_type::none)
      store_.make_directory(store_.root(), private_name);
    directory d = store_.open(store_.root(), private_name);
    if (store_.type(d, staging_name) == entry_type::none) store_.make_directory(d, staging_name);
    return d;
  }

  directory open_staging() { return store_.open(ours_, staging_name); }

  bool holds_unpacking_only() {
    if (has_journal()) return false;
    directory staging = open_staging();
    const std::vector<std::string> names = store_.list(staging);
    return !names.empty() && std::all_of(names.begin(), names.end(), [](const std::string& name) {
      return name.compare(0, unnamed_prefix.size(), unnamed_prefix) == 0;
    });
  }

  /// A directory that has held many names stays large when they are gone. A new, small one takes its place.
  void renew_staging() {
    if (store_.type(ours_, new_staging_name) == entry_type::none) store_.make_directory(ours_, new_staging_name);
    store_.rename(ours_, new_staging_name, ours_, staging_name, rename_mode::replace);
    counter_ = 0;
  }

  void remove_private(const std::string& name) {
    if (store_.type(ours_, name) != entry_type::none) store_.remove_file(ours_, name);
  }

  bool is_prepared(const std::string& link, const std::string& version) {
    return store_.type(ours_, link) == entry_type::link && store_.read_link(ours_, link) == version;
  }

  std::string fresh_name(directory& staging, const std::string& prefix = {}) {
    std::string name;
    do name = prefix + std::to_string(++counter_);
    while (store_.type(staging, name) != entry_type::none);
    return name;
  }

  /// Removes staging/NAME whatever is below it. Directories that are not empty are moved up to staging/ first, so that
  /// neither depth nor path length matters, and a mount point in the way is an error instead of a catastrophe.
  void remove_tree(directory& staging, const std::string& first) {
    if (store_.type(staging, first) == entry_type::directory && remove_if_empty(staging, first)) return;
    std::deque<std::string> queue{first};
    for (; !queue.empty(); queue.pop_front()) {
      const std::string& name = queue.front();
      if (store_.type(staging, name) != entry_type::directory) {
        store_.remove_file(staging, name);
        continue;
      }
      store_.make_accessible(staging, name);
      directory d = store_.open(staging, name);
      for (const std::string& entry : store_.list(d)) {
        if (remove_if_file(d, entry) || remove_if_empty(d, entry)) continue;
        store_.make_accessible(d, entry);
        const std::string moved = fresh_name(staging);
        if (try_to_move(d, entry, staging, moved))
          queue.push_back(moved);
        else
          remove_in_place(d, entry);
      }
      store_.remove_directory(staging, name);
    }
  }

  /// Where space or quota has run out a file system may refuse to rename (btrfs does), but not to remove.
  bool try_to_move(directory& d, const std::string& entry, directory& staging, const std::string& name) {
    try {
      store_.rename(d, entry, staging, name, rename_mode::replace);
      return true;
    } catch (const error& e) {
      if (e.code() == errc::no_space) return false;
      throw;
    }
  }

  /// A descriptor for each level, so only where nothing else helps.
  void remove_in_place(directory& parent, const std::string& name) {
    directory d = store_.open(parent, name);
    for (const std::string& entry : store_.list(d)) {
      if (remove_if_file(d, entry) || remove_if_empty(d, entry)) continue;
      store_.make_accessible(d, entry);
      remove_in_place(d, entry);
    }
    store_.remove_directory(parent, name);
  }

  /// A question less for each file: there are many of them, and few directories.
  bool remove_if_file(directory& d, const std::string& name) {
    try {
      store_.remove_file(d, name);
      return true;
    } catch (const error& e) {
      if ((failed_with(e, EISDIR) || failed_with(e, EPERM)) && store_.type(d, name) == entry_type::directory)
        return false;
      throw;
    }
  }

  bool remove_if_empty(directory& d, const std::string& name) {
    try {
      store_.remove_directory(d, name);
      return true;
    } catch (const error& e) {
      if (failed_with(e, ENOTEMPTY) || failed_with(e, EEXIST)) return false;
      throw;
    }
  }

  static constexpr unsigned long names_in_one_block = 128;

  using view::store_;
  unsigned long counter_ = 0;  // of names given in staging/
  directory ours_;             // last: made with what is above it
};

}  // namespace fussy::install
