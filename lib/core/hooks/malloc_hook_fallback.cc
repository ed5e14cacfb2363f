#include "core/hooks/malloc_hook_fallback.h"

#include <errno.h>

#include <cstddef>

#include "core/base/countdown.h"
#include "core/hooks/placement.h"
#include "core/sampler/heap_sampler.h"

extern "C" {
__attribute__((weak)) int MallocHook_AddNewHook(void (*hook)(const void*, std::size_t));
__attribute__((weak)) int MallocHook_AddDeleteHook(void (*hook)(const void*));
}

namespace heldby::core {
namespace {

void OnNew(const void* block, std::size_t size) {
  if (block == nullptr || !CountDown(size)) return;
  const std::uint64_t mean =
      heap_sampler.Tick(size);  // not the hooks' Tick(): they are not in use
  if (mean == 0) return;
  const int saved_errno = errno;
  // The caller is two frames of tcmalloc away; drop_frames hides those.
  heap_sampler.RecordAllocation(reinterpret_cast<std::uintptr_t>(block), size, mean,
                                reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  errno = saved_errno;
}

void OnDelete(const void* block) {
  if (block != nullptr && heap_sampler.live().live() != 0) {
    heap_sampler.RecordFree(reinterpret_cast<std::uintptr_t>(block));
  }
}

}  // namespace

bool InstallMallocHookFallback() {
  if (MallocHook_AddNewHook == nullptr || MallocHook_AddDeleteHook == nullptr) return false;
  return MallocHook_AddDeleteHook(&OnDelete) != 0 && MallocHook_AddNewHook(&OnNew) != 0;
}

}  // namespace heldby::core
