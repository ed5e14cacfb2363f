#include "core/stack/stack_memory.h"

#include <sys/syscall.h>
#include <unistd.h>

extern "C" void* __libc_stack_end;  // of the dynamic linker: where the process was started

namespace heldby::core {

std::uintptr_t StackMemory::OwnEnd() {
  constexpr std::uint32_t kMain = 1;
  constexpr std::uint32_t kOther = 2;
  if (thread_slot.stack_kind == 0) {
    // Once a thread. A thread that forked is its child's main thread, and keeps its own stack:
    // it was looked at before, or its stack is not recognised here, and asked for in each walk.
    thread_slot.stack_kind = syscall(SYS_gettid) == syscall(SYS_getpid) ? kMain : kOther;
  }
  const auto inside = thread_slot.stack_kind == kMain
                          ? reinterpret_cast<std::uintptr_t>(__libc_stack_end)
                          : reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
  return PageOf(inside) + kPage;
}

}  // namespace heldby::core
