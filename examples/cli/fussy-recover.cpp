// fussy-recover: finish or undo what a crash left. Runs at boot; every other command does the same first.
#include <fussy/install.hpp>

#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-recover",
      "Finish or undo an install that was interrupted by a crash or a power cut. Prints what was found; "
      "nothing to do is no error.",
      "Example:\n  fussy-recover -t /opt/firmware");
  cli::install_options options(command);
  options.add_to(command.app);

  return command.run(argc, argv, [&] {
    const install::recovery found = install::recover(options.prepare());
    const std::string& about = found.what == install::recovered::restored ? found.live : found.version;
    options.says().done(std::string(name(found.what)) + (about.empty() ? "" : " " + about),
                        {{"recovered", name(found.what)},
                         {"version", cli::text_or_null(found.version)},
                         {"live", cli::text_or_null(found.live)}});
  });
}
