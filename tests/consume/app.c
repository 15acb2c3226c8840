/* A host program, small on purpose: it links, and the library it finds at run time is the one of the header. */
#include <fussy.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  if (fussy_version_number() != FUSSY_VERSION_NUMBER) return 1;
  if (strcmp(fussy_status_name(FUSSY_BUSY), "busy") != 0) return 2;
  printf("fussy %s\n", fussy_version());
  return 0;
}
