// core/hooks/next_allocator.h - the allocator beneath us: where every hook forwards to.
//
// Threads  the table is filled once, by the process's first allocation; read-only afterwards.
// Signals  safe after that.   Allocates  never itself; while the table is being filled, what
//          the dynamic linker asks for is served from a small arena that is never given back.
//
// A table of function pointers rather than a branch per call: forwarding is one indirect jump.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace heldby::core {

/// In the order of the table in operator_entry.cc; each operator has its own slot, since a host
/// that replaces some of them gets exactly the ones it would have had without us.
struct NextAllocator {
  void* (*malloc)(std::size_t);
  void (*free)(void*);
  void* (*calloc)(std::size_t, std::size_t);
  void* (*realloc)(void*, std::size_t);
  void* (*reallocarray)(void*, std::size_t, std::size_t);  // used only under a foreign malloc
  void* (*memalign)(std::size_t, std::size_t);
  void* (*aligned_alloc)(std::size_t, std::size_t);
  int (*posix_memalign)(void**, std::size_t, std::size_t);
  void* (*valloc)(std::size_t);
  void* (*pvalloc)(std::size_t);
  std::size_t (*malloc_usable_size)(void*);
  void (*sdallocx)(void*, std::size_t, int);  // jemalloc's sized free; elsewhere: free

  void* (*op_new)(std::size_t);
  void* (*op_new_array)(std::size_t);
  void* (*op_new_nothrow)(std::size_t, const std::nothrow_t&);
  void* (*op_new_array_nothrow)(std::size_t, const std::nothrow_t&);
  void* (*op_new_aligned)(std::size_t, std::size_t);
  void* (*op_new_array_aligned)(std::size_t, std::size_t);
  void* (*op_new_aligned_nothrow)(std::size_t, std::size_t, const std::nothrow_t&);
  void* (*op_new_array_aligned_nothrow)(std::size_t, std::size_t, const std::nothrow_t&);
  void (*op_delete)(void*);
  void (*op_delete_array)(void*);
  void (*op_delete_sized)(void*, std::size_t);
  void (*op_delete_array_sized)(void*, std::size_t);
  void (*op_delete_aligned)(void*, std::size_t);
  void (*op_delete_array_aligned)(void*, std::size_t);
  void (*op_delete_sized_aligned)(void*, std::size_t, std::size_t);
  void (*op_delete_array_sized_aligned)(void*, std::size_t, std::size_t);
};

extern NextAllocator next __attribute__((visibility("hidden")));

/// What Resolve() found out.
struct AllocatorFacts {
  const char* name;   // "tcmalloc", "glibc", or the file name of whoever it is
  bool has_memalign;  // of its own; without it a sample cannot be placed
  // Somebody before us defines malloc (an allocator inside the executable). What is bound to us
  // nevertheless goes where it would have gone without us, and nothing is sampled here.
  bool malloc_is_foreign;
  // The operators that ours forward to end in malloc, where their bytes are counted.
  bool operators_call_malloc;
  void* (*zeroed_aligned)(std::size_t align, std::size_t size);  // may be null
};
extern AllocatorFacts allocator_facts __attribute__((visibility("hidden")));

/// Fills the table if that has not happened yet. Idempotent; any thread.
void ResolveNextAllocator();

/// A block of the bootstrap arena: never freed, never sampled. Page-aligned, so that free()'s
/// filter sends it to the slow path, where this is asked.
bool IsBootstrapBlock(const void* block);
std::size_t BootstrapBlockBytes(const void* block);

}  // namespace heldby::core
