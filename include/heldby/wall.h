// heldby/wall.h - where the time goes, running or waiting: a profile by the clock on the wall,
// as Go's users know it from fgprof.
//
// Threads  any; several at a time share one signal, and one of them then sees fewer stacks of
//          running threads.
// Signals  unsafe to call. Threads that wait get none; those that run are asked where they are
//          as for a goroutine profile (docs/threads.md).
// Self     the profiler's own threads, and the calling one, are not in it.
// Units    samples/count and time/nanoseconds.
// Bounds   at most a twentieth of one processor: with many threads it looks less often, and
//          each look then stands for a longer time.
// Source   docs/cpu.md.
#pragma once

#include <chrono>
#include <functional>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

struct WallOptions {
  std::chrono::nanoseconds duration = std::chrono::seconds(30);
  /// Asked every few milliseconds; true ends the profile early.
  std::function<bool()> cancelled{};
  /// False: a thread that runs is shown without a stack.
  bool may_signal = true;
};

/// Blocks for `duration`, and looks 99 times a second. Parked tasks are on no thread, and not
/// in it: they are in the goroutine profile.
///
/// kInvalidArgument    duration
/// kUnavailable        the core is missing, or of another version
/// kResourceExhausted  no memory for the profile
[[nodiscard]] Result<Profile> ProfileWall(const WallOptions& options = {});

}  // namespace heldby
