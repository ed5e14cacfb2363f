// core/stack/stack_depth_x86_64.h - how far below its CFA a function has its stack pointer, at
// one instruction, read from its code.
//
// For functions that keep a frame by rbp. Their rows say where the frame is by a register that
// nobody may know; the same place is a constant away from the stack pointer, unless the
// function takes stack by a size that it computes. The constant is in its instructions:
//
//   push %rbp; mov %rsp,%rbp    here the row begins, and CFA - rsp is 16
//   push, pop, sub, add, lea    change it by what they say, until the instruction asked for
//   jumps                       go from a depth to the same one: the first tells which that is,
//                               and what follows a jump or a return has it again
//   leave, lea -N(%rbp),%rsp    say it anew
//
// The whole function is read, for a loop may come back to before its instruction. 0, never a
// guess, where anything else moves rsp (alloca, realigned stacks, loops that touch each page),
// a jump goes from another depth, or an instruction is not understood.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none. Bounds   functions up to
// 256 KiB, each instruction once; code is read by ParkedMemory.
#pragma once

#include <cstdint>

#include "core/stack/eh_frame.h"
#include "core/stack/parked_memory.h"

namespace heldby::core {

inline constexpr std::uint64_t kMaxFunctionBytes = 256 << 10;

/// CFA - rsp, while the function of `entry` is at `pc`: at that instruction (`exact`), or in
/// the call that returns there. 0: it cannot be told.
std::int32_t StackDepthAt(const Entry& entry, std::uintptr_t pc, bool exact,
                          ParkedMemory& code);

/// True: the function has a jump to somewhere outside itself, or to where only it knows: what
/// was called may be gone from the stack, and another function there in its place.
bool MayLeaveByAJump(const Entry& entry, ParkedMemory& code);

}  // namespace heldby::core
