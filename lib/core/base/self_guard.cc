#include "core/base/self_guard.h"

namespace heldby::core {

// Two ways to know. A caller that stands above the guard has been returned to without it. One
// that stands below it has called its way down anew, over what lay there before. The second is
// asked only of the thread's own stack: the stack of a fiber may be gone. Who is wrong about a
// handler on a stack of its own loses nothing: the guard's destructor finds that it is not the
// one, and what runs under it is safe to enter twice.
__attribute__((noinline)) bool SelfGuardStands() {
  const std::uintptr_t at = thread_slot.self_guard;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const bool is_own_stack =
      thread_slot.stack_high - sizeof(SelfGuard) - at < thread_slot.stack_reach;
  if (here < at && (!is_own_stack || reinterpret_cast<const SelfGuard*>(at)->IsMarked())) {
    return true;
  }
  thread_slot.self_guard = 0;
  return false;
}

}  // namespace heldby::core
