// core/stack/capture.h - the stack of the calling thread, as return addresses.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none.
// Units    return addresses, innermost first; subtract one to land inside the call.
#pragma once

#include <cstdint>

namespace heldby::core {

/// Deepest stack kept. Go keeps 128 since 1.23, and so do its tools' users expect.
inline constexpr int kMaxStackDepth = 128;

struct Stack {
  int depth = 0;
  bool truncated = false;  // there was more, or the unwinder could not go on
  std::uintptr_t frames[kMaxStackDepth];
};

/// Captures the calling stack beginning with the frame whose code `first` is the return address
/// into (what __builtin_return_address(0) says in the hook), so that frames of ours never show.
/// If no such frame is found, the whole stack is kept.
void CaptureStack(std::uintptr_t first, Stack* stack);

}  // namespace heldby::core
