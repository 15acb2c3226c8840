// fussy-sign: sign on one machine what was packed on another, or what others have signed.
#include <fussy/pack.hpp>

#include "reporting.hpp"
#include "signing.hpp"

namespace {

std::string signing_words(fussy::phase p) { return p == fussy::phase::packing ? "signing" : name(p); }

}  // namespace

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-sign",
      "Sign an archive made with fussy-pack --unsigned and remove the unsigned one, or add a further signature to a\n"
      "package; print the package's path.",
      "Example:\n  fussy-sign -k vendor@example.com firmware-2.1.tar.gz");
  std::string filename;
  cli::signing_options signing;
  cli::reporting says(command);
  command.app
      .add_option("-f,--filename,filename", filename, "The archive, or a package that is signed and not encrypted")
      ->type_name("FILE")
      ->required();
  signing.add_to(command.app);

  return command.run(argc, argv, [&] {
    says.catch_signals();
    says.begin(signing_words);
    const pack::attention attention{.progress = command.log.steps(), .stop = says.stop()};
    const std::filesystem::path package = pack::sign(filename, signing.proof(says.stop()), attention);
    says.done(package.string(), cli::package_fields(package, true));
  });
}
