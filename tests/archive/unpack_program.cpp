// Unpacks a package, for tests that need a process of its own: its end at any time, its memory. Says the peak of that
// in KiB.
//   unpack_program PACKAGE DIRECTORY [SHARE_WITH]
#include <fussy/archive.hpp>

#include <cstdio>
#include <fstream>
#include <string>

using namespace fussy;

namespace {

// Of this program alone; getrusage(2) counts what its parent had before the exec.
long peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6));
  return 0;
}

}  // namespace

int main(int count, char** words) try {
  if (count < 3) return exit_status(errc::usage);
  archive::extract_options opts{.limit = {.max_ratio = 0}};
  unique_fd share;
  if (count > 3) {
    share = open_file(words[3], O_RDONLY | O_DIRECTORY);
    opts.share_with = share.get();
  }
  archive::extract(file_reader(std::filesystem::path(words[1])), open_file(words[2], O_RDONLY | O_DIRECTORY), opts);
  std::printf("peak %ld\n", peak_memory());
  return 0;
} catch (const error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return exit_status(e.code());
}
