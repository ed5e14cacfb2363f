// core/stack/instruction_x86_64.h - one machine instruction: how long it is, where it leads,
// and what it does to the stack pointer.
//
// Not a disassembler: of operands it knows no more than the stack pointer needs. What changes
// rsp in a way whose size the bytes do not tell is kStackLost; what is not an instruction of
// 64-bit code, or one of an extension that is not known here, is refused.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none.
// Bounds   reads 15 bytes at most, and none behind `size`.
// Source   Intel's manual, volume 2, appendix A: the opcode maps and what has a ModRM byte.
#pragma once

#include <cstddef>
#include <cstdint>

namespace heldby::core {

struct Instruction {
  enum class Kind : std::uint8_t {
    kOther,         // rsp stays, and the next instruction follows
    kMovesStack,    // rsp += value
    kStackByFrame,  // rsp = rbp + value
    kStackLost,     // rsp is changed in another way, or compared to find out how much to take
    kCall,          // to the next instruction + value; rsp is the same again afterwards
    kIndirectCall,
    kJump,         // to the next instruction + value
    kConditional,  // the same, or on
    kIndirectJump,
    kStop,  // ret, ud2, hlt: the next instruction does not follow
  };
  Kind kind = Kind::kOther;
  std::uint8_t length = 0;
  bool rip_relative = false;  // an indirect call or jump through the word at next + value
  std::int32_t value = 0;
};

/// The longest there is.
inline constexpr std::size_t kMaxInstructionBytes = 15;

/// False: not understood, or longer than `size`.
bool DecodeInstruction(const std::uint8_t* bytes, std::size_t size, Instruction* instruction);

/// True: the eight bytes end with a call through a register or memory, as far as they tell.
bool EndsWithIndirectCall(const std::uint8_t* before);

}  // namespace heldby::core
