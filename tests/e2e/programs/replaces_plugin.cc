// replaces_plugin FIRST SECOND: memory leaked by a library that is gone, with another in its
// place.
#include <dlfcn.h>

#include <cstdio>

int main(int, char** argv) {
  void* first = dlopen(argv[1], RTLD_NOW);
  using Leak = void* (*)();
  auto leak = reinterpret_cast<Leak>(dlsym(first, "LeakInFirst"));
  for (int i = 0; i < 5; ++i) leak();
  const void* was_at = reinterpret_cast<void*>(leak);
  dlclose(first);
  void* second = dlopen(argv[2], RTLD_NOW);
  std::puts(dlsym(second, "NeverCalled") == was_at ? "same place" : "another place");
}
