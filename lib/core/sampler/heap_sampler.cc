#include "core/sampler/heap_sampler.h"

#include "core/base/clock.h"
#include "core/base/countdown.h"
#include "core/base/self_guard.h"
#include "core/registry/registry.h"

namespace heldby::core {

constinit HeapSampler heap_sampler;

std::uint64_t HeapSampler::Tick(std::size_t size_bytes) {
  registry.threads.ListSelf();
  const std::uint64_t mean = clock_.Tick(thread_slot, ChargedBytes(size_bytes));
  // Events that fall on the profiler's own bytes are discarded; the rest stays a Poisson
  // process.
  return InsideSelf() ? 0 : mean;
}

bool HeapSampler::RecordAllocation(std::uintptr_t address, std::size_t size_bytes,
                                   std::uint64_t mean_bytes, std::uintptr_t caller) {
  SelfGuard self;
  if (RecordFree(address)) {
    // Its free went past the hooks (a private allocator call); the block is surely gone now.
    stale_.fetch_add(1, std::memory_order_relaxed);
  }
  Stack stack;
  CaptureStack(caller, &stack);
  if (stack.truncated) truncated_.fetch_add(1, std::memory_order_relaxed);

  const Weight weight = WeightOf(size_bytes, mean_bytes);
  LiveSample sample;
  // Who ended meanwhile holds nothing; the labels stay, they are the site's.
  Holder holder = registry.HolderNow(&sample.guessed);
  registry.Hold(&holder, weight.bytes);
  sample.connection = holder.connection;
  sample.task = holder.task;
  sample.labels = holder.labels;
  sample.site = sites_.Find(stacks_.Intern(stack), size_bytes, holder.labels);
  sample.size_bytes = size_bytes;
  sample.weight_bytes = weight.bytes;
  sample.weight_objects = weight.objects;
  sample.birth_ns = CoarseNowNs();
  samples_.fetch_add(1, std::memory_order_relaxed);

  // Totals first: a free, which can only come after Insert(), must find that there is something
  // to subtract from.
  sites_.AddAllocated(sample.site, weight.bytes, weight.objects);
  if (live_.Insert(address, sample)) return true;
  // It stays in the totals of what was allocated; nobody will see its free, so it must not
  // count as in use.
  Forget(sample);
  return false;
}

bool HeapSampler::RecordFree(std::uintptr_t address) {
  LiveSample sample;  // written on a hit only
  if (!Take(address, &sample)) return false;
  Forget(sample);
  return true;
}

void HeapSampler::Forget(const LiveSample& sample) {
  sites_.AddFreed(sample.site, sample.weight_bytes, sample.weight_objects);
  registry.Release({sample.connection, sample.task, sample.labels}, sample.weight_bytes);
}

void HeapSampler::PutBack(std::uintptr_t address, const LiveSample& sample) {
  if (!live_.Insert(address, sample)) Forget(sample);
}

}  // namespace heldby::core
