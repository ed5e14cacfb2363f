// The stepping stone behind capture.h: libgcc's unwinder, linked statically.
//
// libgcc finds a frame's unwind data with _dl_find_object (glibc 2.35), which takes no lock,
// and allocates nothing. It interprets CFI anew for every frame: about 0.7 us each.
//
// Rejected: libunwind (its shared object exports 36 _Unwind_* symbols that hijack the host's
// exceptions; 256 KiB of cache per thread), absl::GetStackTrace (follows frame pointers, which
// Debian's own code does not have: no frames at all).
#include <unwind.h>

#include "core/stack/capture.h"

namespace heldby::core {
namespace {

struct Walk {
  Stack* stack;
  std::uintptr_t first;
  bool found;
};

_Unwind_Reason_Code Visit(_Unwind_Context* context, void* argument) {
  auto* walk = static_cast<Walk*>(argument);
  const auto pc = static_cast<std::uintptr_t>(_Unwind_GetIP(context));
  if (pc == 0) return _URC_END_OF_STACK;
  Stack* stack = walk->stack;
  if (!walk->found && pc == walk->first) {
    walk->found = true;
    stack->depth = 0;  // forget the frames of ours above it
  }
  if (stack->depth == kMaxStackDepth) {
    stack->truncated = true;
    return _URC_END_OF_STACK;
  }
  stack->frames[stack->depth++] = pc;
  return _URC_NO_REASON;
}

}  // namespace

void CaptureStack(std::uintptr_t first, Stack* stack) {
  stack->depth = 0;
  stack->truncated = false;
  Walk walk{stack, first, false};
  _Unwind_Backtrace(Visit, &walk);
}

}  // namespace heldby::core
