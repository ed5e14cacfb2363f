// core/sampler/heap_sampler.h - the slow path of the hooks: decide, look, remember, forget.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Promises errno kept; no user code; works before constructors, after thread teardown, across
// fork.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/sampler/live_table.h"
#include "core/sampler/poisson.h"
#include "core/sampler/site_table.h"
#include "core/stack/stack_table.h"

namespace heldby::core {

class HeapSampler {
 public:
  constexpr HeapSampler() = default;

  PoissonClock& clock() { return clock_; }
  const PoissonClock& clock() const { return clock_; }

  /// After CountDown() said used up: the mean to weigh the allocation with, or 0: leave it
  /// alone.
  std::uint64_t Tick(std::size_t size_bytes);

  /// The block at `address` is a sample, allocated by the code that `caller` returns to.
  /// False: no room to remember it (counted); the hook must then not let it look like a sample.
  bool RecordAllocation(std::uintptr_t address, std::size_t size_bytes,
                        std::uint64_t mean_bytes, std::uintptr_t caller);

  /// Before the real free. False: was not sampled.
  bool RecordFree(std::uintptr_t address);

  /// RecordFree() in two steps, for a realloc that may yet fail: Take() before it, then
  /// Forget() if the block is gone, PutBack() if it is not.
  bool Take(std::uintptr_t address, LiveSample* sample) { return live_.Erase(address, sample); }
  void Forget(const LiveSample& sample);
  void PutBack(std::uintptr_t address, const LiveSample& sample);

  /// A block was chosen, but could not be placed where free() would recognise it.
  void CountUntracked() { untracked_.fetch_add(1, std::memory_order_relaxed); }

  const LiveTable& live() const { return live_; }
  const SiteTable& sites() const { return sites_; }
  const StackTable& stacks() const { return stacks_; }
  StackTable& stacks() { return stacks_; }
  std::uint64_t samples() const { return samples_.load(std::memory_order_relaxed); }
  std::uint64_t truncated_stacks() const { return truncated_.load(std::memory_order_relaxed); }
  std::uint64_t stale_samples() const { return stale_.load(std::memory_order_relaxed); }
  std::uint64_t untracked() const { return untracked_.load(std::memory_order_relaxed); }

 private:
  PoissonClock clock_{0};
  StackTable stacks_;
  SiteTable sites_;
  LiveTable live_;
  std::atomic<std::uint64_t> samples_{0};
  std::atomic<std::uint64_t> truncated_{0};
  std::atomic<std::uint64_t> stale_{0};
  std::atomic<std::uint64_t> untracked_{0};
};

/// The one of this process. Constant-initialised.
extern HeapSampler heap_sampler __attribute__((visibility("hidden")));

}  // namespace heldby::core
