// The malloc family as the host sees it. Each function is a countdown or a filter, and a jump
// to the allocator beneath; what is sampled goes through a function of its own, out of line.
//
// Promises (every function here)  no lock of ours, no allocation but the one asked for, no user
//          code, errno as the allocator beneath leaves it; works before constructors, after
//          thread teardown and across fork.
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "core/base/countdown.h"
#include "core/hooks/next_allocator.h"
#include "core/hooks/placement.h"
#include "core/sampler/heap_sampler.h"

namespace heldby::core {
namespace {

#define COLD __attribute__((noinline, cold))
#define CALLER __builtin_return_address(0)

COLD void* SampledMalloc(std::size_t size, const void* caller) {
  if (const std::uint64_t mean = Tick(size)) {
    if (void* block = PlaceSample(kSampleAlign, size, mean, caller)) return block;
  }
  return next.malloc(size);
}

// Not cold: one free in 128 comes here by chance, more where small samples are handed out
// again.
__attribute__((noinline)) void FreeMaybeSampled(void* block) {
  if (block == nullptr || IsBootstrapBlock(block)) return;
  ForgetSample(block);  // before the real free: then the address may be anybody's
  next.free(block);
}

// calloc of glibc leaves fresh pages alone where memalign and memset would touch each of them,
// and a sparse table of gigabytes would become resident. Up to this size memset is no worse
// than what calloc itself does with recycled memory.
constexpr std::size_t kMemsetLimitBytes = 256 * 1024;

COLD void* SampledCalloc(std::size_t count, std::size_t size, const void* caller) {
  const std::size_t bytes = count * size;  // the caller has checked for overflow
  const std::uint64_t mean = Tick(bytes);
  if (mean == 0) return next.calloc(count, size);
  if (bytes <= kMemsetLimitBytes) {
    void* block = PlaceSample(kSampleAlign, bytes, mean, caller);
    return block != nullptr ? memset(block, 0, bytes) : next.calloc(count, size);
  }
  void* block = allocator_facts.zeroed_aligned != nullptr
                    ? allocator_facts.zeroed_aligned(kSampleAlign, bytes)
                    : next.calloc(count, size);
  if (block == nullptr) return next.calloc(count, size);
  if (MayBeSampled(block)) return AdoptSample(block, bytes, mean, caller);
  // glibc below its mmap threshold (at most 32 MiB): the pages are recycled heap.
  void* placed = PlaceSample(kSampleAlign, bytes, mean, caller);
  if (placed == nullptr) {
    heap_sampler.CountUntracked();
    return block;
  }
  next.free(block);
  return memset(placed, 0, bytes);
}

void* ReallocBootstrap(void* block, std::size_t size) {
  void* moved = next.malloc(size);
  const std::size_t old_bytes = BootstrapBlockBytes(block);
  if (moved != nullptr) memcpy(moved, block, old_bytes < size ? old_bytes : size);
  return moved;
}

// One allocation in place of another: the old sample ends, and the new block is charged whole.
COLD void* ReallocMaybeSampled(void* block, std::size_t size, bool chosen, const void* caller) {
  // First: a countdown that has been used up must be wound up, whatever becomes of the block.
  const std::uint64_t mean = chosen ? Tick(size) : 0;
  if (IsBootstrapBlock(block)) return ReallocBootstrap(block, size);
  LiveSample old_sample;
  const bool was_sampled =
      block != nullptr && MayBeSampled(block) &&
      heap_sampler.Take(reinterpret_cast<std::uintptr_t>(block), &old_sample);

  void* moved = next.realloc(block, size);
  // realloc(p, 0) frees in some allocators and returns nullptr: that is no failure.
  const bool failed = moved == nullptr && (size != 0 || block == nullptr);
  if (was_sampled) {
    if (failed) {
      heap_sampler.PutBack(reinterpret_cast<std::uintptr_t>(block), old_sample);
    } else {
      heap_sampler.Forget(old_sample);
    }
  }
  return mean != 0 ? AdoptSample(moved, size, mean, caller) : moved;
}

COLD void* SampledMemalign(std::size_t align, std::size_t size, const void* caller,
                           void* (*forward)(std::size_t, std::size_t)) {
  const std::uint64_t mean = Tick(size);
  const bool power_of_two = (align & (align - 1)) == 0;  // else: the allocator's own answer
  if (mean != 0 && power_of_two) {
    if (void* block = PlaceSample(align, size, mean, caller)) return block;
  }
  return forward(align, size);
}

COLD int SampledPosixMemalign(void** out, std::size_t align, std::size_t size,
                              const void* caller) {
  const std::uint64_t mean = Tick(size);
  const bool valid = align != 0 && align % sizeof(void*) == 0 && (align & (align - 1)) == 0;
  if (mean != 0 && valid) {
    if (void* block = PlaceSample(align, size, mean, caller)) {
      *out = block;
      return 0;
    }
  }
  return next.posix_memalign(out, align, size);
}

COLD void* SampledValloc(std::size_t size, const void* caller, void* (*forward)(std::size_t)) {
  const std::uint64_t mean = Tick(size);
  void* block = forward(size);  // page-aligned by nature
  return mean != 0 && block != nullptr ? AdoptSample(block, size, mean, caller) : block;
}

__attribute__((always_inline)) inline void* Realloc(void* block, std::size_t size,
                                                    const void* caller) {
  const bool chosen = CountDown(size);
  if (chosen || MayBeSampled(block)) [[unlikely]] {
    return ReallocMaybeSampled(block, size, chosen, caller);
  }
  return next.realloc(block, size);
}

}  // namespace
}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: the entries below are C functions at global scope

