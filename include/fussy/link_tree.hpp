/// @file link_tree.hpp  A tree of links that lead from a system's directories into a distribution.
///
///     fussy::link_tree("/opt/firmware/current/etc", "/etc");
///
/// For every file below the distribution there is an entry in the same place below the target: a symbolic link by
/// absolute path (so one that leads through `current` follows an upgrade), a hard link, or a copy. Directories are made
/// where they are missing; a symbolic link to a directory counts as one. A symbolic link of the distribution is
/// recreated as one: a relative text is made absolute, as seen from its place in the target.
///
/// What is up to date is not touched. What has to be replaced is replaced by rename(2): every entry is the old or the
/// new one at every instant. A directory is never replaced by something else, nor the other way round: such a conflict
/// is found before anything is changed. A failure in between (a full disk, say) leaves the entries that follow as they
/// were.
///
/// Threads: runs on distinct targets are independent. Two runs on one target do no harm to each other.
/// Errors:  fussy::error: `usage`, `not_found`, `io`, `no_space` … with the path.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fussy/error.hpp>
#include <fussy/io.hpp>
#include <fussy/link_tree/make.hpp>
#include <fussy/link_tree/plan.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace fussy {

enum class link_action { make_directory, create, update, back_up, prune };

/// One thing that was done, or would be.
struct link_step {
  link_action action;
  std::string target;                    ///< path of the entry
  std::string source;                    ///< text of the link; path of the file; for back_up, the path it is kept under
  link_kind kind = link_kind::symbolic;  ///< of what is created or updated
};

/// As a line for people: `create link /etc/fw.conf -> /opt/firmware/current/etc/fw.conf`.
inline std::string describe(const link_step& step) {
  switch (step.action) {
    case link_action::make_directory:
      return "make directory " + step.target;
    case link_action::back_up:
      return "back up " + step.target + " as " + step.source;
    case link_action::prune:
      return "prune " + step.target + " -> " + step.source;
    case link_action::create:
    case link_action::update:
      break;
  }
  const std::string verb = step.action == link_action::create ? "create " : "update ";
  switch (step.kind) {
    case link_kind::hard:
      return verb + "hard link " + step.target + " = " + step.source;
    case link_kind::copy:
      return verb + "copy " + step.target + " of " + step.source;
    case link_kind::symbolic:
      break;
  }
  return verb + "link " + step.target + " -> " + step.source;
}

struct link_tree_options {
  /// A hard link that the file systems do not allow becomes a copy.
  link_kind kind = link_kind::symbolic;
  /// Symbolic links get a relative text, so that the tree can be moved as a whole, or be made for another root.
  bool relative = false;
  /// Removes links that an earlier run made (in this place, with this text) and whose source is gone; nothing else, no
  /// directory either. Looks at all directories below the target that are on its file system.
  bool prune = false;
  /// Keeps what is replaced, unless it is a link into the distribution, as `NAME.~1~`, `NAME.~2~` …
  bool backup = false;
  /// Changes nothing; `on_step` gets what would be done.
  bool dry_run = false;
  /// Called after each step, from the calling thread. What it throws ends the run.
  std::function<void(const link_step&)> on_step{};
};

struct link_tree_report {
  std::size_t created = 0, updated = 0, unchanged = 0, pruned = 0;  ///< entries that are no directories
  std::size_t directories = 0;                                      ///< made
  std::size_t backed_up = 0;
};

namespace detail {

class link_runner {
public:
  explicit link_runner(const link_tree_options& options) : options_(options) {}

  link_tree_report run(const link_plan& plan) {
    report_.unchanged = plan.unchanged;
    for (const planned_directory& d : plan.directories) run(d);
    for (const planned_prune& p : plan.prunes) run(p);
    return report_;
  }

private:
  void tell(link_action action, std::string target, std::string source = {}, link_kind kind = link_kind::symbolic) {
    if (options_.on_step) options_.on_step({action, std::move(target), std::move(source), kind});
  }

