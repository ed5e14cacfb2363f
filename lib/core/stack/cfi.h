// core/stack/cfi.h - what .eh_frame says about one instruction: where the caller's frame is.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none.
// Bounds   reads only inside the module's own mapping; every loop is bounded by it or by a
//          constant. What cannot be understood is kInexpressible, never a guess.
// Source   DWARF 5 section 6.4, the LSB's .eh_frame_hdr; counted in Debian 12's own files, more
//          than 99.97 % of all rows are "CFA = rsp or rbp + k", which is what a Rule holds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/stack/module.h"

namespace heldby::core {

struct Bytes {
  const std::uint8_t* begin = nullptr;
  std::uint32_t size = 0;
};

/// How to get from a frame to its caller's. Registers are the ones an architecture's unwinder
/// follows; the return address is always at CFA - 8.
struct Rule {
  enum class Kind : std::uint8_t {
    kUnknown,        // no row: code that nobody described
    kInexpressible,  // there is a row, which this cannot follow: not to be guessed around
    kEnd,            // the return address is undefined: the outermost frame
    kStackPlus,      // CFA = stack pointer + cfa_offset
    kFramePlus,      // CFA = frame pointer + cfa_offset
    kOtherPlus,      // CFA = register cfa_register + cfa_offset
    kExpression,     // CFA = a DWARF expression
    kSignalFrame,    // the interrupted registers lie in a ucontext
  };
  Kind kind = Kind::kUnknown;
  std::uint8_t cfa_register = 0;
  std::int32_t cfa_offset = 0;
  std::int32_t frame_saved_at = 0;  // caller's frame pointer is at CFA + this; 0: unchanged
  static constexpr std::int32_t kFrameLost = 1;  // or it is where this cannot say
  bool exact_above = false;  // a signal frame's: the caller's address is an instruction, not
                             // what a call left
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

struct Entry;  // eh_frame.h

/// Called with each row of an entry, in the order of addresses: [begin, end). Of the rule, what
/// the CFA is by.
struct RowVisitor {
  void (*visit)(void* context, std::uintptr_t begin, std::uintptr_t end, const Rule& rule);
  void* context;
};

/// False: not understood to the end; what was visited until then is right.
bool VisitRows(const Entry& entry, const CfiRegisters& registers, const RowVisitor& visitor);

}  // namespace heldby::core
