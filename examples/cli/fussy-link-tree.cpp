// fussy-link-tree: links from a system's directories into a distribution.
#include <signal.h>
#include <fussy/link_tree.hpp>

#include "common.hpp"

int main(int argc, char** argv) {
  using namespace fussy;
  cli::command command("fussy-link-tree",
                       "Link all files below a distribution directory into the same places below a target.",
                       "Example:\n  fussy-link-tree /opt/firmware/current/etc /etc");
  std::string distribution, target = "/";
  link_tree_options options;
  bool hard = false, copy = false, verbose = false;
  command.app.add_option("-d,--directory,directory", distribution, "The distribution")->type_name("DIR")->required();
  command.app.add_option("-t,--target,target", target, "Where the links are made (default: /)")->type_name("TARGET");
  auto* hard_flag = command.app.add_flag("-H,--hard", hard, "Make hard links; copies where there can be none");
  command.app.add_flag("-c,--copy", copy, "Make copies")->excludes(hard_flag);
  command.app.add_flag("-r,--relative", options.relative, "Make symbolic links with a relative text");
  command.app.add_flag("-b,--backup", options.backup, "Keep what is replaced as NAME.~1~, NAME.~2~ ...");
  command.app.add_flag("-p,--prune", options.prune, "Remove links made before whose source is gone");
  command.app.add_flag("-n,--dry-run", options.dry_run, "Change nothing, print what would be done");
  command.app.add_flag("-v,--verbose", verbose, "Print what is done");

  return command.run(argc, argv, [&] {
    ::signal(SIGPIPE, SIG_IGN);  // who reads may leave, and the tree is not left half made for that
    options.kind = hard ? link_kind::hard : copy ? link_kind::copy : link_kind::symbolic;
    const bool print = verbose || options.dry_run;
    if (print) options.on_step = [](const link_step& step) { cli::print_line(stdout, cli::printable(describe(step))); };
    const link_tree_report done = link_tree(distribution, target, options);
    if (!print) return;
    cli::print_line(stdout, std::to_string(done.created) + " created, " + std::to_string(done.updated) + " updated, " +
                                std::to_string(done.unchanged) + " unchanged, " + std::to_string(done.pruned) +
                                " pruned");
    if (options.dry_run) return cli::flush_result();
    command.log.tell_done([] { cli::flush_result(); });
  });
}
