// An executable that carries its allocator: what it does not define itself (reallocarray,
// operator new) is bound to a preloaded library, and must still end in this allocator. Built
// without heldby.
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main() {
  auto* block = static_cast<char*>(malloc(100));
  std::memset(block, 1, 100);
  block = static_cast<char*>(reallocarray(block, 50, 100));
  std::memset(block, 2, 5000);
  free(block);
  for (int i = 0; i < 10000; ++i) {
    auto* object = new char[300];
    object[299] = 1;
    free(object);  // not C++, but what happens where a library mixes them: one allocator, or a
                   // crash
  }
  std::puts("done");
}
