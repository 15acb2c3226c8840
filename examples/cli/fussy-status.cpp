// fussy-status: what a target holds, at a glance or as JSON.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fussy/install.hpp>

#include <nlohmann/json.hpp>

#include "common.hpp"

namespace {

using namespace fussy;

std::string human(std::uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string roles(const install::version_status& v) {
  std::string text;
  const auto add = [&](bool is, const char* role) {
    if (is) text += (text.empty() ? "" : ", ") + std::string(role);
  };
  add(v.current, "current");
  add(v.previous, "previous");
  add(v.failsafe, "failsafe");
  return text;
}

std::string in_flight(const install::status_report& s) {
  if (s.journal_damaged) return "the journal is damaged; fussy-recover decides";
  if (!s.in_flight) return "nothing";
  const std::string what = fmt::format("{} ({})", cli::printable(s.in_flight->version), name(s.in_flight->at));
  return s.busy ? what + ", being worked on" : what + ", interrupted: run fussy-recover";
}

void print_for_people(const install::status_report& s) {
  const auto row = [](const char* label, const std::string& value) {
    cli::print_line(stdout, fmt::format("{:<10}{}", label, value.empty() ? "none" : cli::printable(value)));
  };
  row("target", s.target.string());
  row("current", s.current);
  row("previous", s.previous);
  row("failsafe", s.failsafe);
  row("in flight", in_flight(s));
  if (s.busy) row("busy", *s.busy != 0 ? fmt::format("PID {} works on it", *s.busy) : "another command works on it");
  if (s.staging != 0) row("staging", human(s.staging));
  if (s.versions.empty()) return;
  std::size_t width = 7;
  for (const auto& v : s.versions) width = std::max(width, cli::printable(v.name).size());
  cli::print_line(stdout, fmt::format("\n{:<{}}  {:>10}  {:>10}  {:>8}  {:<19}  {}", "version", width, "own", "shared",
                                      "files", "installed (UTC)", "role"));
  for (const auto& v : s.versions) {
    cli::print_line(stdout, fmt::format("{:<{}}  {:>10}  {:>10}  {:>8}  {:%Y-%m-%d %H:%M:%S}  {}",
                                        cli::printable(v.name), width, human(v.own), human(v.shared), v.files,
                                        fmt::gmtime(v.installed.time_since_epoch().count()), roles(v)));
  }
}

nlohmann::ordered_json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

void print_json(const install::status_report& s) {
  nlohmann::ordered_json json{{"target", s.target.string()},
                              {"current", text_or_null(s.current)},
                              {"previous", text_or_null(s.previous)},
                              {"failsafe", text_or_null(s.failsafe)},
                              {"in_flight", nullptr},
                              {"journal_damaged", s.journal_damaged},
                              {"busy_pid", nullptr},
                              {"staging_bytes", s.staging},
                              {"versions", nlohmann::ordered_json::array()}};
  if (s.in_flight) json["in_flight"] = {{"version", s.in_flight->version}, {"step", name(s.in_flight->at)}};
  if (s.busy) json["busy_pid"] = *s.busy;
  for (const auto& v : s.versions) {
    json["versions"].push_back({{"name", v.name},
                                {"path", v.path.string()},
                                {"current", v.current},
                                {"previous", v.previous},
                                {"failsafe", v.failsafe},
                                {"own_bytes", v.own},
                                {"shared_bytes", v.shared},
                                {"files", v.files},
                                {"installed", v.installed.time_since_epoch().count()}});
  }
  // A name that is no UTF-8 gets U+FFFD where it is not: JSON has nothing else for it.
  cli::print_line(stdout, json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace

int main(int argc, char** argv) {
  cli::command command(
      "fussy-status",
      "Show the versions of a target: which is current, previous, failsafe, how large they are, and what is "
      "in flight. Changes nothing.",
      "Example:\n  fussy-status -t /opt/firmware --json");
  std::string target = "/opt/firmware";
  bool json = false;
  command.app.add_option("-t,--target,target", target, "Directory of the versions")
      ->type_name("DIR")
      ->capture_default_str();
  command.app.add_flag("--json", json, "Print one JSON object; sizes in bytes, times in seconds since 1970");

  return command.run(argc, argv, [&] {
    const install::status_report s = install::status(target);
    json ? print_json(s) : print_for_people(s);
    if (std::fflush(stdout) != 0) throw system_error("cannot write to standard output", errno);
  });
}
