// fussy-clean: remove versions that nobody needs any more.
#include <fussy/install.hpp>

#include "common.hpp"
#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command("fussy-clean",
                       "Remove every version of a target but the current one, failsafe, and what is hidden.",
                       "Example:\n  fussy-clean -t /opt/firmware --keep 1");
  cli::install_options options;
  std::size_t keep = 0;
  options.add_target_to(command.app);
  command.app.add_option("--keep", keep, "Keep the N newest versions besides those always kept")->type_name("N");

  return command.run(argc, argv, [&] {
    const install::options how = options.prepare(command.log);
    for (const std::string& name : install::clean(how, keep)) command.log.write(log_level::info, "removed " + name);
  });
}
