#include "core/base/page_arena.h"

#include <errno.h>
#include <sys/mman.h>

namespace heldby::core {

void* MapPages(std::size_t size_bytes) {
  const int saved_errno = errno;
  // NORESERVE: a reservation of ours must not count against a host that runs without
  // overcommit.
  void* pages = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  errno = saved_errno;
  return pages == MAP_FAILED ? nullptr : pages;
}

void UnmapPages(void* pages, std::size_t size_bytes) {
  const int saved_errno = errno;
  munmap(pages, size_bytes);
  errno = saved_errno;
}

char* PageArena::Base() {
  char* base = base_.load(std::memory_order_acquire);
  if (base != nullptr) return base;
  char* mine = static_cast<char*>(MapPages(capacity_bytes_));
  if (mine == nullptr) return nullptr;
  if (base_.compare_exchange_strong(base, mine, std::memory_order_acq_rel)) return mine;
  UnmapPages(mine, capacity_bytes_);  // another thread was first
  return base;
}

std::uint32_t PageArena::Allocate(std::size_t size_bytes) {
  if (Base() == nullptr) return 0;
  const std::size_t rounded = (size_bytes + 7) & ~std::size_t{7};
  std::size_t at = next_bytes_.load(std::memory_order_relaxed);
  do {
    if (rounded > capacity_bytes_ - at) return 0;
  } while (!next_bytes_.compare_exchange_weak(at, at + rounded, std::memory_order_relaxed));
  return static_cast<std::uint32_t>(at / 8);
}

std::size_t PageArena::used_bytes() const {
  return base_.load(std::memory_order_relaxed) == nullptr
             ? 0
             : next_bytes_.load(std::memory_order_relaxed);
}

}  // namespace heldby::core
