// fussy-pack: one directory becomes one signed package.
#include <fussy/pack.hpp>

#include "reporting.hpp"
#include "signing.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command("fussy-pack",
                       "Pack a directory into a signed, optionally encrypted package and print the package's path.",
                       "Example:\n  fussy-pack -r build/firmware-2.1 -x '*.pyc' -e C064B21C");
  std::string root = "firmware";
  std::string compress = "gzip";
  bool is_unsigned = false;
  pack::options options;
  cli::signing_options signing;
  cli::reporting says(command);
  command.app.add_option("-r,--root,root", root, "Directory to pack; its name becomes the version's name")
      ->type_name("DIR")
      ->capture_default_str();
  command.app.add_option("-x,--exclude", options.exclude, "Leave out what matches, as tar --exclude does (repeatable)")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
  command.app.add_flag("-u,--unsigned", is_unsigned, "Only make the archive; sign it elsewhere with fussy-sign");
  command.app.add_option("-t,--tarname", options.name, "Name of the file, without suffix (default: name of DIR)")
      ->type_name("NAME");
  command.app.add_option("-c,--compress", compress, "gzip (read by every fussy), zstd (faster and smaller) or bzip2")
      ->capture_default_str()
      ->check(CLI::IsMember({"gzip", "zstd", "bzip2"}));
  command.app.add_option("--level", options.level, "Level of the compression; 0 is its default")->type_name("N");
  command.app.add_flag("--root-owner", options.root_owner, "All files belong to root in the package");
  signing.add_to(command.app);

  return command.run(argc, argv, [&] {
    says.catch_signals();
    says.begin();
    options.sign = !is_unsigned;
    options.compression = compress == "zstd"    ? codec::format::zstd
                          : compress == "bzip2" ? codec::format::bzip2
                                                : codec::format::gzip;
    options.clamp_mtime = cli::source_date_epoch();
    options.log = [&](log_level level, std::string_view line) {
      command.log.write(says.verbose() ? std::max(level, log_level::info) : level, line);
    };
    options.progress = command.log.steps();
    options.stop = says.stop();
    options.proof = signing.proof(says.stop());
    const std::filesystem::path package = pack::pack(root, options);
    says.done(package.string(), cli::package_fields(package, options.sign));
  });
}
