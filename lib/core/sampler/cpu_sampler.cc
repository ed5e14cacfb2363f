#include "core/sampler/cpu_sampler.h"

#include "core/registry/registry.h"
#include "core/stack/own_signal.h"
#include "core/stack/signal_capture.h"

namespace heldby::core {

constinit CpuSampler cpu_sampler;

CpuStart CpuSampler::Start(std::uint64_t period_ns) {
  if (SignalsAreForbidden()) return CpuStart::kForbidden;
  bool free = false;
  if (!in_use_.compare_exchange_strong(free, true)) return CpuStart::kInUse;
  HandleTimers(&CpuSampler::OnTimer);
  const int signal = OurSignal();
  if (signal == 0) {
    in_use_.store(false, std::memory_order_release);
    return CpuStart::kNoSignal;
  }
  // A sample of the run before that was finished late is nobody's.
  Drain([](void*, const CpuSample&) {}, nullptr);
  if (++runs_ == 0) runs_ = 1;
  timers_.Begin(period_ns, signal, runs_);
  return CpuStart::kStarted;
}

void CpuSampler::Stop(Visit visit, void* context) {
  timers_.End();
  Drain(visit, context);
  in_use_.store(false, std::memory_order_release);
}

// A signal may be on its way when its timer is deleted, and anybody with the same user id may
// send one that looks like a timer's: then it is one more sample of a thread that did run.
void CpuSampler::OnTimer(const siginfo_t& info, const void* context) {
  const std::uint32_t run = cpu_sampler.timers_.run();
  if (run == 0 || static_cast<std::uint32_t>(info.si_value.sival_int) != run) return;
  if (thread_slot.is_own) return;
  const std::uint32_t missed =
      info.si_overrun > 0 ? static_cast<std::uint32_t>(info.si_overrun) : 0;
  cpu_sampler.Take(1 + missed, run, context);
}

void CpuSampler::Take(std::uint32_t weight, std::uint32_t run, const void* context) {
  for (Slot& slot : slots_) {
    SlotState free = SlotState::kFree;
    if (slot.state.load(std::memory_order_relaxed) != SlotState::kFree ||
        !slot.state.compare_exchange_strong(free, SlotState::kWriting,
                                            std::memory_order_acquire)) {
      continue;
    }
    CpuSample& sample = slot.sample;
    CallOnStack(
        slot.walk_stack + kWalkStackBytes,
        [](void* interrupted, void* stack) {
          CaptureInterrupted(interrupted, static_cast<Stack*>(stack));
        },
        const_cast<void*>(context), &sample.stack);
    sample.weight = weight;
    sample.guessed = false;
    sample.holder = registry.HolderNow(&sample.guessed);
    const TaskRecord* task = registry.tasks.Open(sample.holder.task);
    sample.task_made = task != nullptr ? task->made.load(std::memory_order_relaxed) : 0;
    slot.run = run;
    slot.state.store(SlotState::kFull, std::memory_order_release);
    return;
  }
  dropped_.fetch_add(weight, std::memory_order_relaxed);
}

int CpuSampler::Drain(Visit visit, void* context) {
  int count = 0;
  for (Slot& slot : slots_) {
    if (slot.state.load(std::memory_order_acquire) != SlotState::kFull) continue;
    if (slot.run == runs_) {
      visit(context, slot.sample);
      ++count;
    }
    slot.state.store(SlotState::kFree, std::memory_order_release);
  }
  return count;
}

void CpuSampler::ForgetInChild() {
  timers_.ForgetInChild();
  in_use_.store(false, std::memory_order_relaxed);
  for (Slot& slot : slots_) {
    if (slot.state.load(std::memory_order_relaxed) == SlotState::kFree) continue;
    slot.state.store(SlotState::kFree, std::memory_order_relaxed);
  }
}

}  // namespace heldby::core
