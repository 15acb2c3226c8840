// enable VERSION TARGET: makes a version live, with its hooks, as an install does.
#include <fussy/install.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) return 99;
  try {
    const auto log = [](fussy::log_level, std::string_view line) {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
    };
    fussy::install::enable(argv[1], {.target = argv[2], .log = log});
    return 0;
  } catch (const fussy::error& e) {
    std::fprintf(stderr, "%s\n%s\n", e.what(), e.parts().output.c_str());
    return fussy::exit_status(e.code());
  }
}