HELDBY_HOOK void* malloc(std::size_t size) {
  if (CountDown(size)) [[unlikely]]
    return SampledMalloc(size, CALLER);
  return next.malloc(size);
}

HELDBY_HOOK void free(void* block) {
  if (MayBeSampled(block)) [[unlikely]]
    return FreeMaybeSampled(block);
  return next.free(block);
}

HELDBY_HOOK void* calloc(std::size_t count, std::size_t size) {
  std::size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) [[unlikely]]
    return next.calloc(count, size);
  if (CountDown(bytes)) [[unlikely]]
    return SampledCalloc(count, size, CALLER);
  return next.calloc(count, size);
}

HELDBY_HOOK void* realloc(void* block, std::size_t size) {
  return Realloc(block, size, CALLER);
}

HELDBY_HOOK void* reallocarray(void* block, std::size_t count, std::size_t size) {
  // libc's calls the realloc that is bound for everybody; ours would go past a foreign one.
  if (allocator_facts.malloc_is_foreign) [[unlikely]]
    return next.reallocarray(block, count, size);
  std::size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) [[unlikely]] {
    errno = ENOMEM;
    return nullptr;
  }
  void* moved = Realloc(block, bytes, CALLER);
  // Some allocators set it in their reallocarray, and not in their realloc.
  if (moved == nullptr && (bytes != 0 || block == nullptr)) [[unlikely]]
    errno = ENOMEM;
  return moved;
}

HELDBY_HOOK void* memalign(std::size_t align, std::size_t size) {
  if (CountDown(size)) [[unlikely]]
    return SampledMemalign(align, size, CALLER, next.memalign);
  return next.memalign(align, size);
}

HELDBY_HOOK void* aligned_alloc(std::size_t align, std::size_t size) {
  if (CountDown(size)) [[unlikely]] {
    return SampledMemalign(align, size, CALLER, next.aligned_alloc);
  }
  return next.aligned_alloc(align, size);
}

HELDBY_HOOK int posix_memalign(void** out, std::size_t align, std::size_t size) {
  if (CountDown(size)) [[unlikely]]
    return SampledPosixMemalign(out, align, size, CALLER);
  return next.posix_memalign(out, align, size);
}

HELDBY_HOOK void* valloc(std::size_t size) {
  if (CountDown(size)) [[unlikely]]
    return SampledValloc(size, CALLER, next.valloc);
  return next.valloc(size);
}

HELDBY_HOOK void* pvalloc(std::size_t size) {
  if (CountDown(size)) [[unlikely]]
    return SampledValloc(size, CALLER, next.pvalloc);
  return next.pvalloc(size);
}

HELDBY_HOOK std::size_t malloc_usable_size(void* block) {
  if (MayBeSampled(block) && IsBootstrapBlock(block)) return BootstrapBlockBytes(block);
  return next.malloc_usable_size(block);
}

// jemalloc's, for hosts that call it on blocks of malloc: the size they give is not the size
// class of a sampled block.
HELDBY_HOOK void sdallocx(void* block, std::size_t size, int flags) {
  if (MayBeSampled(block) && ForgetSample(block)) [[unlikely]]
    return next.free(block);
  return next.sdallocx(block, size, flags);
}
