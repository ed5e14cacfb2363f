// What the malloc family answers to every request that it must refuse, and to those beside
// them: one line each, result and errno. Built without heldby, and linked with nothing but
// libc; the output must not depend on what is preloaded. "limit" as the first argument: under
// a limit of address space, until there is no more; "plain": without what some cannot answer.
#include <sys/resource.h>
#include <unistd.h>

#include <malloc.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

constexpr int kUntouched = 4711;

// Not a copy of the compiler's: it knows what these functions do.
void* (*volatile the_malloc)(std::size_t) = &malloc;
void* (*volatile the_calloc)(std::size_t, std::size_t) = &calloc;
void* (*volatile the_realloc)(void*, std::size_t) = &realloc;
void* (*volatile the_reallocarray)(void*, std::size_t, std::size_t) = &reallocarray;
void* (*volatile the_memalign)(std::size_t, std::size_t) = &memalign;
void* (*volatile the_aligned_alloc)(std::size_t, std::size_t) = &aligned_alloc;
int (*volatile the_posix_memalign)(void**, std::size_t, std::size_t) = &posix_memalign;
void* (*volatile the_valloc)(std::size_t) = &valloc;
void* (*volatile the_pvalloc)(std::size_t) = &pvalloc;

void Tell(const char* call, std::size_t a, std::size_t b, const void* block, int error) {
  std::printf("%s(%zx, %zx): %s, errno %d\n", call, a, b, block != nullptr ? "a block" : "null",
              error);
}

template <typename Call>
void* Ask(const char* name, std::size_t a, std::size_t b, const Call& call) {
  errno = kUntouched;
  void* block = call();
  // What errno is after a success is nobody's promise.
  Tell(name, a, b, block, block == nullptr ? errno : 0);
  return block;
}

constexpr std::size_t kSizes[] = {0,
                                  1,
                                  100,
                                  4096,
                                  1 << 20,
                                  PTRDIFF_MAX - 4096,
                                  PTRDIFF_MAX,
                                  std::size_t{PTRDIFF_MAX} + 1,
                                  SIZE_MAX - 4096,
                                  SIZE_MAX};
constexpr std::size_t kAlignments[] = {0,
                                       1,
                                       3,
                                       8,
                                       16,
                                       24,
                                       64,
                                       4096,
                                       5000,
                                       1 << 20,
                                       std::size_t{1} << 62,
                                       std::size_t{1} << 63,
                                       SIZE_MAX};

// Some allocators crash at what none has to accept, or leave pvalloc to libc.
void AskForEverything(bool odd) {
  for (const std::size_t size : kSizes) {
    free(Ask("malloc", size, 0, [=] { return the_malloc(size); }));
    free(Ask("valloc", size, 0, [=] { return the_valloc(size); }));
    if (odd) free(Ask("pvalloc", size, 0, [=] { return the_pvalloc(size); }));
    for (const std::size_t count : {0ul, 1ul, 3ul, 1ul << 62, SIZE_MAX / 2, SIZE_MAX}) {
      free(Ask("calloc", count, size, [=] { return the_calloc(count, size); }));
      free(Ask("reallocarray", count, size,
               [=] { return the_reallocarray(nullptr, count, size); }));
    }
    // A block that could not be made larger is what it was.
    void* block = the_malloc(50);
    std::memset(block, 'k', 50);
    void* moved = Ask("realloc", 50, size, [=] { return the_realloc(block, size); });
    if (moved == nullptr && size != 0) {
      std::printf("kept: %.3s\n", static_cast<const char*>(block));
      free(block);
    }
    free(moved);
    for (const std::size_t align : kAlignments) {
      const bool plain = align != 0 && (align & (align - 1)) == 0 && align <= 1 << 20;
      if (!plain && !odd) continue;
      free(Ask("memalign", align, size, [=] { return the_memalign(align, size); }));
      free(Ask("aligned_alloc", align, size, [=] { return the_aligned_alloc(align, size); }));
      void* out = &out;
      errno = kUntouched;
      const int result = the_posix_memalign(&out, align, size);
      std::printf("posix_memalign(%zx, %zx): %d, errno %d, %s\n", align, size, result,
                  result == 0 ? kUntouched : errno, out == &out ? "untouched" : "written");
      if (result == 0) free(out);
    }
  }
}

// 1 MiB blocks until there is no more: how many, to the nearest few, and how it is said.
void AskUntilThereIsNoMore() {
  const rlimit limit{512 << 20, 512 << 20};
  setrlimit(RLIMIT_AS, &limit);
  constexpr std::size_t kBlock = 1 << 20;
  static void* blocks[1024];
  int count = 0;
  for (; count < 1024; ++count) {
    errno = kUntouched;
    blocks[count] = count % 2 != 0 ? the_malloc(kBlock) : the_calloc(1, kBlock);
    if (blocks[count] == nullptr) break;
  }
  const int error = errno;
  for (int i = 0; i < count; ++i) free(blocks[i]);
  free(Ask("afterwards", 0, kBlock, [] { return the_malloc(kBlock); }));
  std::printf("refused with errno %d\n", error);
  std::fprintf(stderr, "%d\n", count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "limit") == 0) {
    AskUntilThereIsNoMore();
  } else {
    AskForEverything(argc == 1);
  }
  return 0;
}
