// core/hooks/placement.h - where a sampled block lies, so that free() need not look.
//
// Promises (all functions)  no lock, no allocation but the block itself, no user code, errno
//          kept; work before constructors, after thread teardown, across fork.
//
// The filter. A sampled block is placed by the allocator's own memalign at a page boundary, or
// is a block that lies 16 bytes behind one already (glibc's mmapped chunks). So a pointer with
// any other low bits is not sampled: one AND, no load, rules out 254 of 256 pointers that are
// aligned to 16. What passes is looked up in the exact table.
//
// The block is a genuine one of the allocator, so malloc_usable_size and realloc stay right,
// and a free that goes past the hooks leaves a stale sample, never a crash. Sized deletes are
// the exception: they would name the class of the size that was asked for, so the hooks turn a
// sized delete of a sample into a plain free.
//
// Rejected: a Bloom filter in front of the table (bench/free_filter_bench.cc: about seven
// instructions and a cache line per free, and false hits that grow with the number of samples);
// a header before the block (a free past the hooks would crash the host).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/hooks/next_allocator.h"

#define HELDBY_HOOK extern "C" __attribute__((visibility("default"), noinline))

namespace heldby::core {

inline constexpr std::size_t kSampleAlign = 4096;
inline constexpr std::uintptr_t kFilterMask = 0xfef;  // every page-offset bit but 0x10

/// False for all but 1/128 of pointers. nullptr and bootstrap blocks pass, too.
__attribute__((always_inline)) inline bool MayBeSampled(const void* block) {
  return (reinterpret_cast<std::uintptr_t>(block) & kFilterMask) == 0;
}

/// The countdown of this thread is used up by an allocation of `size`. Returns the mean to
/// weigh it with, 0: do nothing special.
std::uint64_t Tick(std::size_t size);

/// A new block of `size` as a sample, allocated by the code `caller` returns to. nullptr: no
/// memory, or no room to remember it; go on as if the allocation had not been chosen.
void* PlaceSample(std::size_t align, std::size_t size, std::uint64_t mean, const void* caller);

/// Makes `block`, fresh from the allocator, a sample; moves it if free() would not recognise it
/// where it is. Returns where it lies now.
void* AdoptSample(void* block, std::size_t size, std::uint64_t mean, const void* caller);

/// Before the real free of a block that may be sampled. True: it was.
bool ForgetSample(void* block);

}  // namespace heldby::core
