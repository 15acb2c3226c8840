// fussy-inspect: what a package is, who signed it, what it would change.
#include <fussy/install.hpp>

#include <map>

#include "policy.hpp"
#include "previewing.hpp"
#include "reporting.hpp"

namespace {

using namespace fussy;
using archive::change;
using archive::entry_info;

const std::string default_target = "/opt/firmware";

struct options {
  std::string package, target;
  std::vector<std::string> allowed;
  install::options how;
  bool json = false, tree = false;
  bool printed = false;  // what was asked for stands on stdout
};

void add_options(CLI::App& app, options& o) {
  app.add_option("-f,--file,file", o.package, "The package")->type_name("FILE")->required();
  app.add_option("-k,--keyring", o.how.keyring, "Directory or file of the trusted keys")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("-t,--target", o.target,
                 "Compare with the live version there (default: " + default_target + ", if there is one)")
      ->type_name("DIR");
  app.add_option("--max-ratio", o.how.limits.max_ratio,
                 "Refuse more than 64 MiB that unpack from less than one part in N; 0: never")
      ->type_name("N")
      ->check(cli::zero_or_more())
      ->capture_default_str();
  cli::add_policy_to(app, o.how.policy, o.allowed);
  app.add_flag("--tree", o.tree, "Show everything that is in it, not only the top");
  app.add_flag("--json", o.json, "Print one JSON object; sizes in bytes, times in seconds since 1970");
}

/// A target that nobody named is compared with where there is one: a vendor's machine has none.
void choose_target(options& o) {
  std::error_code ignored;
  o.how.target = o.target;
  if (o.target.empty() && std::filesystem::exists(default_target, ignored)) o.how.target = default_target;
  if (!o.target.empty()) static_cast<void>(install::posix_view(o.how.target));  // it must be there
}

std::string verdict_word(const openpgp::signature_info& s) {
  return !s.verdict ? "unchecked" : *s.verdict == errc::success ? "valid" : name(*s.verdict);
}

// ---- For programs ----------------------------------------------------------------------------------------------------

const char* name(entry_info::kind type) {
  switch (type) {
    case entry_info::kind::directory:
      return "directory";
    case entry_info::kind::file:
      return "file";
    case entry_info::kind::symbolic_link:
      return "symbolic link";
    case entry_info::kind::hard_link:
      return "hard link";
  }
  return "unknown";
}

cli::json message_fields(const openpgp::message_info& m) {
  cli::json signatures = cli::json::array(), recipients = cli::json::array();
  for (const auto& s : m.signatures)
    signatures.push_back({{"key", s.key},
                          {"user_id", cli::text_or_null(s.user_id)},
                          {"algorithm", cli::text_or_null(s.algorithm)},
                          {"created", s.created ? cli::json(s.created->time_since_epoch().count()) : cli::json()},
                          {"verdict", verdict_word(s)},
                          {"why", cli::text_or_null(s.why)}});
  for (const auto& r : m.recipients)
    recipients.push_back({{"key", cli::text_or_null(r.key)}, {"algorithm", r.algorithm}, {"ours", r.ours}});
  return {{"signatures", signatures},
          {"encrypted", m.encrypted},
          {"recipients", recipients},
          {"passphrase", m.passphrase},
          {"cipher", cli::text_or_null(m.cipher)},
          {"protection", cli::text_or_null(m.protection)},
          {"message_compression", m.compression},
          {"armored", m.armored}};
}

cli::json entry_fields(const entry_info& e) {
  return {{"path", e.path},
          {"type", name(e.type)},
          {"mode", e.mode},
          {"size", e.size},
          {"mtime", e.mtime},
          {"link", cli::text_or_null(e.link)},
          {"becomes", e.becomes ? cli::json(archive::name(*e.becomes)) : cli::json()}};
}

void print_json(const options& o, const install::inspection& seen, const std::vector<entry_info>& entries) {
  cli::json all{{"package", seen.package.string()}, {"size", seen.size}, {"proven", !seen.signers.empty()}};
  all.update(message_fields(seen.message));
  all["signers"] = cli::signers_field(seen.signers);
  all["content"] = seen.content ? cli::content_fields(seen) : cli::json();
  all["target"] = seen.version.empty() ? cli::json() : cli::target_fields(seen);
  all["error"] = seen.refused ? cli::error_fields(*seen.refused) : cli::json();
  if (o.tree) {
    all["tree"] = cli::json::array();
    for (const entry_info& e : entries) all["tree"].push_back(entry_fields(e));
  }
  cli::print_result(cli::dump(all, 2));
}

// ---- For people ------------------------------------------------------------------------------------------------------

class page {
public:
  void print(const install::inspection& seen) {
    row("package", seen.package.string());
    row("size", cli::human_size(seen.size) + " packed" +
                    (seen.content ? ", " + cli::human_size(seen.content->bytes) + " unpacked" : ""));
    row("proof", seen.signers.empty()
                     ? paint_.red("none, this package must not be trusted")
                     : paint_.green(seen.signers.size() == 1 ? "signed by a trusted key" : "signed by trusted keys"));
    print_signatures(seen.message);
    print_encryption(seen.message);
    if (seen.content) print_content(seen);
    if (!seen.version.empty()) print_target(seen);
  }

