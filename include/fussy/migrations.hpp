/// @file migrations.hpp  Rolling a data base back before an older version of its application is installed.
///
/// Migrations are files that a tool (Django, South, Alembic …) applies in the order of their names. A newer version has
/// more of them than an older one, and only the newer one knows how to undo those. So they have to be undone while the
/// newer version is still the current one: in `.pre-install` of the older one, which is called with its directory.
///
///     const auto steps = fussy::migrations::find_rollbacks(version, {{"shop", "lib/shop/migrations"}});
///     for (const auto& step : steps) fussy::migrations::roll_back(step, fussy::migrations::django("manage.py"));
///
/// Names decide alone: a migration must never be renamed, and what it does must not change once it was shipped. Whether
/// a migration was applied, the tool knows; rolling back to where the data base is already does nothing.
///
/// Threads: free functions without state.
/// Errors:  fussy::error; nbio::pipe_error with the tool's output when the tool fails.
#pragma once

#include <fnmatch.h>
#include <unistd.h>
#include <fussy/error.hpp>
#include <fussy/nbio.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace fussy::migrations {

/// As Django and South name them: four characters and a word.
inline constexpr const char* default_pattern = "????_*.py";

/// Which migrations of two versions are common. The rules differ only where the lists part and meet again, which they
/// do when a migration was replaced by another one, or dropped and another one added: both versions have `0001_a
/// 0003_c`, and the current one `0002_b` where the new one has `0002_x`.
enum class common_rule {
  /// All that stand at the same place in both lists, as fussy 1.0 compared them. Goes back to `0003_c`: what comes
  /// behind the last common migration is undone, `0002_b` stays applied (rollback::kept).
  same_position,
  /// All before the first difference. Goes back to `0001_a`: everything the new version does not have is undone, and
  /// with it what was applied on top of that, such as `0003_c`, which the new version then applies again.
  prefix,
};

/// The names of the migrations in a directory that match a shell pattern (fnmatch(3)), sorted; none without the
/// directory. @throws io  it cannot be read
inline std::vector<std::string> migrations_in(const std::filesystem::path& directory, const std::string& pattern) {
  std::vector<std::string> names;
  std::error_code problem;
  std::filesystem::directory_iterator entry(directory, problem), end;
  for (; !problem && entry != end; entry.increment(problem)) {
    std::string name = entry->path().filename().string();
    if (::fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0) names.push_back(std::move(name));
  }
  if (problem && problem != std::errc::no_such_file_or_directory && problem != std::errc::not_a_directory)
    throw system_error("cannot read migrations", problem.value(), directory.string());
  std::sort(names.begin(), names.end());
  return names;
}

/// The migrations of `current` that `next` has as well, by a rule. Both sorted.
inline std::vector<std::string> common_migrations(const std::vector<std::string>& current,
                                                  const std::vector<std::string>& next, common_rule rule) {
  std::vector<std::string> common;
  for (std::size_t i = 0; i < std::min(current.size(), next.size()); ++i) {
    if (current[i] == next[i])
      common.push_back(current[i]);
    else if (rule == common_rule::prefix)
      break;
  }
  return common;
}

/// An application of the firmware, and where its migrations are in each version.
struct application {
  std::string name;
  std::filesystem::path migrations;  ///< relative to the version's directory
};

/// Undo all migrations of `application` that come after `migration`.
struct rollback {
  std::string application;
  /// The last common one, without its suffix: `0002_price`. Empty: there is none, undo all.
  std::string migration;
  std::vector<std::string> undone{};  ///< files of the current version behind `migration`, which the tool undoes
  std::vector<std::string> kept{};    ///< those before it that are not common and stay applied; see common_rule
};

struct find_options {
  std::string pattern = default_pattern;
  common_rule rule = common_rule::same_position;
  /// No migration in common means undoing all of them, and all data with them; only with this it is not an error.
  bool allow_zero = false;
};

/// Whether the migrations of one application have to be undone before `final_target` becomes current. Compares
/// FINAL_TARGET/PATH with FINAL_TARGET/../current/PATH.
/// @throws not_found  the current version has migrations, and none of them is in common; see find_options::allow_zero
inline std::optional<rollback> find_rollback(const std::filesystem::path& final_target, const application& app,
                                             const find_options& options = {}) {
  const std::filesystem::path next_path = final_target / app.migrations;
  const auto next = migrations_in(next_path, options.pattern);
  const auto current = migrations_in(final_target / ".." / "current" / app.migrations, options.pattern);
  const auto common = common_migrations(current, next, options.rule);
  if (common.size() == current.size()) return std::nullopt;
  rollback step{.application = app.name, .migration = {}};
  const auto last_common = common.empty() ? current.begin() : std::find(current.begin(), current.end(), common.back());
  std::set_difference(current.begin(), last_common, common.begin(), common.end(), std::back_inserter(step.kept));
  step.undone.assign(common.empty() ? last_common : std::next(last_common), current.end());
  if (!common.empty()) {
    step.migration = std::filesystem::path(common.back()).stem().string();
  } else if (!options.allow_zero) {
    throw error(errc::not_found,
                {.what = "cannot roll back " + (app.name.empty() ? app.migrations.string() : app.name),
                 .why = "no migration of the current version is in " + next_path.string(),
                 .remedy = "check the path and the pattern; undoing all migrations has to be asked for",
                 .path = next_path.string()});
  }
  return step;
}

