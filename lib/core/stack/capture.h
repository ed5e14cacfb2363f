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
  /// Which module each frame was in: 16 bits of its Hash(), never 0; 0: none, or not looked at.
  /// An address alone would be given the name of whatever is loaded there by the time somebody
  /// asks.
  std::uint16_t modules[kMaxStackDepth];
};

/// The module of the code at `pc`, as Stack::modules names it; 0: none.
std::uint16_t ModuleTagAt(std::uintptr_t pc);

/// Captures the calling stack beginning with the frame whose code `first` is the return address
/// into (what __builtin_return_address(0) says in the hook), so that frames of ours never show.
/// If no such frame is found, the whole stack is kept.
void CaptureStack(std::uintptr_t first, Stack* stack);

}  // namespace heldby::core
