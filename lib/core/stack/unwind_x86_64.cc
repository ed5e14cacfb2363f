// The walks for x86-64: by unwind tables, with their own eyes on every load.
//
// Promises  no lock (_dl_find_object takes none), no allocation, errno kept, no load that can
//           fault; works in signal handlers, before constructors, after thread teardown.
//           CaptureParked takes the dynamic linker's lock and works on threads of ours only.
#if !defined(__x86_64__)
#error "this file is for x86-64; another architecture brings its own unwind_<name>.cc"
#endif

#include <link.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <cstddef>

#include "core/base/loader_gate.h"
#include "core/base/signals_blocked.h"
#include "core/stack/capture.h"
#include "core/stack/instruction_x86_64.h"
#include "core/stack/parked_memory.h"
#include "core/stack/signal_capture.h"
#include "core/stack/stack_memory.h"
#include "core/stack/walker_x86_64.h"

namespace heldby::core {

constinit RuleCache rule_cache;

namespace {

// From the walker's place to the root; what is before the frame that `first` returns to, if
// that is found, is left out.
template <typename Memory>
void Walk(Walker<Memory>& walker, std::uintptr_t first, Stack* stack) {
  using Step = typename Walker<Memory>::Step;
  for (bool found = false;;) {
    const Step step = walker.Next();
    if (stack->depth > 0) stack->modules[stack->depth - 1] = walker.module_tag();
    if (step == Step::kEnd) return;
    if (step == Step::kLost || stack->depth == kMaxStackDepth) {
      stack->truncated = true;
      return;
    }
    if (!found && walker.pc() == first) {
      found = true;
      stack->depth = 0;  // forget the frames of ours above it
    }
    stack->modules[stack->depth] = 0;
    stack->frames[stack->depth++] = walker.pc();
  }
}

// `leaf`: the place where the walk begins is the first frame, rather than its caller's.
template <typename Memory>
void Capture(const RegisterFile& at, bool leaf, std::uintptr_t first, Stack* stack) {
  for (int extra = kNoRegister;;) {
    Walker<Memory> walker(at, extra);
    stack->depth = leaf ? 1 : 0;
    stack->frames[0] = walker.pc();
    stack->modules[0] = 0;
    stack->truncated = false;
    Walk(walker, first, stack);
    // Once: a stack that needs two registers more is cut.
    if (!stack->truncated || extra != kNoRegister) return;
    extra = walker.wanted();
    if (extra == kNoRegister) return;
  }
}

}  // namespace

bool CallEndsAt(const Module& module, std::uintptr_t pc) {
  const auto begin = reinterpret_cast<std::uintptr_t>(module.begin);
  if (pc < begin + 8 || pc > reinterpret_cast<std::uintptr_t>(module.end)) return false;
  if (pc % 4096 < 8 && !PageIsReadable(pc - 8)) return false;  // a library may have holes
  std::uint8_t before[8];  // before[8 - n]: the byte n before pc
  __builtin_memcpy(before, module.begin + (pc - begin) - 8, sizeof(before));
  if (before[3] == 0xe8) return true;  // call rel32
  return EndsWithIndirectCall(before);
}

bool PageIsReadable(std::uintptr_t address) {
  // rt_sigprocmask reads the new mask before it looks at `how`: EFAULT if it cannot, EINVAL if
  // it can. No wrapper of libc's, so errno stays as it is.
  constexpr long kEinval = 22;
  long result;
  register long how asm("rdi") = -1;
  register std::uintptr_t set asm("rsi") = address;
  register long old asm("rdx") = 0;
  register long size asm("r10") = 8;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_rt_sigprocmask), "r"(how), "r"(set), "r"(old), "r"(size)
               : "rcx", "r11", "memory");
  return result == -kEinval;
}

__attribute__((noinline)) void CaptureStack(std::uintptr_t first, Stack* stack) {
  // What callees save, as it is at one instruction of this function, whose own row then tells
  // where the caller's values are. What callees may change has no meaning up there.
  RegisterFile here;
  here.known = 1 << 3 | 1 << kFramePointer | 1 << kStackPointer | 0xf000;
  asm volatile(
      "mov %%rbx, %[rbx]\n\tmov %%rbp, %[rbp]\n\tmov %%rsp, %[rsp]\n\t"
      "mov %%r12, %[r12]\n\tmov %%r13, %[r13]\n\tmov %%r14, %[r14]\n\tmov %%r15, %[r15]\n\t"
      "lea (%%rip), %[pc]"
      : [rbx] "=m"(here.value[3]), [rbp] "=m"(here.value[6]), [rsp] "=m"(here.value[7]),
        [r12] "=m"(here.value[12]), [r13] "=m"(here.value[13]), [r14] "=m"(here.value[14]),
        [r15] "=m"(here.value[15]), [pc] "=r"(here.pc));
  Capture<StackMemory>(here, /*leaf=*/false, first, stack);
}

void CaptureInterrupted(const void* ucontext, Stack* stack) {
  const auto& gregs = static_cast<const ucontext_t*>(ucontext)->uc_mcontext.gregs;
  RegisterFile there;
  there.known = 0xffff;
  there.pc = static_cast<std::uintptr_t>(gregs[REG_RIP]);
  for (int number = 0; number < 16; ++number) {
    there.value[number] = static_cast<std::uintptr_t>(gregs[GregOf(number)]);
  }
  Capture<StackMemory>(there, /*leaf=*/true, /*first=*/0, stack);
}

UnwindCounters ReadUnwindCounters() {
  return {.rules_read_total = rule_cache.read_total(),
          .cache_bytes = sizeof(rule_cache) + LastWalk::kBytes};
}

void CaptureParked(const Registers& registers, Stack* stack) {
  struct Job {
    RegisterFile at;
    Stack* stack;
  } job{{}, stack};
  job.at.pc = registers.pc;
  job.at.known = 1 << kStackPointer | (registers.fp_known ? 1 << kFramePointer : 0);
  job.at.value[kStackPointer] = registers.sp;
  job.at.value[kFramePointer] = registers.fp;
  stack->frames[0] = registers.pc + 1;
  stack->modules[0] = 0;
  stack->depth = 1;
  stack->truncated = true;
  // No handler forks while this thread has the lock: the child could not even wait for it.
  const SignalsBlocked no_signals;
  if (!EnterLoaderBriefly()) return;
  // The lock is what this is called for: dlclose unmaps with the same one held.
  dl_iterate_phdr(
      [](dl_phdr_info*, std::size_t, void* argument) {
        auto& mine = *static_cast<Job*>(argument);
        Capture<ParkedMemory>(mine.at, /*leaf=*/true, /*first=*/0, mine.stack);
        return 1;
      },
      &job);
  LeaveLoader();
}

// The callee saves rbx, so it is where the old stack is kept. No unwind table describes the
// step: nothing may be thrown through it, and a walk by a signal in the middle of it ends
// there.
void CallOnStack(void* top, void (*function)(void*, void*), void* a, void* b) {
  asm volatile(
      "mov %%rsp, %%rbx\n\t"
      "mov %[top], %%rsp\n\t"
      "call *%[function]\n\t"
      "mov %%rbx, %%rsp"
      : "+D"(a), "+S"(b)
      : [top] "r"(top), [function] "r"(function)
      : "rbx", "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
        "xmm14", "xmm15", "memory", "cc");
}

}  // namespace heldby::core
