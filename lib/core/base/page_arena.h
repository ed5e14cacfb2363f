// core/base/page_arena.h - memory for tables that only grow, straight from the kernel.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Bounds   `capacity_bytes` of address space, reserved once, and usable step by step: what
//          nobody has used yet counts against no limit of memory (RLIMIT_DATA, overcommit), and
//          a host that locks its memory (mlockall) does not make it resident. Past the end
//          Allocate() returns 0.
// Fork     the child owns a private copy; a block that another thread was taking is lost to it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace heldby::core {

/// Blocks are named by 32-bit offsets in units of 8 bytes; 0 is "none".
class PageArena {
 public:
  constexpr explicit PageArena(std::size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  /// A zeroed block of `size_bytes`, rounded up to 8. 0: the arena is full or memory refused.
  std::uint32_t Allocate(std::size_t size_bytes);

  /// REQUIRES: offset came from Allocate().
  void* At(std::uint32_t offset) const {
    return base_.load(std::memory_order_acquire) + std::size_t{offset} * 8;
  }
  std::size_t used_bytes() const;

 private:
  char* Base();

  const std::size_t capacity_bytes_;
  std::atomic<char*> base_{nullptr};
  std::atomic<std::size_t> usable_bytes_{0};
  std::atomic<std::size_t> next_bytes_{8};  // the first unit is never handed out
};

/// Zeroed pages, or nullptr. Never touches errno.
void* MapPages(std::size_t size_bytes);

/// Pages that cannot be used yet, or nullptr. Never touches errno.
void* ReservePages(std::size_t size_bytes);

/// Makes the first `bytes` of `size_bytes` that were reserved at `pages` usable, and some more;
/// `usable_bytes` remembers how many are. Zeroed. False: refused. Never touches errno.
bool UsePages(void* pages, std::size_t size_bytes, std::size_t bytes,
              std::atomic<std::size_t>* usable_bytes);
void UnmapPages(void* pages, std::size_t size_bytes);

}  // namespace heldby::core