  /// Everything, in the order of names.
  void print_tree(std::vector<entry_info> entries) {
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    line("");
    for (const entry_info& e : entries) {
      const std::string size = e.type == entry_info::kind::file ? cli::human_size(e.size) : "";
      line(marked(e.becomes, mode_text(e) + " " + cli::right(size, 10) + "  " + cli::printable(e.path) +
                                 (e.type == entry_info::kind::directory ? "/" : "") + link_text(e)));
    }
    legend(entries);
  }

  /// What stands right below the root, directories with all that is in them.
  void print_top(const std::vector<entry_info>& entries) {
    struct sum {
      std::uint64_t files = 0, bytes = 0;
      bool directory = false, changes = false;
      std::string link;
    };
    std::map<std::string, sum> top;
    for (const entry_info& e : entries) {
      const std::size_t slash = e.path.find('/');
      if (slash == std::string::npos) continue;
      const std::string rest = e.path.substr(slash + 1);
      sum& s = top[rest.substr(0, rest.find('/'))];
      s.directory |= rest.find('/') != std::string::npos || e.type == entry_info::kind::directory;
      s.changes |= e.becomes && *e.becomes != change::unchanged;
      if (e.type == entry_info::kind::directory || e.becomes == change::removed) continue;
      s.files += 1, s.bytes += e.size;
      s.link = link_text(e);
    }
    line("");
    std::size_t shown = 0;
    for (const auto& [name, s] : top) {
      if (++shown > most_shown) break;
      line("  " + cli::right(cli::human_size(s.bytes), 10) + "  " + cli::printable(name) +
           (s.directory ? "/  " + paint_.dim(cli::counted(s.files, "file", "files")) : s.link));
    }
    if (top.size() > most_shown)
      line("  " + std::to_string(top.size() - most_shown) + " more; --tree shows everything");
  }

private:
  static constexpr std::size_t most_shown = 24;

  static void line(const std::string& text) { cli::print_line(stdout, text); }
  /// @param text  painted perhaps, and printable
  void row(const std::string& label, const std::string& text) {
    line(paint_.bold(cli::left(label == last_ ? "" : label, 13)) + text);
    last_ = label;
  }

  void print_signatures(const openpgp::message_info& m) {
    if (m.signatures.empty()) row("signature", m.encrypted ? "none that can be seen" : "none");
    for (const auto& s : m.signatures) {
      const bool valid = s.verdict == errc::success;
      const std::string word = cli::left(verdict_word(s), 10);
      row("signature", (valid       ? paint_.green(word)
                        : s.verdict ? paint_.red(word)
                                    : paint_.yellow(word)) +
                           " " + cli::printable(s.key) + (s.user_id.empty() ? "" : "  " + cli::printable(s.user_id)));
      row("signature", std::string(11, ' ') + s.algorithm +
                           (s.created ? ", made " + cli::time_text(*s.created).substr(0, 10) : "") +
                           (s.why.empty() ? "" : "; " + cli::printable(s.why)));
    }
  }

  void print_encryption(const openpgp::message_info& m) {
    if (!m.encrypted) return row("encryption", "none");
    row("encryption", (m.cipher.empty() ? "" : m.cipher + ", ") + m.protection);
    for (const auto& r : m.recipients)
      row("recipient", (r.key.empty() ? "hidden" : r.key) + "  " + r.algorithm + (r.ours ? "  (our key)" : ""));
    if (m.passphrase) row("recipient", "whoever knows a passphrase");
  }

  void print_content(const install::inspection& seen) {
    const archive::surveyed& c = *seen.content;
    std::string compression = c.compression;
    for (const std::string& outer : seen.message.compression) compression += ", " + outer + " around it";
    row("compression", compression);
    row("contents", cli::counted(c.files, "file", "files") + ", " + cli::counted(c.links, "link", "links") + ", " +
                        cli::counted(c.directories, "directory", "directories"));
    row("hooks", cli::hooks_text(seen));
  }

