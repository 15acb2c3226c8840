// Which directories below a place take the most space: four processes and a table, one expression.
// usage: busiest-directories [DIRECTORY]
#include <fussy/nbio.hpp>

#include <cstdio>
#include <iostream>

using namespace fussy::nbio;

int main(int argc, char** argv) try {
  const std::string place = argc > 1 ? argv[1] : ".";
  auto biggest =
      P({"du", "-x", "--max-depth=1", place}).err(to_null{}).any_exit()  // what may not be read is no failure
      | P({"sort", "-rn"}) | P({"head", "-n", "5"});
  for (const view line : std::move(biggest).lines()) {
    const std::size_t tab = line.find('\t');
    std::cout << line.substr(tab + 1) << ": " << line.substr(0, tab) << " KiB\n";
  }
} catch (const fussy::error& e) {
  std::cerr << e.what() << '\n';
  return fussy::exit_status(e.code());
}
