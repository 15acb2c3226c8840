// fussy-install: verify, unpack, switch, or go back.
#include <fussy/install.hpp>

#include "common.hpp"
#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-install",
      "Verify a package, unpack it beside the running version and make it live; go back when that fails. "
      "Prints the path of the installed version.",
      "Example:\n  fussy-install -k /etc/fussy/keys -t /opt/firmware firmware-2.1.tar.gz.gpg");
  cli::install_options options;
  bool unpacked = false;
  options.add_package_to(command.app);
  options.add_to(command.app);
  command.app.add_flag("-u,--unpacked", unpacked, "FILE is a directory inside the target already: only enable it");

  return command.run(argc, argv, [&] {
    const install::options how = options.prepare(command.log);
    if (unpacked) {
      cli::print_result(install::enable(options.package(), how).path.string());
    } else {
      cli::print_result(options
                            .from_package(how,
                                          [](auto&& package, const install::options& o) {
                                            return install::install(std::forward<decltype(package)>(package), o);
                                          })
                            .path.string());
    }
  });
}
