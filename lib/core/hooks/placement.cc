#include "core/hooks/placement.h"

#include <errno.h>
#include <string.h>

#include "core/base/self_guard.h"
#include "core/hooks/settings.h"
#include "core/sampler/heap_sampler.h"

namespace heldby::core {

std::uint64_t Tick(std::size_t size) {
  if (!ReadyToSample()) {
    thread_slot.countdown_bytes = 0;  // ask again at the next allocation
    return 0;
  }
  const std::uint64_t mean = heap_sampler.Tick(size);
  return allocator_facts.malloc_is_foreign ? 0 : mean;
}

void* PlaceSample(std::size_t align, std::size_t size, std::uint64_t mean, const void* caller) {
  const int saved_errno = errno;
  void* block = next.memalign(align > kSampleAlign ? align : kSampleAlign, size);
  if (block != nullptr &&
      !heap_sampler.RecordAllocation(reinterpret_cast<std::uintptr_t>(block), size, mean,
                                     reinterpret_cast<std::uintptr_t>(caller))) {
    // Nobody remembers it, so a sized delete would reach the allocator with the size that was
    // asked for: such a block must be an ordinary one.
    next.free(block);
    block = nullptr;
  }
  errno = saved_errno;
  return block;
}

void* AdoptSample(void* block, std::size_t size, std::uint64_t mean, const void* caller) {
  if (block == nullptr) return nullptr;
  if (!MayBeSampled(block)) {
    void* moved = PlaceSample(kSampleAlign, size, mean, caller);
    if (moved == nullptr) {
      heap_sampler.CountUntracked();
      return block;
    }
    memcpy(moved, block, size);
    next.free(block);
    return moved;
  }
  const int saved_errno = errno;
  heap_sampler.RecordAllocation(reinterpret_cast<std::uintptr_t>(block), size, mean,
                                reinterpret_cast<std::uintptr_t>(caller));
  errno = saved_errno;
  return block;
}

bool ForgetSample(void* block) {
  const auto address = reinterpret_cast<std::uintptr_t>(block);
  return heap_sampler.live().Contains(address) && heap_sampler.RecordFree(address);
}

}  // namespace heldby::core
