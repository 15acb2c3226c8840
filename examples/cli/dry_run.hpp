/// @file dry_run.hpp  fussy-install --dry-run and its like: say what would happen, on stderr; the path on stdout.
#pragma once

#include <fussy/install.hpp>

#include "installing.hpp"
#include "previewing.hpp"

namespace fussy::cli {

/// Adds a command's last remark to what an inspection found.
inline void preview(install_options& options, const install::inspection& seen, bool would_run_hooks) {
  if (options.says().json()) {
    json fields{{"dry_run", true}, {"version", seen.version}, {"path", seen.path.string()}};
    if (seen.content) {
      fields["signers"] = signers_field(seen.signers);
      fields["encrypted"] = seen.message.encrypted;
      fields["content"] = content_fields(seen);
      fields["target"] = target_fields(seen);
    } else {
      fields["current"] = text_or_null(seen.current);
      fields["hooks"] = {{"pre_install", seen.pre_install}, {"post_install", seen.post_install}};
    }
    return options.says().result("", fields);
  }
  options.says().log().end_steps();
  const auto row = [&](const std::string& label, const std::string& text) {
    options.says().log().remark("  " + left(label, 10) + text);
  };
  options.says().log().remark("nothing is changed; what would happen:");
  for (const auto& signer : seen.signers) row("signed by", signer.primary.hex() + " " + signer.user_id);
  if (seen.content)
    for (const auto& [label, text] : target_rows(seen)) row(label, text);
  else
    row("current", seen.current.empty() ? "none" : seen.current);
  row("hooks", would_run_hooks ? hooks_text(seen) : "none are run, it is not enabled");
  if (seen.interrupted) row("first", "recovery of an interrupted install, which may change the above");
  options.says().result(seen.path.string(), {});
}

/// @param package  the file; - is refused: a stream is gone when it has been looked at
inline install::inspection preview_of(install_options& options) {
  if (options.package() == "-")
    throw error(errc::unsupported, {.what = "cannot try an install from standard input",
                                    .why = "a stream can be read only once",
                                    .remedy = "save the package to a file first"});
  return install::dry_run(options.package(), options.prepare(looking_words));
}

}  // namespace fussy::cli
