// fussy-southrollback: undo the migrations that an older version does not know, before it is installed.
#include <fussy/migrations.hpp>

#include "common.hpp"

namespace {

using namespace fussy;

struct options {
  std::string final_target, django_admin, python = "python3", command, zero_name = "zero", rule = "position";
  std::string pattern = migrations::default_pattern;
  std::vector<std::string> paths, apps;
  bool zero = false, dry_run = false;
};

void add_options(CLI::App& app, options& o) {
  app.add_option("-f,--final_target,--final-target", o.final_target, "The version that is about to be installed")
      ->type_name("DIR")
      ->required();
  app.add_option("-p,--path", o.paths, "Where the migrations are, relative to a version; one for each --app")
      ->type_name("RELPATH")
      ->required()
      ->expected(1)
      ->take_all();
  app.add_option("-a,--app", o.apps, "The application they belong to; may be repeated with --path")
      ->type_name("NAME")
      ->required()
      ->expected(1)
      ->take_all();
  auto* admin = app.add_option("-d,--django-admin", o.django_admin, "django-admin or manage.py of the current version")
                    ->type_name("PATH");
  app.add_option("--python", o.python, "Runs a manage.py that is not executable (default: python3)")->type_name("PATH");
  app.add_option("-c,--command", o.command, "Another tool: a shell command with {app}, {name}, {id}")
      ->type_name("TEMPLATE")
      ->excludes(admin);
  app.add_option("-m,--pattern", o.pattern, "Which files are migrations (default: ????_*.py)")->type_name("PATTERN");
  app.add_option("--rule", o.rule,
                 "Common is what stands at the same position in both versions, or the prefix (default: position)")
      ->type_name("RULE")
      ->check(CLI::IsMember({"position", "prefix"}));
  app.add_flag("--zero", o.zero, "Undo all migrations, and lose their data, when the versions have none in common");
  app.add_option("--zero-name", o.zero_name, "What the tool calls that (default: zero)")->type_name("NAME");
  app.add_flag("-n,--dry-run", o.dry_run, "Undo nothing, print application and migration");
}

std::vector<migrations::application> applications_of(const options& o) {
  if (o.apps.size() != o.paths.size())
    throw error(errc::usage,
                {.what = std::to_string(o.apps.size()) + " --app and " + std::to_string(o.paths.size()) + " --path",
                 .why = "each application needs the path of its migrations",
                 .remedy = "repeat them in pairs: -a shop -p lib/shop/migrations"});
  std::vector<migrations::application> all;
  for (std::size_t i = 0; i < o.apps.size(); ++i) all.push_back({o.apps[i], o.paths[i]});
  return all;
}

bool is_in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path ? path : ""; !rest.empty();) {
    const auto end = std::min(rest.find(':'), rest.size());
    if (::access((std::string(rest.substr(0, end)) + "/" + program).c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

migrations::tool tool_of(const options& o) {
  if (!o.command.empty()) return migrations::shell_command(o.command, o.zero_name);
  if (!o.django_admin.empty()) return migrations::django(o.django_admin, o.python);
  // The name that scripts know; Django dropped the suffix in release 4.
  return migrations::django(is_in_path("django-admin.py") || !is_in_path("django-admin") ? "django-admin.py"
                                                                                         : "django-admin");
}

/// A wrong path would look like an application without migrations.
void warn_of_nothing(const options& o, const std::vector<migrations::application>& apps, cli::logger& log) {
  const std::filesystem::path next = o.final_target;
  for (const auto& app : apps)
    if (migrations::migrations_in(next / app.migrations, o.pattern).empty() &&
        migrations::migrations_in(next / ".." / "current" / app.migrations, o.pattern).empty())
      log.write(log_level::warning, "neither the current nor the new version has migrations of " + app.name + " in " +
                                        app.migrations.string() + "; check --path and --pattern");
}

/// Where the versions part and meet again, the last common migration does not undo all that the new one lacks.
void warn_of_kept(const migrations::rollback& step, cli::logger& log) {
  if (step.kept.empty()) return;
  log.write(log_level::warning,
            step.application + ": " + step.kept.front() +
                (step.kept.size() > 1 ? " and " + std::to_string(step.kept.size() - 1) + " more" : "") +
                " stays applied, and the new version does not have it: it comes before " + step.migration +
                ", which both have; --rule prefix undoes both");
}

/// The tool's output goes where ours goes, as it comes.
void run(const options& o, cli::logger& log) {
  const auto apps = applications_of(o);
  const auto tool = tool_of(o);
  const auto rule = o.rule == "prefix" ? migrations::common_rule::prefix : migrations::common_rule::same_position;
  warn_of_nothing(o, apps, log);
  const auto steps =
      migrations::find_rollbacks(o.final_target, apps, {.pattern = o.pattern, .rule = rule, .allow_zero = o.zero});
  for (const migrations::rollback& step : steps) {
    warn_of_kept(step, log);
    if (o.dry_run)
      cli::print_result(
          cli::printable(step.application + " " + (step.migration.empty() ? o.zero_name : step.migration)));
    else
      tool(step).no_capture()();
  }
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  cli::command command(
      "fussy-southrollback",
      "Undo the data base migrations that the version to be installed does not know, while the current "
      "one still is.",
      "Example, in .pre-install:\n"
      "  fussy-southrollback -f \"$1\" -a shop -p lib/shop/migrations -d /opt/firmware/current/manage.py");
  add_options(command.app, o);
  return command.run(argc, argv, [&] { run(o, command.log); });
}
