// heldby/contention.h - who waits for locks and conditions, and who makes them wait.
//
// Threads  every function: any thread, any time.
// Signals  unsafe: snapshots allocate.
// Self     the profiler's own threads are not in it.
// Units    contentions/count and delay/nanoseconds, scaled: values estimate all waits.
// Bounds   16,384 waits under way; what is dropped is counted (ContentionCounters).
// Source   Go's runtime: SetBlockProfileRate, SetMutexProfileFraction: docs/contention.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heldby/heap.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// The block profile: waits for pthread mutexes, read-write locks, condition variables,
/// semaphores and the end of threads, by the stack of who waited. A wait of rate_ns or longer
/// is always counted, a shorter one with probability length / rate_ns, for as many as it stands
/// for. 1: every wait. 0 or less: off, as at the start. More than an hour is an hour.
/// Returns the rate before.
std::int64_t SetBlockProfileRate(std::int64_t rate_ns);
[[nodiscard]] std::int64_t BlockProfileRate();

/// The mutex profile: waits for mutexes and read-write locks, by the stack of who unlocked. One
/// in `fraction` is counted, for that many. 1: all. 0: off, as at the start. Less than 0
/// changes nothing. More than 10,000 is 10,000. Returns the fraction before.
std::int64_t SetMutexProfileFraction(std::int64_t fraction);

struct ContentionOptions {
  /// As in the heap's: true keeps the frames of the standard library on top of a stack.
  bool all_frames = false;
  /// Of waits under way, which are samples of their own if any of these is asked for: `state`
  /// (waiting, and lock: what for) and `age`; `connection` and `task` of who waits. Else they
  /// are added to what their stack has waited so far.
  HolderLabels labels{};
};

/// What was counted since the start, and, in the block profile, the waits under way that are
/// certain to be: those as long as the rate, as one contention and as long as they have lasted.
/// So no value ever falls. A comment says how many wait now and how long the longest has.
///
/// kUnavailable        the core of another version, or none
/// kResourceExhausted  no memory for the profile
[[nodiscard]] Result<Profile> SnapshotBlock(const ContentionOptions& options = {});
[[nodiscard]] Result<Profile> SnapshotMutex(const ContentionOptions& options = {});

/// Distinct stacks so far.
[[nodiscard]] std::size_t CountBlockSites();
[[nodiscard]] std::size_t CountMutexSites();

/// For locks that are not pthread's, as absl::Mutex (heldby/absl.h): the caller has just given
/// one up that others had waited for, `delay_ns` altogether. Goes into the mutex profile, under
/// the calling stack. Signal-safe, allocates nothing.
void RecordMutexWait(std::int64_t delay_ns);

/// `_total` only grow.
struct ContentionCounters {
  std::int64_t waits_total = 0;          // looked at, whether counted or not
  std::int64_t dropped_waits_total = 0;  // not counted: 16,384 under way
  std::int64_t dropped_locks_total = 0;  // not in the mutex profile: too many locks at once
  std::int64_t dropped_sites_total = 0;  // table of stacks full: counted under one
  std::int64_t table_bytes = 0;          // now
};
[[nodiscard]] ContentionCounters ReadContentionCounters();

}  // namespace heldby
