// heldby/self.h - keep something out of the profiles.
//
// Threads  a scope concerns the thread that opened it; nests.
// Signals  safe.
// Self     this is how the library itself stays absent from its profiles.
// Units    none.
// Source   docs/sampling.md: the bytes inside a scope leave the sampled stream, and what
//          remains stays a Poisson stream: nothing else is counted more or less for it.
#pragma once

#include <cstdint>
#include <string_view>

namespace heldby {

/// While it lives, allocations of this thread are not sampled.
class UnsampledScope {
 public:
  UnsampledScope();
  ~UnsampledScope();
  UnsampledScope(const UnsampledScope&) = delete;
  UnsampledScope& operator=(const UnsampledScope&) = delete;
};

/// The calling thread serves the profiler, to its end: its allocations are not sampled, and no
/// list of threads has it. Waits for memory for its thread-local data, without which libc would
/// end the process. For threads that only run what heldby::Handle() does, for instance.
void BecomeProfilerThread();

/// Processor time of such a thread, told at its end: heldby_profiler_cpu_seconds_total.
void AddProfilerCpuTime(std::int64_t ns);

/// `function` runs in every child that is forked from now on, in one whose fork has begun, too:
/// handlers of pthread_atfork that are registered while others run are left out of that fork.
/// For what the library itself has opened; it may do what is safe between fork and exec.
void RunInForkedChildren(void (*function)());

/// One line of ours, its end included, on standard error. Left out where it would wait, where
/// nobody reads, and where the host has put a file of its own: heldby_dropped_total tells.
void WriteErrorLine(std::string_view line);

/// Runs `function`, which allocates nothing, in a copy of this process that nobody sees, for
/// two seconds at most. False: it aborted there, or no copy could be made.
[[nodiscard]] bool SurvivesInChild(void (*function)());

}  // namespace heldby
