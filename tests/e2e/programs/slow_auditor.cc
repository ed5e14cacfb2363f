// For LD_AUDIT: loading libheldby-server.so takes three seconds.
#include <link.h>
#include <string.h>
#include <unistd.h>

extern "C" unsigned la_version(unsigned version) { return version; }

extern "C" unsigned la_objopen(struct link_map* map, Lmid_t, uintptr_t*) {
  if (strstr(map->l_name, "libheldby-server") != nullptr) sleep(3);
  return 0;
}
