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
  std::string
      allocator{};       // what serves the memory: "tcmalloc", "glibc", "next (jemalloc)", ...
  std::string reason{};  // when not active: why, and what to do about it
};
[[nodiscard]] HeapHooks DescribeHeapHooks();

/// Mean distance between samples, in bytes. 0: heap sampling is off. 1: every allocation.
[[nodiscard]] std::int64_t HeapSampleBytes();

/// Changes the distance while running. What is already sampled keeps the weight it was taken
/// with, and a thread takes the new distance at its next check, at most 1 MiB of allocation
/// later: totals stay unbiased throughout.
///
/// kInvalidArgument  negative, or above 1 TiB.
Status SetHeapSampleBytes(std::int64_t mean_bytes);

/// Labels that change with time or count up, and so are not in a profile unless asked for: they
/// are part of what a sample is, and would break differences between profiles.
struct HolderLabels {
  bool connection = false;  // peer, direction, connection (a number), holder=ended
  bool task = false;        // task (its name)
  bool state = false;       // the connection's or else the task's state
  bool age = false;         // seconds since the connection or else the task began

  bool any() const { return connection || task || state || age; }
};

struct HeapSnapshotOptions {
  /// By default the frames of the allocator and of the standard library that lie on top of a
  /// stack are left out, as Go leaves out its runtime's, so that the first frame is the code
  /// that asked for memory: its own line, not std::vector's. True keeps them.
  bool all_frames = false;
  /// Splits what is in use by who holds it; what nobody holds has holder=unattributed. What has
  /// been freed is nobody's any more, so the totals of allocations stay with that row.
  HolderLabels labels{};
};

/// Everything sampled so far, merged by stack and block size: alloc_objects, alloc_space,
/// inuse_objects, inuse_space, in Go's order and units. Other threads keep allocating
/// meanwhile: a window, not an instant.
///
/// kUnavailable        the hooks are not active; the message is HeapHooks::reason
/// kResourceExhausted  no memory for the profile
[[nodiscard]] Result<Profile> SnapshotHeap(const HeapSnapshotOptions& options = {});

/// What the sampler counted; `_total` only grow. Anything dropped makes totals too low, or puts
/// them under a synthetic frame that says so.
struct HeapCounters {
  std::int64_t sites = 0;         // distinct stacks and sizes so far
  std::int64_t live_samples = 0;  // now
  std::int64_t samples_total = 0;
  std::int64_t dropped_samples_total = 0;        // table of live samples full
  std::int64_t dropped_stacks_total = 0;         // stack table full: counted without a stack
  std::int64_t dropped_sites_total = 0;          // site table full: counted under one site
  std::int64_t truncated_stacks_total = 0;       // deeper than 128 frames, or not unwindable
  std::int64_t stale_samples_total = 0;          // freed past the hooks, found out on reuse
  std::int64_t untracked_samples_total = 0;      // could not be placed where free() sees them
  std::int64_t table_bytes = 0;                  // mapped for the sampler's tables, now
  std::int64_t unwind_rules_read_total = 0;      // rows of .eh_frame that no cache had
  std::int64_t unwind_cache_bytes = 0;           // the unwinder's caches: all that it ever uses
  std::int64_t dropped_connections_total = 0;    // not recorded: 131,072 at once
  std::int64_t dropped_tasks_total = 0;          // not recorded: 1,048,576 at once
  std::int64_t dropped_label_sets_total = 0;     // counted as {other="true"}
  std::int64_t dropped_places_total = 0;         // tasks without a name: 16,383 places
  std::int64_t dropped_threads_total = 0;        // whose task and labels are not seen
  std::int64_t registry_bytes = 0;               // used by connections, tasks and labels
  std::int64_t dropped_descriptors_total = 0;    // sockets not recorded: number above 1,048,575
  std::int64_t dropped_inheritances_total = 0;   // threads without their creator's holder
  std::int64_t dropped_cpu_samples_total = 0;    // drained too late
  std::int64_t unwatched_cpu_threads_total = 0;  // no timer to be had: RLIMIT_SIGPENDING
  std::int64_t dropped_trace_events_total = 0;   // a trace's log was full: 262,144 events
};
[[nodiscard]] HeapCounters ReadHeapCounters();

}  // namespace heldby
