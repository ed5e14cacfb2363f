// An allocator over libc's that refuses one block in fifty to threads whose names begin with
// "heldby-", while there is a file with the name in REFUSE_WHILE. None of a thread's first
// eight: where memory was a moment ago, it is here, and libc aborts without thread-local data.
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

extern "C" {
void* __libc_malloc(std::size_t size);
void __libc_free(void* block);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t align, std::size_t size);
}

static bool Refuses() {
  static std::atomic<unsigned> seeds{1};
  static const char* path = getenv("REFUSE_WHILE");
  static thread_local unsigned seed = 0;
  static thread_local int asked = 0;
  if (path == nullptr) return false;
  if (seed == 0) {
    char name[17] = "";
    prctl(PR_GET_NAME, name);
    if (std::strncmp(name, "heldby-", 7) != 0) return false;
    seed = seeds++ * 7919;
  }
  seed = seed * 1103515245 + 12345;
  if (++asked <= 8) return false;
  if ((seed >> 8) % 50 != 0 || access(path, F_OK) != 0) return false;
  errno = ENOMEM;
  return true;
}

extern "C" {
void* malloc(std::size_t size) { return Refuses() ? nullptr : __libc_malloc(size); }
void free(void* block) { __libc_free(block); }
void* calloc(std::size_t count, std::size_t size) {
  return Refuses() ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) {
  return Refuses() ? nullptr : __libc_realloc(block, size);
}
void* memalign(std::size_t align, std::size_t size) {
  return Refuses() ? nullptr : __libc_memalign(align, size);
}
void* aligned_alloc(std::size_t align, std::size_t size) { return memalign(align, size); }
int posix_memalign(void** out, std::size_t align, std::size_t size) {
  *out = memalign(align, size);
  return *out != nullptr ? 0 : ENOMEM;
}
}
