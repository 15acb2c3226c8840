// Trees of links.
#include <fussy/link_tree.hpp>

#include "guard.hpp"

using namespace fussy;
using namespace fussy::capi;

namespace {

link_tree_options options_of(int32_t kind, uint32_t bits) {
  constexpr uint32_t known = FUSSY_LINK_RELATIVE | FUSSY_LINK_PRUNE | FUSSY_LINK_BACKUP | FUSSY_LINK_DRY_RUN;
  link_tree_options options;
  switch (kind) {
    case FUSSY_LINK_SYMBOLIC:
      options.kind = link_kind::symbolic;
      break;
    case FUSSY_LINK_HARD:
      options.kind = link_kind::hard;
      break;
    case FUSSY_LINK_COPY:
      options.kind = link_kind::copy;
      break;
    default:
      refuse("fussy_link_tree", "there is no such kind", "pass FUSSY_LINK_SYMBOLIC, _HARD or _COPY");
  }
  if ((bits & ~known) != 0) refuse("fussy_link_tree", "there is no such option", "pass bits of FUSSY_LINK_...");
  options.relative = (bits & FUSSY_LINK_RELATIVE) != 0;
  options.prune = (bits & FUSSY_LINK_PRUNE) != 0;
  options.backup = (bits & FUSSY_LINK_BACKUP) != 0;
  options.dry_run = (bits & FUSSY_LINK_DRY_RUN) != 0;
  return options;
}

}  // namespace

int32_t fussy_link_tree(const char* distribution, const char* target, int32_t kind, uint32_t bits,
                        fussy_link_counts* counts, fussy_report* report) {
  fussy_report full = FUSSY_REPORT_INIT;
  const int32_t status = guarded(
      [&] {
        if (distribution == nullptr || target == nullptr)
          refuse("fussy_link_tree", "distribution or target is missing", "pass two directories");
        const link_tree_report done = link_tree(distribution, target, options_of(kind, bits));
        fussy_link_counts all = {
            0, 0, done.created, done.updated, done.unchanged, done.pruned, done.directories, done.backed_up};
        publish(counts, all);
        copy_text(full.path, target);
      },
      [&](const problem& p) { describe(full, p); });
  publish(report, full);
  return status;
}
