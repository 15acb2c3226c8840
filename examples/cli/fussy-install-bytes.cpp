// fussy-install-bytes: a package becomes a version of the target, which is not enabled.
#include <fussy/install.hpp>

#include "common.hpp"
#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-install-bytes",
      "Verify a package and unpack it into the target without making it live. Prints the new version's path.",
      "Example:\n  fussy-install -u \"$(fussy-install-bytes firmware-2.1.tar.gz.gpg)\"");
  cli::install_options options;
  options.add_package_to(command.app);
  options.add_to(command.app);

  return command.run(argc, argv, [&] {
    const install::options how = options.prepare(command.log);
    cli::print_result(options
                          .from_package(how,
                                        [](auto&& package, const install::options& o) {
                                          return install::install_bytes(std::forward<decltype(package)>(package), o);
                                        })
                          .path.string());
  });
}
