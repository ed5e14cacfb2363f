#include "core/stack/own_signal.h"

#include <asm/prctl.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include <atomic>

#include "core/base/thread_slot.h"
#include "core/stack/stack_memory.h"

namespace heldby::core {
namespace {

std::atomic<SignalHandler> on_question{nullptr};
std::atomic<SignalHandler> on_timer{nullptr};
std::atomic<bool> forbidden{false};

// No wrapper of libc's: where they put errno is what is in question.
__attribute__((always_inline)) inline long Call(long number, long a = 0, long b = 0,
                                                long c = 0) {
  long result = number;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

// A thread that a program makes by clone() itself may have no thread control block, or its
// maker's: then thread-local memory, errno included, is a fault or another thread's. glibc
// writes the block's own address into the block.
__attribute__((always_inline)) inline bool HasThreadMemory() {
  constexpr std::uintptr_t kSelf = 16;
  constexpr std::uintptr_t kAlign = 64;
  std::uintptr_t block = 0;
  if (Call(SYS_arch_prctl, ARCH_GET_FS, reinterpret_cast<long>(&block)) != 0)
    return true;  // a filter: as most are
  if (block == 0 || block % kAlign != 0 || !PageIsReadable(block)) {
    return false;
  }
  if (*reinterpret_cast<const std::uintptr_t*>(block + kSelf) != block) return false;
  // The number of another thread of this process; a forked child may have its parent's still.
  const long listed = thread_slot.tid;
  if (listed == 0 || listed == Call(SYS_gettid)) return true;
  return Call(SYS_tgkill, Call(SYS_getpid), listed, 0) != 0;
}

__attribute__((noinline)) void OnSignalWithMemory(siginfo_t* info, void* context) {
  const int kept = errno;
  const auto& whose = info->si_code == SI_TIMER ? on_timer : on_question;
  const SignalHandler handler = whose.load(std::memory_order_acquire);
  const bool is_ours = info->si_code == SI_TIMER || info->si_code == SI_QUEUE;
  if (is_ours && handler != nullptr) handler(*info, context);
  errno = kept;
}

__attribute__((no_stack_protector)) void OnSignal(int, siginfo_t* info, void* context) {
  if (HasThreadMemory()) OnSignalWithMemory(info, context);
}

}  // namespace

void HandleQuestions(SignalHandler handler) {
  on_question.store(handler, std::memory_order_release);
}
void HandleTimers(SignalHandler handler) { on_timer.store(handler, std::memory_order_release); }

int OurSignal() {
  if (SignalsAreForbidden()) return 0;
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
    struct sigaction known;
    if (sigaction(signal, nullptr, &known) != 0) continue;
    if ((known.sa_flags & SA_SIGINFO) != 0) {
      if (known.sa_sigaction == &OnSignal) return signal;
      continue;
    }
    if (known.sa_handler != SIG_DFL) continue;
    struct sigaction ours;
    memset(&ours, 0, sizeof(ours));
    ours.sa_sigaction = &OnSignal;
    ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&ours.sa_mask);
    if (sigaction(signal, &ours, nullptr) == 0) return signal;
  }
  return 0;
}

void ForbidSignals() { forbidden.store(true, std::memory_order_relaxed); }
bool SignalsAreForbidden() { return forbidden.load(std::memory_order_relaxed); }

}  // namespace heldby::core
