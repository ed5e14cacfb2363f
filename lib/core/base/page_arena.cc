#include "core/base/page_arena.h"

#include <errno.h>
#include <sys/mman.h>

namespace heldby::core {

namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kStepBytes = 256 << 10;
constexpr std::size_t kFirstBytes = 8;  // never handed out: offset 0 is no block

// NORESERVE: a reservation of ours must not count against a host that runs without overcommit.
void* Map(std::size_t size_bytes, int protection) {
  const int saved_errno = errno;
  void* pages =
      mmap(nullptr, size_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  errno = saved_errno;
  return pages == MAP_FAILED ? nullptr : pages;
}

char* Base(ArenaState* arena, std::size_t capacity_bytes) {
  char* base = arena->base.load(std::memory_order_acquire);
  if (base != nullptr) return base;
  char* mine = static_cast<char*>(ReservePages(capacity_bytes));
  if (mine == nullptr) return nullptr;
  if (arena->base.compare_exchange_strong(base, mine, std::memory_order_acq_rel)) return mine;
  UnmapPages(mine, capacity_bytes);  // another thread was first
  return base;
}

}  // namespace

void* MapPages(std::size_t size_bytes) { return Map(size_bytes, PROT_READ | PROT_WRITE); }

void* ReservePages(std::size_t size_bytes) { return Map(size_bytes, PROT_NONE); }

bool UsePages(void* pages, std::size_t size_bytes, std::size_t bytes,
              std::atomic<std::size_t>* usable_bytes) {
  std::size_t usable = usable_bytes->load(std::memory_order_acquire);
  if (bytes <= usable) return true;
  std::size_t wanted = (bytes + kStepBytes - 1) / kStepBytes * kStepBytes;
  const std::size_t all = (size_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (wanted > all) wanted = all;
  const int saved_errno = errno;
  // From the beginning: two threads at once do no harm.
  const bool done = mprotect(pages, wanted, PROT_READ | PROT_WRITE) == 0;
  errno = saved_errno;
  while (done && usable < wanted &&
         !usable_bytes->compare_exchange_weak(usable, wanted, std::memory_order_acq_rel)) {
  }
  return done;
}

void UnmapPages(void* pages, std::size_t size_bytes) {
  const int saved_errno = errno;
  munmap(pages, size_bytes);
  errno = saved_errno;
}

std::uint32_t AllocateIn(ArenaState* arena, std::size_t capacity_bytes,
                         std::size_t size_bytes) {
  char* base = Base(arena, capacity_bytes);
  if (base == nullptr) return 0;
  const std::size_t rounded = (size_bytes + 7) & ~std::size_t{7};
  std::size_t given = arena->given_bytes.load(std::memory_order_relaxed);
  do {
    if (rounded > capacity_bytes - kFirstBytes - given ||
        !UsePages(base, capacity_bytes, kFirstBytes + given + rounded, &arena->usable_bytes)) {
      return 0;
    }
  } while (!arena->given_bytes.compare_exchange_weak(given, given + rounded,
                                                     std::memory_order_relaxed));
  return static_cast<std::uint32_t>((kFirstBytes + given) / 8);
}

}  // namespace heldby::core
