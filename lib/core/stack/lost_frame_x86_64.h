// core/stack/lost_frame_x86_64.h - the frame of a function that keeps it by rbp, when nobody
// knows rbp: that of a thread which is parked.
//
// Its place is the stack pointer plus a constant that the function's code tells
// (stack_depth_x86_64.h). It is believed if what then is the return address is
//
//   behind a call of this very function: direct, through a PLT entry, or through a word that
//     points to it; or
//   behind a call that may have led here: through a register or a table, or of a function that
//     leaves by a jump. Then the caller's frame, found by the rbp that this one would have
//     saved, has to lie above and to return to behind a call, too.
//
// Otherwise the walk is cut, as if this were not there.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none; modules must stay loaded
// meanwhile. Bounds   9 KiB of stack; ten instructions for a chain of jumps.
#pragma once

#include <cstdint>

#include "core/stack/cfi.h"
#include "core/stack/parked_memory.h"

namespace heldby::core {

/// A frame whose row is by rbp.
struct LostFrame {
  const Module& module;
  std::uint64_t hash;  // the module's
  std::uintptr_t pc;
  std::uintptr_t sp;
  bool exact;  // pc is the instruction itself, not what a call returns to
};

/// Its CFA; 0: it cannot be told.
std::uintptr_t FindLostFrame(const LostFrame& frame, const Rule& rule, ParkedMemory& stack);

}  // namespace heldby::core
