// heldby/cpu.h - where the processor time goes, as Go's CPU profile shows it.
//
// Threads  any; one profile at a time in a process.
// Signals  unsafe to call. While it runs, every thread gets a signal of ours for each period of
//          its own processor time, with SA_RESTART, on its alternate stack if it has one; a
//          thread that only waits gets none (docs/cpu.md).
// Self     the profiler's own threads, and the calling one, are not in it.
// Units    samples/count and cpu/nanoseconds.
// Bounds   128 samples between two looks, every 10 ms at most; what is lost is counted, in a
//          comment and in HeapCounters.
// Source   docs/cpu.md.
#pragma once

#include <chrono>
#include <functional>

#include "heldby/heap.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

inline constexpr int kMinCpuHz = 1;
inline constexpr int kMaxCpuHz = 1000;

struct CpuOptions {
  std::chrono::nanoseconds duration = std::chrono::seconds(30);
  /// Samples per second of each thread's processor time. The kernel looks at its timers with
  /// its own tick, 100 to 1000 times a second: beyond that, one sample stands for several.
  int hz = 100;
  /// Beside the program's own labels, which are always there. Ids and addresses are those of
  /// the end of the profile.
  HolderLabels labels{};
  /// Asked every few milliseconds; true ends the profile early.
  std::function<bool()> cancelled{};
};

/// Blocks for `duration`. Every thread is in it, those that are born and those that end
/// meanwhile, with the labels of what it worked for.
///
/// kInvalidArgument     hz or duration
/// kFailedPrecondition  another one is running
/// kUnavailable         signals are forbidden (HELDBY_THREAD_SIGNAL=0), no real-time signal is
///                      free, or the core is missing
/// kResourceExhausted   no memory for the profile
[[nodiscard]] Result<Profile> ProfileCpu(const CpuOptions& options = {});

}  // namespace heldby
