// fussy-status: what a target holds, at a glance or as JSON.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fussy/install.hpp>

#include "events.hpp"

namespace {

using namespace fussy;

std::string roles(const install::version_status& v) {
  std::string text;
  const auto add = [&](bool is, const char* role) {
    if (is) text += (text.empty() ? "" : ", ") + std::string(role);
  };
  add(v.current, "current");
  add(v.previous, "previous");
  add(v.failsafe, "failsafe");
  add(v.failed, "failed");
  return text;
}

class page {
public:
  void print(const install::status_report& s) {
    row("target", cli::printable(s.target.string()));
    row("current",
        s.current.empty() ? paint_.yellow("none, nothing is live") : paint_.green(cli::printable(s.current)));
    row("previous", s.private_hidden ? not_known : or_none(s.previous));
    row("failsafe", or_none(s.failsafe));
    row("in flight", in_flight(s));
    if (s.busy) row("busy", *s.busy != 0 ? "PID " + std::to_string(*s.busy) + " works on it" : "a command works on it");
    if (s.staging >= worth_mentioning) row("private", cli::human_size(s.staging) + " below .fussy");
    if (!s.versions.empty()) print_versions(s.versions);
    print_warning(s);
  }

private:
  static constexpr std::uint64_t worth_mentioning = 1 << 20;  // the lock and empty directories always are there

  void row(const char* label, const std::string& text) { line(paint_.bold(cli::left(label, 11)) + text); }
  static void line(const std::string& text) { cli::print_line(stdout, text); }
  static constexpr const char* not_known = "not known, who runs this may not look into .fussy";
  static std::string or_none(const std::string& name) { return name.empty() ? "none" : cli::printable(name); }

  std::string in_flight(const install::status_report& s) const {
    if (s.private_hidden) return not_known;
    if (s.journal_damaged) return paint_.yellow("the journal is damaged");
    if (!s.in_flight) return "nothing";
    const std::string what = cli::printable(s.in_flight->version) + " (" + std::string(name(s.in_flight->at)) + ")";
    return s.busy ? what : paint_.yellow(what + ", interrupted");
  }

  void print_versions(const std::vector<install::version_status>& versions) {
    std::size_t width = 7;
    for (const auto& v : versions) width = std::max(width, cli::width_of(cli::printable(v.name)));
    const auto columns = [&](const std::string& name, const std::string& own, const std::string& shared,
                             const std::string& files, const std::string& installed) {
      return cli::left(name, width) + "  " + cli::right(own, 10) + "  " + cli::right(shared, 10) + "  " +
             cli::right(files, 7) + "  " + cli::left(installed, 16) + "  ";
    };
    line("");
    line(paint_.bold(columns("version", "own", "shared", "files", "installed (UTC)") + "role"));
    for (const auto& v : versions) {
      const std::string text =
          columns(cli::printable(v.name), cli::human_size(v.own), cli::human_size(v.shared), std::to_string(v.files),
                  fmt::format("{:%Y-%m-%d %H:%M}", fmt::gmtime(v.installed.time_since_epoch().count())));
      line(v.current ? paint_.green(text + roles(v)) : v.failed ? paint_.yellow(text + roles(v)) : text + roles(v));
    }
  }

  // Last, where it is read.
  void print_warning(const install::status_report& s) const {
    const char* text = nullptr;
    if ((s.in_flight || s.journal_damaged) && !s.busy)
      text = "an install was interrupted; run fussy-recover to finish or undo it";
    else if (s.current.empty() && !s.versions.empty() && !s.busy)
      text = "no version is live; enable one with fussy-install -u VERSION";
    if (text) line("\n" + paint_.yellow("warning:") + " " + text);
  }

  cli::paint paint_{STDOUT_FILENO};
};

void print_json(const install::status_report& s) {
  cli::json json{{"target", s.target.string()},
                 {"current", cli::text_or_null(s.current)},
                 {"previous", cli::text_or_null(s.previous)},
                 {"failsafe", cli::text_or_null(s.failsafe)},
                 {"in_flight", nullptr},
                 {"private", !s.private_hidden},
                 {"journal_damaged", s.private_hidden ? cli::json() : cli::json(s.journal_damaged)},
                 {"busy_pid", nullptr},
                 {"staging_bytes", s.private_hidden ? cli::json() : cli::json(s.staging)},
                 {"versions", cli::json::array()}};
  if (s.in_flight) json["in_flight"] = {{"version", s.in_flight->version}, {"step", name(s.in_flight->at)}};
  if (s.busy) json["busy_pid"] = *s.busy;
  for (const auto& v : s.versions) {
    json["versions"].push_back({{"name", v.name},
                                {"path", v.path.string()},
                                {"current", v.current},
                                {"previous", v.previous},
                                {"failsafe", v.failsafe},
                                {"failed", v.failed},
                                {"own_bytes", v.own},
                                {"shared_bytes", v.shared},
                                {"files", v.files},
                                {"installed", v.installed.time_since_epoch().count()}});
  }
  cli::print_line(stdout, cli::dump(json, 2));
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
    json ? print_json(s) : page().print(s);
    cli::flush_result();
  });
}
