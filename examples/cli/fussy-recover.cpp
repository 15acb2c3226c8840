// fussy-recover: finish or undo what a crash left. Runs at boot; every other command does the same first.
#include <fussy/install.hpp>

#include "common.hpp"
#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-recover",
      "Finish or undo an install that was interrupted by a crash or a power cut. Nothing to do is no error.",
      "Example:\n  fussy-recover -t /opt/firmware");
  cli::install_options options;
  options.add_to(command.app);

  return command.run(argc, argv, [&] { install::recover(options.prepare(command.log)); });
}
