// core/sampler/cpu_timers.h - one timer for each thread, by the time that thread spends on a
// processor.
//
// Threads  Begin, End, Watch, Sweep: one caller at a time. BeginThread: any, at any time.
// Signals  BeginThread is safe.   Allocates  never from the host's heap.   errno kept.
// Units    nanoseconds of processor time.
// Bounds   kCapacity threads, and RLIMIT_SIGPENDING timers: who gets none is counted in
//          unwatched_total().
// Fork     ForgetInChild(): the child has no timers.
// Source   timer_create(2); CLOCK_THREAD_CPUTIME_ID of another thread as the kernel builds it.
//
// A timer of the process (setitimer, SIGPROF) sends one signal a tick to whichever thread the
// kernel picks: half the work looks like a fifth of it, and with many processors most of it is
// lost. Timers of threads are exact, and the kernel counts what it could not send.
//
// A thread that blocks the signal must have none: it would stay pending, and a program that
// takes its signals with sigwait() or a signalfd would be handed one that it knows nothing of.
//
// A timer outlives its thread, and the number of the thread may come back. So a place is known
// to be stale by asking whether its thread lives, and a thread that is born takes over the
// place of its number and makes the timer anew.
#pragma once

#include <atomic>
#include <cstdint>

namespace heldby::core {

class CpuTimers {
 public:
  static constexpr std::uint32_t kCapacity = 1 << 14;

  constexpr CpuTimers() = default;

  /// Timers send `signal` with `run` as their value, which is not 0.
  void Begin(std::uint64_t period_ns, int signal, std::uint32_t run);
  void End();
  bool is_running() const { return run_.load(std::memory_order_acquire) != 0; }
  int signal() const { return signal_.load(std::memory_order_relaxed); }
  std::uint32_t run() const { return run_.load(std::memory_order_acquire); }

  bool Knows(std::int32_t tid) const;
  /// A thread that is alive and has no timer yet.
  void Watch(std::int32_t tid);
  /// The calling thread, at its beginning. None if it blocks the signal: see below.
  void BeginThread(std::int32_t tid);
  /// Gives up the timers of threads that have ended.
  void Sweep();

  void ForgetInChild();

  std::uint64_t unwatched_total() const { return unwatched_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::atomic<std::int32_t> tid;    // 0: free
    std::atomic<std::int32_t> timer;  // id + 1; 0: none, or being made
  };
  static constexpr std::uint32_t kProbes = 64;

  Entry* Find(std::int32_t tid);
  void Make(Entry* entry, std::int32_t tid);
  bool Place(Entry* entry, std::int32_t tid, std::int32_t timer, std::uint32_t run);
  static void Give(Entry* entry);

  Entry entries_[kCapacity] = {};
  std::atomic<std::uint32_t> run_{0};
  std::atomic<std::uint64_t> period_ns_{0};
  std::atomic<int> signal_{0};
  std::atomic<std::uint64_t> unwatched_{0};
};

}  // namespace heldby::core
