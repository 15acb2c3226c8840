// fussy-sign: sign on one machine what was packed on another.
#include <fussy/pack.hpp>

#include "common.hpp"
#include "signing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-sign",
      "Sign an archive made with fussy-pack --unsigned, remove the unsigned one, and print the package's path.",
      "Example:\n  fussy-sign -k vendor@example.com firmware-2.1.tar.gz");
  std::string filename;
  cli::signing_options signing;
  command.app.add_option("-f,--filename,filename", filename, "The archive")->type_name("FILE")->required();
  signing.add_to(command.app);

  return command.run(argc, argv, [&] { cli::print_result(pack::sign(filename, signing.proof()).string()); });
}
