// Runs a command with a deadline and prefixes what it says, from an event loop of the host that has other work.
// usage: deadline MILLISECONDS COMMAND
#include <fussy/nbio.hpp>

#include <poll.h>

#include <cstdlib>
#include <iostream>

using namespace fussy::nbio;

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: deadline MILLISECONDS COMMAND\n";
    return 2;
  }
  job running =
      (P(argv[2]).new_group().err(to_stdout{}) | by_line() | [](view line) { std::cout << "| " << line << std::endl; })
          .timeout(ms(std::atoi(argv[1])))
          .start();
  while (!running.step()) {
    pollfd ready{running.fd(), POLLIN, 0};  // the host's own descriptors would stand beside it
    if (::poll(&ready, 1, -1) < 0 && errno != EINTR) return 2;
  }
  const result r = running.wait();
  r.check();
} catch (const fussy::error& e) {
  std::cerr << e.what() << '\n';
  return fussy::exit_status(e.code());
}
