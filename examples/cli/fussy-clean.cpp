// fussy-clean: remove versions that nobody needs any more.
#include <fussy/install.hpp>

#include "installing.hpp"

namespace {

using namespace fussy;

void clean(cli::install_options& options, std::size_t keep) {
  const install::options how = options.prepare();
  const std::vector<std::string> removed = install::clean(how, keep);
  for (const std::string& name : removed) options.says().log().announce("removed " + name);
  options.says().done("", {{"removed", removed}});
}

void say_what_would_go(cli::install_options& options, std::size_t keep) {
  const install::cleaning would = install::dry_run_clean(options.prepare(), keep);
  if (options.says().json())
    return options.says().result("", {{"dry_run", true}, {"removed", would.versions}, {"freed_bytes", would.freed}});
  for (const std::string& name : would.versions) cli::print_result(cli::printable(name));
  options.says().log().write(log_level::info, "would free " + cli::human_size(would.freed));
}

}  // namespace

int main(int argc, char** argv) {
  cli::command command("fussy-clean",
                       "Remove every version of a target but the current one, failsafe, and what is hidden.",
                       "Example:\n  fussy-clean -t /opt/firmware --keep 1");
  cli::install_options options(command);
  std::size_t keep = 0;
  bool dry_run = false;
  options.add_target_to(command.app);
  command.app.add_option("--keep", keep, "Keep N more: what was live before, then the newest, none that failed")
      ->type_name("N")
      ->check(cli::zero_or_more());
  command.app.add_flag("-n,--dry-run", dry_run, "Remove nothing, print what would be removed");

  return command.run(argc, argv, [&] { dry_run ? say_what_would_go(options, keep) : clean(options, keep); });
}
