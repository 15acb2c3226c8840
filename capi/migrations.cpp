// Rolling migrations back; in a build without, the function is there and says so.
#include "guard.hpp"

#ifdef FUSSY_WITH_MIGRATIONS
#include <fussy/migrations.hpp>
#endif

using namespace fussy;
using namespace fussy::capi;

namespace {

/// The end of what a command wrote, which says most.
[[maybe_unused]] void keep_output(fussy_report& report, std::string_view text) noexcept {
  if (text.size() >= sizeof report.output) text.remove_prefix(text.size() - sizeof report.output + 1);
  copy_text(report.output, text);
}

#ifdef FUSSY_WITH_MIGRATIONS
void roll_back(const char* final_target, const char* application, const char* path, const char* admin,
               fussy_report& report) {
  const auto step = migrations::find_rollback(final_target, {application, path});
  if (!step) return;
  copy_text(report.version, step->migration);
  if (admin != nullptr) keep_output(report, migrations::roll_back(*step, migrations::django(admin)));
}
#else
void roll_back(const char*, const char*, const char*, const char*, fussy_report&) {
  throw error(errc::unsupported, {.what = "cannot roll back",
                                  .why = "this library was built without migrations",
                                  .remedy = "build it with -Dmigrations=true"});
}
#endif

}  // namespace

int32_t fussy_roll_back(const char* final_target, const char* application, const char* path, const char* admin,
                        fussy_report* report) {
  fussy_report full = FUSSY_REPORT_INIT;
  const int32_t status = guarded(
      [&] {
        if (final_target == nullptr || application == nullptr || path == nullptr)
          refuse("fussy_roll_back", "version, application or path is missing", "pass all three");
        roll_back(final_target, application, path, admin, full);
      },
      [&](const problem& p) { describe(full, p); });
  publish(report, full);
  return status;
}
