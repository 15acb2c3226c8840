/* On a library without packing, pipes and migrations: what was left out says so, what is left does the main job. */
#include <fussy.h>
#include <stdio.h>

int main(int argc, char** argv) {
  const uint32_t optional = FUSSY_FEATURE_PACK | FUSSY_FEATURE_PIPES | FUSSY_FEATURE_MIGRATIONS;
  fussy_session* session = NULL;
  fussy_pipe* pipe = NULL;
  fussy_report report = FUSSY_REPORT_INIT;
  if (argc != 4) return 64;
  if ((fussy_features() & optional) != 0) return 1;
  if (fussy_pipe_new(&pipe) != FUSSY_UNSUPPORTED || pipe != NULL) return 2;
  if (fussy_roll_back("/", "app", "app", NULL, NULL) != FUSSY_UNSUPPORTED) return 3;
  if (fussy_session_new(&session) != FUSSY_OK) return 4;
  if (fussy_session_pack(session, "/", NULL, 0) != FUSSY_UNSUPPORTED) return 5;
  if (fussy_session_sign(session, "/") != FUSSY_UNSUPPORTED) return 6;
  fussy_session_free(session);
  if (fussy_install(argv[1], argv[2], argv[3], &report) != FUSSY_OK) {
    fprintf(stderr, "%s\n", report.message);
    return 7;
  }
  printf("%s\n", report.version);
  return 0;
}
