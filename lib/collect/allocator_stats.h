// collect/allocator_stats.h - what the allocator beneath the hooks says of itself.
//
// Threads  any.   Signals  unsafe.   Units  bytes.
// Progress takes the allocator's own locks, as every tool that asks it does: glibc's for one
//          arena at a time while it is walked, tcmalloc's page heap's. Callers pace it.
// Source   mallinfo2(3); gperftools' MallocExtension_GetNumericProperty; jemalloc's mallctl(3).
#pragma once

#include <cstdint>
#include <string_view>

namespace heldby::collect {

struct AllocatorStats {
  bool known = false;
  std::int64_t in_use_bytes = 0;  // handed out, by its own count
  std::int64_t cached_bytes = 0;  // freed by the program, not given back to the system
  std::int64_t mapped_bytes = 0;  // from the system
};

/// `allocator`: HookDescription::allocator.
[[nodiscard]] AllocatorStats ReadAllocatorStats(std::string_view allocator);

}  // namespace heldby::collect
