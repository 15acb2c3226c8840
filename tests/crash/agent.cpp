// A process to be killed, cut off and starved: does one thing to a target and ends with the exit status of a command.
//
//   agent install|stream|bytes PACKAGE KEYS TARGET     agent enable VERSION TARGET
//   agent clean TARGET                                 agent recover TARGET
#include <fussy/install.hpp>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  using namespace fussy;
  const auto argument = [&](int i) { return std::string(i < argc ? argv[i] : ""); };
  const std::string verb = argument(1);
  const bool with_package = verb == "install" || verb == "stream" || verb == "bytes";
  install::options how{.target = argument(with_package ? 4 : verb == "enable" ? 3 : 2)};
  how.keyring = argument(3);
  how.hook_timeout = std::chrono::seconds(30);
  how.log = [](log_level level, std::string_view line) {
    std::fprintf(stderr, "%s %.*s\n", name(level), static_cast<int>(line.size()), line.data());
  };
  try {
    if (verb == "install")
      install::install(std::filesystem::path(argument(2)), how);
    else if (verb == "bytes")
      install::install_bytes(std::filesystem::path(argument(2)), how);
    else if (verb == "stream")
      install::install(any_reader(file_reader(std::filesystem::path(argument(2)))), how);
    else if (verb == "enable")
      install::enable(argument(2), how);
    else if (verb == "clean")
      install::clean(how);
    else if (verb == "recover")
      install::recover(how);
    else
      return 2;
    return 0;
  } catch (const error& e) {
    std::fprintf(stderr, "%s: %s\n", name(e.code()), e.what());
    return exit_status(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "exception: %s\n", e.what());
    return 99;
  }
}
