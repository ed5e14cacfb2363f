// core/core.h - the one door into the core: what the face may ask of it.
//
// Threads  every function: any.   Signals  unsafe unless said.   Units  in the names.
// Bounds   none of these allocates; what a visitor does is its own business.
//
// A table of functions behind one exported symbol: the core and the face are separate shared
// objects, a core may also stand in the executable (the static library), and every version of
// the face must notice a core it does not know.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/stack/capture.h"

namespace heldby::core {

inline constexpr std::uint32_t kCoreAbi = 2;

struct HookDescription {
  bool active;
  const char* reason;     // when not active
  const char* allocator;  // "tcmalloc", "glibc", or a file name
};

/// Totals of one allocation site. Objects are in 1/4096; in use = allocated - freed.
struct HeapSite {
  const std::uintptr_t* frames;  // return addresses, innermost first
  const std::uint16_t* modules;  // which module each frame was in; 0: not known
  std::size_t depth;             // 0: the stack table was full
  bool truncated;
  std::uint64_t size_class_bytes;
  std::uint64_t allocated_objects;
  std::uint64_t allocated_bytes;
  std::uint64_t freed_objects;
  std::uint64_t freed_bytes;
};

/// Everything that is counted, drops above all. Monotonic unless named otherwise.
struct Counters {
  std::uint64_t sites;  // so far
  std::uint64_t samples_total;
  std::uint64_t live_samples;             // now
  std::uint64_t dropped_samples_total;    // live table full
  std::uint64_t dropped_stacks_total;     // stack table full: sample kept, stack lost
  std::uint64_t dropped_sites_total;      // site table full: counted under "other"
  std::uint64_t truncated_stacks_total;   // deeper than 128, or the unwinder could not go on
  std::uint64_t stale_samples_total;      // freed past the hooks, found out when reused
  std::uint64_t untracked_samples_total;  // could not be placed where free() would see them
  std::uint64_t table_bytes;              // now, mapped for our tables
  std::uint64_t unwind_rules_read_total;  // from .eh_frame: neither cache had them
  std::uint64_t unwind_cache_bytes;       // of both caches, static
};

struct CoreApi {
  std::uint32_t abi;  // kCoreAbi
  HookDescription (*describe_hooks)();
  std::uint64_t (*sample_bytes)();
  /// False: above 1 TiB.
  bool (*set_sample_bytes)(std::uint64_t mean_bytes);
  void (*visit_heap_sites)(void (*visit)(void* context, const HeapSite& site), void* context);
  Counters (*read_counters)();
  /// The module at `pc` now, as HeapSite::modules names it; see capture.h.
  bool (*describe_module_at)(std::uintptr_t pc, ModuleRange* range);
  /// Nested. Signal-safe. Between them, this thread's allocations are not sampled.
  void (*enter_self)();
  void (*leave_self)();
  /// Starts the calling thread's sampling over from `seed`: for tests that must repeat.
  void (*seed_thread)(std::uint64_t seed);
};

/// False in a core that another one stands before: the shared core behind an executable that
/// carries the static one. It stays quiet.
bool IsTheCoreOfThisProcess();

}  // namespace heldby::core

extern "C" __attribute__((visibility("default"))) const heldby::core::CoreApi* heldby_core_v1();
