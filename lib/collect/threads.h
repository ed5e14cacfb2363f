// collect/threads.h - every thread of this process, where it is and what it waits for.
//
// Threads  any.   Signals  unsafe: allocates, and may send some (below).
// Units    *_ns nanoseconds.
// Bounds   some 30 us a thread; a signal phase of at most `timeout_ns` for all of them.
// Source   docs/threads.md; /proc/self/task of proc(5).
//
// Two phases. A thread that waits in the kernel is walked without its knowing: the kernel says
// where it is, and by the time it ran on a processor whether it was there throughout. Threads
// that run are asked by a signal, which the kernel restarts most system calls after; so are
// those whose walk was cut and which wait for a futex without a timeout, a wait that always is
// restarted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/core.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

struct ThreadState {
  std::int32_t tid = 0;
  std::string name{};      // as the kernel has it: 15 characters
  std::string state{};     // "running", or the system call it waits in
  std::string waits_on{};  // "fd 7", if it is one
  std::string problem{};   // why there is no whole stack; empty: there is
  std::int64_t age_ns = 0;
  core::Holder holder{};
  std::vector<std::uintptr_t> frames{};  // return addresses, innermost first
  std::vector<std::uint16_t> modules{};
  bool truncated = false;
};

/// Threads that were seen waiting, for who looks again and again: one that has not run since is
/// where it was, which costs a tenth of a walk to find out.
struct SeenWaiting {
  std::string time_run;
  ThreadState thread;
};
using SeenThreads = FlatHashMap<std::int32_t, SeenWaiting>;

struct ThreadsOptions {
  bool may_signal = true;
  bool may_signal_waiting = true;  // those whose walk was cut, as said above
  std::uint64_t timeout_ns = 100'000'000;
  std::int32_t leave_out = 0;   // a thread
  SeenThreads* seen = nullptr;  // read and written
};

/// One of the profiler's; otherwise `view` is what is known of it, or left as it was.
[[nodiscard]] bool IsOwnThread(const core::CoreApi& core, std::int32_t tid,
                               core::ThreadView* view);

/// All but the profiler's own.
[[nodiscard]] std::vector<ThreadState> CollectThreads(const core::CoreApi& core,
                                                      const ThreadsOptions& options);

/// Their number: a directory read, nothing else.
[[nodiscard]] std::size_t CountThreads(const core::CoreApi& core);

}  // namespace heldby::collect
