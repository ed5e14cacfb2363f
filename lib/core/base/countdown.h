// core/base/countdown.h - the whole cost of an allocation that is not sampled.
//
// Signals  safe on x86-64: one read-modify-write instruction.   Allocates  never.
//
// Charges size + 1, so that malloc(0), which holds a block too, can be seen. Compares as
// unsigned, so that an absurd size (malloc(SIZE_MAX / 2), about to fail) takes the slow path
// and is put right there, instead of winding the countdown up to a value that never ends.
#pragma once

#include <cstddef>

#include "core/base/thread_slot.h"

namespace heldby::core {

inline std::uint64_t ChargedBytes(std::size_t size) { return std::uint64_t{size} + 1; }

/// Takes `size` + 1 bytes off the thread's countdown. True: it was used up (before <= charged).
__attribute__((always_inline)) inline bool CountDown(std::size_t size) {
#if defined(__x86_64__)
  // GCC would load, compare, subtract and store; the subtraction's own flags say it all.
  bool used_up;
  asm("subq %[charged], %[countdown]"
      : [countdown] "+m"(thread_slot.countdown_bytes), "=@ccbe"(used_up)
      : [charged] "r"(ChargedBytes(size)));
  return used_up;
#else
  const std::uint64_t before = thread_slot.countdown_bytes;
  thread_slot.countdown_bytes = before - ChargedBytes(size);
  return before <= ChargedBytes(size);
#endif
}

}  // namespace heldby::core
