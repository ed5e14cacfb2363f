// Replaces plain operator new and delete only, and allocates by new[], which stays somebody
// else's. With ADDRESS it replaces nothing, but takes operator new's address, which in an
// executable that is not position-independent makes every operator look like the executable's
// own.
#include <cstdio>
#include <cstdlib>
#include <new>

#ifndef ADDRESS
void* operator new(std::size_t size) {
  if (void* block = std::malloc(size)) return block;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
#endif

__attribute__((noinline)) char* HoldByArrayNew() { return new char[1 << 20]; }

int main() {
#ifdef ADDRESS
  void* (*volatile address)(std::size_t) = &::operator new;
  if (address == nullptr) return 1;
#endif
  for (int i = 0; i < 100; ++i) {
    char* volatile held = HoldByArrayNew();
    held[0] = 1;
  }
  std::puts("done");
}
