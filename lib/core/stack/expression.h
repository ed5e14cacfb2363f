// core/stack/expression.h - the DWARF expressions that unwind tables really contain.
//
// PLT entries compute their CFA from the low bits of the program counter; functions that
// realign their stack load it through the frame pointer. Those take a dozen operators; any
// other makes the evaluation fail, and the walk stop there.
//
// Signals  safe.   Allocates  never.   Bounds  16 values, 64 operators.
#pragma once

#include <cstdint>

#include "core/stack/cfi.h"

namespace heldby::core {

/// What an expression may ask for.
struct ExpressionInput {
  /// Value of a DWARF register. False: not known.
  bool (*read_register)(void* context, unsigned number, std::uint64_t* value);
  /// Eight bytes of stack memory. False: not readable.
  bool (*read_memory)(void* context, std::uint64_t address, std::uint64_t* value);
  void* context;
};

/// `pushed`: what is on the stack when it begins, as the CFA is for a register's rule; nullptr:
/// nothing.
bool Evaluate(const Bytes& expression, const ExpressionInput& input,
              const std::uint64_t* pushed, std::uint64_t* result);

}  // namespace heldby::core
