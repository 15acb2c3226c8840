// fussy-install: verify, unpack, switch, or go back.
#include <fussy/install.hpp>

#include "dry_run.hpp"
#include "installing.hpp"

namespace {

using namespace fussy;

install::report install_package(cli::install_options& options) {
  return options.from_package(options.prepare(), [](auto&& package, const install::options& how) {
    return install::install(std::forward<decltype(package)>(package), how);
  });
}

install::report enable_version(cli::install_options& options) {
  return install::enable(options.package(), options.prepare());
}

}  // namespace

int main(int argc, char** argv) {
  cli::command command(
      "fussy-install",
      "Verify a package, unpack it beside the running version and make it live; go back when that fails. "
      "Prints the path of the installed version.",
      "Example:\n  fussy-install -k /etc/fussy/keys -t /opt/firmware firmware-2.1.tar.gz.gpg");
  cli::install_options options(command);
  bool unpacked = false, dry_run = false;
  options.add_package_to(command.app);
  options.add_to(command.app);
  command.app.add_flag("-u,--unpacked", unpacked, "FILE is a directory inside the target already: only enable it");
  command.app.add_flag("-n,--dry-run", dry_run, "Change nothing, say on stderr what would happen");

  return command.run(argc, argv, [&] {
    if (dry_run && unpacked)
      preview(options, install::dry_run_enable(options.package(), options.prepare()), true);
    else if (dry_run)
      preview(options, preview_of(options), true);
    else
      options.result(unpacked ? enable_version(options) : install_package(options));
  });
}
