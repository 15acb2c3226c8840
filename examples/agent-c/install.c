/* Installs one package: the smallest use of libfussy in a C99 agent.
 *
 *   cc -std=c99 install.c -lfussy -o install && ./install PACKAGE [KEYRING [TARGET]]
 */
#include <fussy.h>
#include <stdio.h>

int main(int argc, char **argv) {
  fussy_report report = FUSSY_REPORT_INIT;
  int32_t status;

  if (argc < 2 || argc > 4) {
    fprintf(stderr, "usage: %s PACKAGE [KEYRING [TARGET]]\n", argv[0]);
    return 2;
  }
  status = fussy_install(argv[1], argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL, &report);
  if (status != FUSSY_OK) {
    fprintf(stderr, "%s (%s): %s\n", argv[0], fussy_status_name(status), report.message);
    if (report.output[0] != '\0') fprintf(stderr, "the hook wrote:\n%s\n", report.output);
    return (int)fussy_status_exit_code(status);
  }
  printf("%s, signed by %s\n", report.path, report.signer);
  return 0;
}
