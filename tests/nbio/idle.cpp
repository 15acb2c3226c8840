// For idle.py: one run whose processes do nothing for two seconds, with all that could be tempted to poll: ends of our
// own in the middle, captured error output, a deadline, a stage on a thread, a stop token.
#include <fussy/nbio.hpp>

#include <chrono>

using namespace fussy::nbio;
using namespace std::chrono_literals;

int main() {
  const auto copy = [](stage_reader& from, stage_writer& to) { fussy::copy(from, to); };
  std::stop_source stop;
  const bytes out =
      (P("exec sleep 2").err(capture{}) | on_thread(copy) | [](view v) { return bytes(v); } | P("cat; echo x"))
          .timeout(60s)
          .stop(stop.get_token())();
  return out == "x\n" ? 0 : 1;
}
