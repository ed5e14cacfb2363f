// heldby/goroutine.h - what runs and what waits: threads and tasks, as Go's tools know
// goroutines.
//
// Threads  every function: any thread, any time.
// Signals  unsafe: snapshots allocate. Threads that run are asked where they are by a signal
//          (docs/threads.md), unless GoroutineOptions says no.
// Self     the profiler's own threads are not in it.
// Units    one column, goroutine/count.
// Bounds   all threads within 100 ms; `each` shows GoroutineOptions::most, a comment says how
//          many more there are.
// Source   docs/threads.md.
#pragma once

#include <cstddef>

#include "heldby/heap.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

struct GoroutineOptions {
  /// As in the heap's: `state` is what it waits for, `task` its name, or the thread's.
  HolderLabels labels{};
  /// One sample each, those that have waited longest first, with labels: goroutine (its
  /// number), thread or task (its name), task_id and connection (the TaskId and ConnectionId
  /// it works for), state, parked (seconds in that state), age, created_by, problem (why its
  /// stack is not whole).
  bool each = false;
  std::size_t most = 10'000;
  /// False: a thread that runs is shown without a stack.
  bool may_signal = true;
};

/// Every thread of this process, and every task that is parked (a task that runs is on a
/// thread). A thread's stack is where it is; a task's, the coroutines it waits in, or else the
/// place where it was parked, or made. Labels are the program's own, as Go's.
///
/// kUnavailable        the core of another version, or none
/// kResourceExhausted  no memory for the profile
[[nodiscard]] Result<Profile> SnapshotGoroutines(const GoroutineOptions& options = {});

/// The threads there are, by the stack that created them: threadcreate/count. Nobody saw the
/// first thread being created, nor those from before the library was there.
///
/// kUnavailable, kResourceExhausted  as above
[[nodiscard]] Result<Profile> SnapshotThreadCreation();

/// How many threads there are now, without the profiler's own.
[[nodiscard]] std::size_t CountThreads();

/// How many threads and parked tasks there are now.
[[nodiscard]] std::size_t CountGoroutines();

}  // namespace heldby
