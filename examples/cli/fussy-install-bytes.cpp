// fussy-install-bytes: a package becomes a version of the target, which is not enabled.
#include <fussy/install.hpp>

#include "dry_run.hpp"
#include "installing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command(
      "fussy-install-bytes",
      "Verify a package and unpack it into the target without making it live. Prints the new version's path.",
      "Example:\n  fussy-install -u \"$(fussy-install-bytes firmware-2.1.tar.gz.gpg)\"");
  cli::install_options options(command);
  bool dry_run = false;
  options.add_package_to(command.app);
  options.add_to(command.app);
  command.app.add_flag("-n,--dry-run", dry_run, "Change nothing, say on stderr what would happen");

  return command.run(argc, argv, [&] {
    if (dry_run) return preview(options, preview_of(options), false);
    options.result(options.from_package(options.prepare(), [](auto&& package, const install::options& how) {
      return install::install_bytes(std::forward<decltype(package)>(package), how);
    }));
  });
}