  void print_target(const install::inspection& seen) {
    line("");
    row("target", cli::printable(seen.path.parent_path().string()));
    for (const auto& [label, text] : cli::target_rows(seen)) row(label, cli::printable(text));
    if (seen.interrupted) row("warning", paint_.yellow("an install was interrupted here: run fussy-recover"));
    if (seen.hindrance) row("warning", paint_.yellow(cli::printable(seen.hindrance->what())));
  }

  std::string marked(const std::optional<change>& becomes, const std::string& text) const {
    if (!becomes || *becomes == change::unchanged) return "  " + text;
    switch (*becomes) {
      case change::added:
        return paint_.green("+ " + text);
      case change::removed:
        return paint_.red("- " + text);
      default:
        return paint_.yellow((*becomes == change::touched ? "t " : "* ") + text);
    }
  }
  static void legend(const std::vector<entry_info>& entries) {
    if (std::any_of(entries.begin(), entries.end(), [](const auto& e) { return e.becomes > change::added; }))
      line("\n+ added, * changed, t equal content but other mode, owner or time, - removed");
  }
  static std::string mode_text(const entry_info& e) {
    std::string text = e.type == entry_info::kind::directory       ? "d"
                       : e.type == entry_info::kind::symbolic_link ? "l"
                                                                   : "-";
    for (int bit = 8; bit >= 0; --bit) text += (e.mode >> bit & 1) != 0 ? "xwr"[bit % 3] : '-';
    if ((e.mode & 04000) != 0) text[3] = 's';
    if ((e.mode & 02000) != 0) text[6] = 's';
    if ((e.mode & 01000) != 0) text[9] = 't';
    return text;
  }
  static std::string link_text(const entry_info& e) {
    if (e.link.empty()) return "";
    return (e.type == entry_info::kind::hard_link ? " = " : " -> ") + cli::printable(e.link);
  }

  cli::paint paint_{STDOUT_FILENO};
  std::string last_;
};

void print(const options& o, const install::inspection& seen, const std::vector<entry_info>& entries) {
  page p;
  p.print(seen);
  if (!seen.content) return;
  o.tree ? p.print_tree(entries) : p.print_top(entries);
}

// ---- The command -----------------------------------------------------------------------------------------------------

/// Errors as the one object that was asked for, unless it has them already.
class one_object : public cli::listener {
public:
  explicit one_object(const bool& printed) : printed_(printed) {}
  void log(log_level, std::string_view) override {}
  void step(const progress&) override {}
  void failure(const error& e) override {
    if (!printed_) cli::print_line(stdout, cli::dump({{"error", cli::error_fields(e)}}, 2));
  }

private:
  const bool& printed_;
};

void inspect(options& o, cli::logger& log) {
  if (o.package == "-")
    throw error(errc::usage, {.what = "cannot look into standard input",
                              .why = "a package is read twice, to be proven first",
                              .remedy = "save it to a file, and name that"});
  choose_target(o);
  o.how.policy.allowed = cli::fingerprints(o.allowed);
  const cli::interrupts interrupts(log);
  if (!o.json && cli::is_terminal(STDERR_FILENO)) log.show_steps(cli::looking_words);
  o.how.log = log.sink();
  o.how.progress = log.steps();
  o.how.stop = interrupts.token();
  std::vector<entry_info> entries;
  const install::inspection seen =
      install::inspect(o.package, o.how, [&](const entry_info& e) { entries.push_back(e); });
  log.end_steps();
  o.json ? print_json(o, seen, entries) : print(o, seen, entries);
  cli::flush_result();
  o.printed = true;
  if (seen.refused) throw error(*seen.refused);
}

}  // namespace

int main(int argc, char** argv) {
  cli::command command("fussy-inspect",
                       "Show who signed a package, for whom it is encrypted, what is in it, and what it would change. "
                       "Changes nothing. What is in a package that no trusted key has signed is not looked at.",
                       "Example:\n  fussy-inspect -k /etc/fussy/keys -t /opt/firmware firmware-2.1.tar.gz.gpg");
  options o;
  add_options(command.app, o);
  command.before_parsing = [&](const std::string& argument) {
    if (argument == "--json") command.log.tell(std::make_unique<one_object>(o.printed));
  };
  return command.run(argc, argv, [&] { inspect(o, command.log); });
}
