// fussy-unpack: verify a package and unpack it somewhere to look at.
#include <fussy/install.hpp>

#include "base/temporary.hpp"
#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-unpack",
      "Verify a package and unpack it into a fresh directory, whose path is printed. Nothing is installed.",
      "Example:\n  ls \"$(fussy-unpack -k /etc/fussy/keys firmware-2.1.tar.gz.gpg)\"");
  cli::install_options options(command);
  options.add_package_to(command.app);

  return command.run(argc, argv, [&] {
    const install::options how = options.prepare();
    base::temporary_directory room("unpacked");
    const auto report = options.from_package(how, [&](auto&& package, const install::options& o) {
      return install::unpack(std::forward<decltype(package)>(package), room.path(), o);
    });
    options.result(report);
    room.keep();
  });
}
