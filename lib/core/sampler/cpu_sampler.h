// core/sampler/cpu_sampler.h - where the threads of this process spend their time on
// processors: a signal by each thread's own clock, a stack in its handler.
//
// Threads  Start, Stop, Drain, Watch: one caller at a time. BeginThread: any.
// Signals  the handler: no locks, no allocation, errno kept; works before constructors and
//          after thread teardown. Stacks are walked on a stack of ours (signal_capture.h says
//          why).
// Self     threads of ours are not sampled; code of ours on the host's threads is.
// Units    nanoseconds of processor time; weights in periods.
// Bounds   kSlots samples that nobody has drained yet; more are dropped and counted. Drained
//          every 10 ms at 100 a second, that is 128 processors' worth.
// Fork     ForgetInChild(): no profile runs there.
//
// Samples are handed over, not interned: a service that is profiled for weeks would fill the
// table of stacks that the heap's are in.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstdint>

#include "core/base/thread_slot.h"
#include "core/sampler/cpu_timers.h"
#include "core/stack/capture.h"

namespace heldby::core {

struct CpuSample {
  std::uint32_t weight = 0;  // 1 + the ticks that the kernel could not send
  Holder holder{};
  bool guessed = false;         // the connection is what a wrapped call suggested
  std::uint32_t task_made = 0;  // a place: the task may be gone when the profile is written
  Stack stack;
};

enum class CpuStart : std::uint8_t { kStarted, kInUse, kForbidden, kNoSignal };

class CpuSampler {
 public:
  static constexpr int kSlots = 128;

  constexpr CpuSampler() = default;

  /// Until Stop(): each watched thread once in `period_ns` of its own processor time.
  CpuStart Start(std::uint64_t period_ns);
  using Visit = void (*)(void* context, const CpuSample& sample);
  /// No sample is taken after it. Hands over the last ones before another profile can start,
  /// which would take them for its own.
  void Stop(Visit visit, void* context);

  CpuTimers& timers() { return timers_; }

  /// A thread begins, on itself.
  void BeginThread() {
    if (timers_.is_running()) [[unlikely]] {
      timers_.BeginThread(thread_slot.tid);
    }
  }

  /// Hands over what was sampled; how many.
  int Drain(Visit visit, void* context);

  void ForgetInChild();

  std::uint64_t dropped_samples_total() const {
    return dropped_.load(std::memory_order_relaxed);
  }

 private:
  enum class SlotState : std::uint32_t { kFree, kWriting, kFull };
  static constexpr std::size_t kWalkStackBytes = 16 << 10;
  struct Slot {
    std::atomic<SlotState> state;
    std::uint32_t run;
    CpuSample sample;
    alignas(16) char walk_stack[kWalkStackBytes];
  };

  static void OnTimer(const siginfo_t& info, const void* context);
  void Take(std::uint32_t weight, std::uint32_t run, const void* context);

  CpuTimers timers_;
  std::atomic<bool> in_use_{false};
  std::uint32_t runs_ = 0;
  std::atomic<std::uint64_t> dropped_{0};
  Slot slots_[kSlots] = {};
};

/// The one of this process. Constant-initialised.
extern CpuSampler cpu_sampler __attribute__((visibility("hidden")));

}  // namespace heldby::core
