/// @file events.hpp  What --json says: one JSON object for each event, on a line of its own on stdout.
///
///     {"event":"progress","time":…,"phase":"unpacking","done":1048576,"total":97615872}
///     {"event":"log","time":…,"level":"INFO","message":"…"}
///     {"event":"result","time":…, …}         the last line of a command that succeeded
///     {"event":"error","time":…,"code":"no_space","number":203,"exit_status":2, …}   … that failed
#pragma once

#include <signal.h>
#include <fussy/error.hpp>
#include <fussy/openpgp.hpp>

#include <chrono>
#include <nlohmann/json.hpp>

#include "common.hpp"

namespace fussy::cli {

using json = nlohmann::ordered_json;

/// Text in JSON is UTF-8; an octet that is none becomes U+FFFD.
inline std::string dump(const json& value, int indent = -1) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

inline json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

/// "2026-11-27T10:54:19.123Z"
inline std::string time_text(std::chrono::system_clock::time_point t) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(t);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count() % 1000;
  std::snprintf(text + n, sizeof text - n, ".%03dZ", static_cast<int>(ms));
  return text;
}

inline json error_fields(const error& e) {
  json fields{{"code", name(e.code())},
              {"number", static_cast<int>(e.code())},
              {"exit_status", exit_status(e.code())},
              {"message", e.what()},
              {"what", e.parts().what},
              {"why", text_or_null(e.parts().why)},
              {"remedy", text_or_null(e.parts().remedy)},
              {"path", text_or_null(e.parts().path)},
              {"cause", name(e.cause())}};
  if (!e.parts().version.empty()) fields["version"] = e.parts().version;
  if (!e.parts().live.empty()) fields["live"] = e.parts().live;
  if (!e.parts().output.empty()) fields["output"] = e.parts().output;
  return fields;
}

inline json signers_field(const std::vector<openpgp::signer>& signers) {
  json all = json::array();
  for (const auto& s : signers)
    all.push_back({{"key", s.key.hex()},
                   {"primary", s.primary.hex()},
                   {"user_id", text_or_null(s.user_id)},
                   {"created", s.created.time_since_epoch().count()},
                   {"algorithm", s.algorithm}});
  return all;
}

/// Writes the events. Who reads them may go away in the middle of an install: that must not end it.
class event_writer : public listener {
public:
  event_writer() { ::signal(SIGPIPE, SIG_IGN); }

  void log(log_level level, std::string_view line) override { put("log", {{"level", name(level)}, {"message", line}}); }
  void step(const progress& p) override {
    put("progress", {{"phase", name(p.at)}, {"done", p.done}, {"total", p.total > 0 ? json(p.total) : json()}});
  }
  void failure(const error& e) override { put("error", error_fields(e)); }
  /// @return whether it was written
  static bool result(const json& fields) { return put("result", fields); }

private:
  static bool put(const char* event, const json& fields) {
    json line{{"event", event}, {"time", time_text(std::chrono::system_clock::now())}};
    line.update(fields);
    print_line(stdout, dump(line));
    return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  }
};

}  // namespace fussy::cli
