// What a package is and what an install of it would do, found out without writing anything.
#include <fussy/install.hpp>

#include "looking.hpp"
#include "package.hpp"

namespace fussy::install {

namespace {

using target_view = basic_target_view<posix_view>;

/// What would keep an install or a switch from beginning, space aside. Notes whether a recovery would come first.
std::optional<error> why_not_begin(target_view& target, const options& how, inspection& seen) {
  const std::string path = target.path();
  const int root = target.disk().root().descriptor();
  status_report activity;
  look_at_activity(root, activity);
  seen.interrupted = !activity.busy && (activity.in_flight || activity.journal_damaged);
  if (::faccessat(root, ".", W_OK | X_OK, AT_EACCESS) != 0) return target_error(path, errno);
  if (auto why = private_hindrance(root, path)) return why;
  try {
    target.check_current();
  } catch (const error& e) {
    return e;
  }
  if (activity.busy && how.lock_wait.count() == 0)
    return error(errc::busy,
                 {.what = "target " + path + " is busy",
                  .why = "another command holds its lock" +
                         (*activity.busy != 0 ? " (PID " + std::to_string(*activity.busy) + ")" : std::string()),
                  .remedy = "retry when it has finished",
                  .path = path});
  return std::nullopt;
}

class look {
public:
  look(const std::filesystem::path& package, const options& how, const archive_entry_sink& on_entry)
      : how_(how),
        on_entry_(on_entry),
        file_(package),
        keys_(openpgp::keyring::load(how.keyring, {.log = how.log, .passphrase = how.passphrase})) {
    if (!file_.is_regular())
      throw error(errc::unsupported, {.what = "cannot look into " + file_.path(),
                                      .why = "it is no regular file, and a stream can be read only once",
                                      .remedy = "save it to a file first",
                                      .path = file_.path()});
    seen_.package = package;
    seen_.size = file_.size();
  }

  /// The package, and where it may be unpacked also what that would do to the target.
  inspection run() {
    try {
      prove();
      if (how_.target.empty())
        survey(-1, false);
      else
        look_at_target();
    } catch (const error& e) {
      if (!is_about_package(e.code())) throw;
      if (exit_status(e.code()) == 20) seen_.signers.clear();  // it changed after it was proven
      seen_.refused = naming(file_.path(), e);
    }
    return std::move(seen_);
  }

private:
  void prove() {
    openpgp::message_reader message(watched(file_.reader_for_proof(), phase::verifying, seen_.size, how_), keys_,
                                    how_.policy);
    try {
      const openpgp::verification proof = message.finish();
      seen_.message = message.info();
      file_.proven();
      seen_.signers = proof.signers();
    } catch (...) {
      seen_.message = message.info();
      throw;
    }
  }

  void survey(int live, bool reflinks) {
    const archive::survey_options rules{.limit = how_.limits,
                                        .share_with = live,
                                        .reflinks = reflinks,
                                        .on_entry = [&](const archive::entry_info& entry) {
                                          note_hook(entry);
                                          if (on_entry_) on_entry_(entry);
                                        }};
    openpgp::message_reader content(watched(file_.reader_of_proven(), phase::unpacking, seen_.size, how_), keys_,
                                    how_.policy);
    seen_.content = archive::survey(by_reference(content) | read_ahead{}, rules);
  }

  void note_hook(const archive::entry_info& entry) {
    if (entry.becomes == archive::change::removed) return;
    const std::string_view below_root = std::string_view(entry.path).substr(entry.path.find('/') + 1);
    seen_.pre_install |= below_root == pre_install;
    seen_.post_install |= below_root == post_install;
  }

  void look_at_target() {
    target_view target{posix_view(how_.target), how_.log};
    const std::string path = target.path();
    const unique_fd live = open_live_version(target);
    const auto space = space_of(path);
    survey(live.get(), space && space->reflinks);
    seen_.content = with_own_needs(*seen_.content);
    seen_.current = target.current().value_or("");
    seen_.version = target.free_name(seen_.content->root);
    seen_.path = target.path_of(seen_.version);
    if (space) seen_.free_bytes = space->bytes, seen_.free_inodes = space->counts_inodes ? space->inodes : UINT64_MAX;
    seen_.hindrance = why_not_begin(target, how_, seen_);
    if (!seen_.hindrance && space) seen_.hindrance = shortage(file_.path(), path, *space, *seen_.content);
  }

  const options& how_;
  const archive_entry_sink& on_entry_;
  package_file file_;
  openpgp::keyring keys_;
  inspection seen_;
};

}  // namespace

inspection inspect(const std::filesystem::path& package, const options& how, const archive_entry_sink& on_entry) {
  return look(package, how, on_entry).run();
}

inspection dry_run(const std::filesystem::path& package, const options& how) {
  static_cast<void>(posix_view(how.target));  // as install does: a target that is missing is said first
  inspection seen = inspect(package, how);
  if (seen.refused) throw error(*seen.refused);
  if (seen.hindrance) throw error(*seen.hindrance);
  return seen;
}

inspection dry_run_enable(const std::filesystem::path& version, const options& how) {
  target_view target{posix_view(how.target), how.log};
  inspection seen;
  if (auto hindrance = why_not_begin(target, how, seen)) throw error(*std::move(hindrance));
  seen.version = name_in_target(target, version);
  target.check_version(seen.version);
  seen.path = target.path_of(seen.version);
  seen.current = target.current().value_or("");
  seen.pre_install = target.has_hook(seen.version, pre_install);
  seen.post_install = target.has_hook(seen.version, post_install);
  return seen;
}

cleaning dry_run_clean(const options& how, std::size_t keep) {
  target_view target{posix_view(how.target), how.log};
  const int root = target.disk().root().descriptor();
  cleaning would{.versions = target.superfluous(keep, newest_first(root))};
  tree_usage usage;
  for (const std::string& name : would.versions) {
    struct stat st {};
    if (fstatat(root, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    usage.add(st);
    const unique_fd fd(::openat(root, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd) usage.add_below(fd.get(), target.path_of(name));
  }
  would.freed = usage.own();
  return would;
}

}  // namespace fussy::install
