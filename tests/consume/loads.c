/* Loads and unloads the library as a plugin host would: a C program without libstdc++ of its own. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char** argv) {
  int round;
  if (argc != 2) return 64;
  for (round = 0; round < 3; ++round) {
    const char* (*version)(void);
    void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    *(void**)&version = dlsym(library, "fussy_version");
    if (version == NULL) return 2;
    puts(version());
    if (dlclose(library) != 0) return 3;
  }
  return 0;
}
