// heldby/heap.h - the sampled heap: what is allocated, by which stack.
//
// Threads  every function: any thread, any time.
// Signals  unsafe: snapshots allocate.
// Self     allocations made inside these calls are never sampled.
// Units    *_bytes are bytes. Values estimate the whole heap: each sample is already divided by
//          its probability of having been taken.
// Source   Poisson sampling of the byte stream: docs/sampling.md.
#pragma once

#include <cstdint>
#include <string>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// How the allocation hooks stand in this process.
struct HeapHooks {
  bool active = false;
  std::string allocator{};  // what serves the memory: "tcmalloc", "glibc", "next (jemalloc)", ...
  std::string reason{};     // when not active: why, and what to do about it
};
[[nodiscard]] HeapHooks DescribeHeapHooks();

/// Mean distance between samples, in bytes. 0: heap sampling is off. 1: every allocation.
[[nodiscard]] std::int64_t HeapSampleBytes();

/// Changes the distance while running. What is already sampled keeps the weight it was taken
/// with, and a thread takes the new distance at its next check, at most 1 MiB of allocation
/// later: totals stay unbiased throughout.
/// kInvalidArgument  negative, or above 1 TiB.
Status SetHeapSampleBytes(std::int64_t mean_bytes);

/// Everything sampled so far, merged by stack and block size: alloc_objects, alloc_space,
/// inuse_objects, inuse_space, in Go's order and units. Other threads keep allocating
/// meanwhile: a window, not an instant. kUnavailable  the hooks are not active; the message is
/// HeapHooks::reason.
[[nodiscard]] Result<Profile> SnapshotHeap();

}  // namespace heldby
