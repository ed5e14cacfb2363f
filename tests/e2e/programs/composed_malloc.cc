// A host whose malloc is made of other calls of the family (COMPOSED_OF), as those are that
// align everything, or count what they hand out. Built without heldby. Exits with 9.
#include <malloc.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" void* __libc_malloc(std::size_t size);

static std::atomic<std::size_t> used{0};

extern "C" void* malloc(std::size_t size) {
#if COMPOSED_OF == 1
  void* block = nullptr;
  return posix_memalign(&block, 64, size) == 0 ? block : nullptr;
#elif COMPOSED_OF == 2
  return aligned_alloc(64, (size + 63) / 64 * 64);
#elif COMPOSED_OF == 3
  return valloc(size);
#else
  void* block = __libc_malloc(size);
  used += malloc_usable_size(block);
  return block;
#endif
}

int main() {
  std::vector<std::string> kept;
  for (std::size_t i = 0; i < 1000; ++i) kept.emplace_back(i, 'x');
  std::printf("%zu %d\n", kept.size(), COMPOSED_OF == 4 ? used > 0 : 0);
  std::fflush(stdout);
  return 9;
}
