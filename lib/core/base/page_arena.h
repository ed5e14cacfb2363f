// core/base/page_arena.h - memory for tables that only grow, straight from the kernel.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Bounds   `kCapacityBytes` of address space, reserved once, and usable step by step: what
//          nobody has used yet counts against no limit of memory (RLIMIT_DATA, overcommit), and
//          a host that locks its memory (mlockall) does not make it resident. Past the end
//          Allocate() returns 0.
// Fork     the child owns a private copy; a block that another thread was taking is lost to it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace heldby::core {

/// All zero to begin with, like the tables made of it: they lie in .bss, where a page that
/// nobody touches is not there. One that is not zero anywhere would put a whole table into the
/// file, and what lies around it into the host's resident memory.
struct ArenaState {
  std::atomic<char*> base{nullptr};
  std::atomic<std::size_t> usable_bytes{0};
  std::atomic<std::size_t> given_bytes{0};
};
std::uint32_t AllocateIn(ArenaState* arena, std::size_t capacity_bytes, std::size_t size_bytes);

/// Blocks are named by 32-bit offsets in units of 8 bytes; 0 is "none".
template <std::size_t kCapacityBytes>
class PageArena {
 public:
  /// A zeroed block of `size_bytes`, rounded up to 8. 0: the arena is full or memory refused.
  std::uint32_t Allocate(std::size_t size_bytes) {
    return AllocateIn(&state_, kCapacityBytes, size_bytes);
  }

  /// REQUIRES: offset came from Allocate().
  void* At(std::uint32_t offset) const {
    return state_.base.load(std::memory_order_acquire) + std::size_t{offset} * 8;
  }
  std::size_t used_bytes() const { return state_.given_bytes.load(std::memory_order_relaxed); }

 private:
  ArenaState state_;
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
