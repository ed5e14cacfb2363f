// core/stack/cfi.h - what .eh_frame says about one instruction: where the caller's frame is.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none.
// Bounds   reads only inside the module's own mapping; every loop is bounded by it or by a
//          constant. What cannot be understood is kUnknown, never a guess.
// Source   DWARF 5 section 6.4, the LSB's .eh_frame_hdr; counted in Debian 12's own files, more
//          than 99.97 % of all rows are "CFA = rsp or rbp + k", which is what a Rule holds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace heldby::core {

/// A loaded object, as _dl_find_object (glibc 2.35; takes no lock) describes it.
struct Module {
  const std::uint8_t* begin;  // of its mapping
  const std::uint8_t* end;
  const std::uint8_t* eh_frame_hdr;  // inside it
};

/// The module that contains `pc`. False: none, or it has no unwind table.
bool FindModule(std::uintptr_t pc, Module* module);

/// Tells a module from another one that is loaded at its place after it is gone: by the
/// part of the file's first page that has its build id. Never 0. Ask once per module and walk.
std::uint64_t Hash(const Module& module);

/// The 16 bits of a Hash() that a stack keeps for each frame. Never 0.
constexpr std::uint16_t ModuleTag(std::uint64_t hash) {
  return static_cast<std::uint16_t>(hash >> 48 | 1);
}

struct Bytes {
  const std::uint8_t* begin = nullptr;
  std::uint32_t size = 0;
};

/// How to get from a frame to its caller's. Registers are the ones an architecture's unwinder
/// follows; the return address is always at CFA - 8.
struct Rule {
  enum class Kind : std::uint8_t {
    kUnknown,      // no row, or one that this cannot express
    kEnd,          // the return address is undefined: the outermost frame
    kStackPlus,    // CFA = stack pointer + cfa_offset
    kFramePlus,    // CFA = frame pointer + cfa_offset
    kExpression,   // CFA = a DWARF expression
    kSignalFrame,  // the interrupted registers lie in a ucontext
  };
  Kind kind = Kind::kUnknown;
  std::int32_t cfa_offset = 0;
  std::int32_t frame_saved_at = 0;  // caller's frame pointer is at CFA + this; 0: unchanged
  Bytes cfa_expression;
  Bytes frame_expression;  // if not empty: caller's frame pointer is at the address it gives
};

/// Numbers of the registers in DWARF, given by the architecture.
struct CfiRegisters {
  std::uint8_t frame_pointer;
  std::uint8_t stack_pointer;
  std::uint8_t return_address;
};

/// The row for the instruction at `pc` (for a return address: pass it minus one).
Rule FindRule(const Module& module, std::uintptr_t pc, const CfiRegisters& registers);

}  // namespace heldby::core