/// The same for several applications; nothing has been undone when one of them throws.
inline std::vector<rollback> find_rollbacks(const std::filesystem::path& final_target,
                                            const std::vector<application>& applications,
                                            const find_options& options = {}) {
  std::vector<rollback> steps;
  for (const application& app : applications)
    if (auto step = find_rollback(final_target, app, options)) steps.push_back(std::move(*step));
  return steps;
}

/// As fussy 1.0 had it: the name of the migration to go back to, if any has to be undone, by
/// common_rule::same_position.
/// @throws not_found  none is in common
inline std::optional<std::string> find_reverse_upgrades(const std::filesystem::path& final_target,
                                                        const std::filesystem::path& relative_path,
                                                        const std::string& migration_pattern = default_pattern) {
  const auto step = find_rollback(final_target, {{}, relative_path}, {.pattern = migration_pattern});
  if (!step) return std::nullopt;
  return step->migration;
}

// ---- Tools -----------------------------------------------------------------------------------------------------------

/// Makes the process that undoes one step.
using tool = std::function<nbio::process(const rollback&)>;

/// `ADMIN migrate --noinput APP NAME`, which South and every Django since 1.7 understand; `zero` for all.
/// @param admin   django-admin, or the path of a manage.py. A script that may not be executed is given to `python`.
inline tool django(std::string admin, std::string python = "python3") {
  return [admin = std::move(admin), python = std::move(python)](const rollback& step) {
    std::vector<std::string> argv{admin, "migrate", "--noinput", step.application,
                                  step.migration.empty() ? "zero" : step.migration};
    const bool is_script = admin.ends_with(".py") && ::access(admin.c_str(), F_OK) == 0;
    if (is_script && ::access(admin.c_str(), X_OK) != 0) argv.insert(argv.begin(), python);
    return nbio::process(std::move(argv));
  };
}

/// One word for /bin/sh, whatever is in it.
inline std::string quoted_for_shell(std::string_view word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// A shell command in which `{app}` stands for the application, `{name}` for the migration to go back to without its
/// suffix, and `{id}` for its name up to the first underscore (Alembic's revision). They are replaced by one quoted
/// word each, so they must not be quoted again. What stands for "before the first one" is given by `zero`.
/// @throws usage  an unknown name in braces
inline tool shell_command(std::string text, std::string zero = "zero") {
  const auto value_of = [zero = std::move(zero)](std::string_view name, const rollback& step) -> std::string {
    const std::string& migration = step.migration.empty() ? zero : step.migration;
    if (name == "app") return step.application;
    if (name == "name") return migration;
    if (name == "id") return migration.substr(0, migration.find('_'));
    throw error(errc::usage, {.what = "cannot use the command",
                              .why = "{" + std::string(name) + "} means nothing",
                              .remedy = "use {app}, {name} or {id}"});
  };
  const auto fill = [text = std::move(text), value_of](const rollback& step) {
    std::string command;
    for (std::string_view rest = text; !rest.empty();) {
      const auto open = std::min(rest.find('{'), rest.size());
      command += rest.substr(0, open);
      rest.remove_prefix(open);
      const auto close = rest.find('}');
      // A shell has braces of its own: `${HOME}` and `{ a; b; }` are none of ours.
      const bool is_name = close != rest.npos && close > 1 && !command.ends_with('$') &&
                           std::all_of(rest.begin() + 1, rest.begin() + static_cast<std::ptrdiff_t>(close),
                                       [](char c) { return c >= 'a' && c <= 'z'; });
      if (is_name)
        command += quoted_for_shell(value_of(rest.substr(1, close - 1), step));
      else if (!rest.empty())
        command += '{';
      rest.remove_prefix(is_name ? close + 1 : std::min<std::size_t>(1, rest.size()));
    }
    return command;
  };
  (void)fill({});  // an unknown name is found now, not in the middle of a rollback
  return [fill](const rollback& step) { return nbio::process(std::string_view(fill(step))); };
}

/// Runs the tool for one step. @return what it wrote on standard output. @throws nbio::pipe_error  it failed
inline std::string roll_back(const rollback& step, const tool& with) { return with(step)(); }

}  // namespace fussy::migrations