  void run(const planned_directory& d) {
    if (d.is_missing) {
      if (!options_.dry_run) make_directory(d);
      ++report_.directories;
      tell(link_action::make_directory, d.target);
    }
    if (d.entries.empty() && d.litter.empty()) return;
    unique_fd directory;
    if (!options_.dry_run) {
      directory = open_file(d.target, O_RDONLY | O_DIRECTORY);
      for (const std::string& name : d.litter) ::unlinkat(directory.get(), name.c_str(), 0);
    }
    for (const planned_entry& e : d.entries) run(directory.get(), d, e);
  }

  static void make_directory(const planned_directory& d) {
    std::error_code problem;
    const std::filesystem::path path(d.target);
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), problem);
    if (problem) throw system_error("cannot make directory", problem.value(), path.parent_path().string());
    // Closed to others until it has the mode of the distribution, which mkdir(2) alone would cut by the umask.
    if (::mkdir(d.target.c_str(), 0700) != 0) {
      struct stat s;
      const int number = errno;
      if (number == EEXIST && ::stat(d.target.c_str(), &s) == 0 && S_ISDIR(s.st_mode))
        return;  // another run was faster
      throw system_error("cannot make directory", number, d.target);
    }
    if (::chmod(d.target.c_str(), d.mode) != 0) throw system_error("cannot set the mode of", errno, d.target);
  }

  void run(int directory, const planned_directory& d, const planned_entry& e) {
    const std::string target = below(d.target, e.name);
    link_kind kind = e.copied.value_or(link_kind::symbolic);
    const auto backed_up = [&](const std::string& as) {
      ++report_.backed_up;
      tell(link_action::back_up, target, as);
    };
    if (options_.dry_run) {
      if (e.back_up) backed_up(next_backup_of(target));
      if (kind == link_kind::hard && !hard_links_lead_to(d)) kind = link_kind::copy;
    } else {
      kind = entry_maker(directory, d, e).make(backed_up);
    }
    ++(e.is_update ? report_.updated : report_.created);
    tell(e.is_update ? link_action::update : link_action::create, target, e.copied ? below(d.source, e.name) : e.text,
         kind);
  }

  static std::string next_backup_of(const std::string& target) {
    struct stat s;
    for (int n = 1;; ++n) {
      const std::string name = target + ".~" + std::to_string(n) + "~";
      if (::lstat(name.c_str(), &s) != 0) return name;
    }
  }

  /// A directory that is yet to be made will be where the nearest one is that exists.
  static bool hard_links_lead_to(const planned_directory& d) {
    std::filesystem::path path(d.target);
    while (!std::filesystem::exists(path) && path.has_relative_path()) path = path.parent_path();
    return link_domain_of(AT_FDCWD, d.source) == link_domain_of(AT_FDCWD, path.string());
  }

  void run(const planned_prune& p) {
    if (!options_.dry_run) {
      if (link_text_of(AT_FDCWD, p.target) != p.text) return;  // changed meanwhile
      if (::unlink(p.target.c_str()) != 0 && errno != ENOENT) throw system_error("cannot remove", errno, p.target);
    }
    ++report_.pruned;
    tell(link_action::prune, p.target, p.text);
  }

  const link_tree_options& options_;
  link_tree_report report_;
};

/// The first conflict, and how many others there are.
inline error all_of(const std::vector<error>& conflicts) {
  failure_parts parts = conflicts.front().parts();
  if (conflicts.size() > 1) parts.why += " (and " + std::to_string(conflicts.size() - 1) + " more like this)";
  return error(conflicts.front().code(), parts);
}

}  // namespace detail

/// Makes the tree of links up to date.
/// @param distribution  a directory, or a link to one; the links are made with the path as given here, made absolute
/// @param target        made when missing
/// @throws usage, not_found  one of the two cannot be used, or the target is inside of the distribution
/// @throws io  a directory would have to be replaced, or a file to become a directory: nothing was changed. Or the
/// system refused a change: what came before is done, what follows is as it was.
inline link_tree_report link_tree(const std::filesystem::path& distribution, const std::filesystem::path& target = "/",
                                  const link_tree_options& options = {}) {
  detail::link_planner planner(detail::absolute_path(distribution), detail::absolute_path(target), options.kind,
                               options.relative, options.backup);
  const detail::link_plan plan = planner.plan(options.prune);
  if (!plan.conflicts.empty()) throw detail::all_of(plan.conflicts);
  return detail::link_runner(options).run(plan);
}

}  // namespace fussy
