// heldby/symbolize.h - name a code address of this process.
//
// Threads  any.
// Signals  unsafe: reads files, allocates, may start a short-lived child.
// Self     allocations made inside these calls are never sampled.
// Units    addresses are run-time addresses, as in /proc/self/maps.
// Bounds   results are cached; at most 32 MiB are kept.
// Source   .symtab, .dynsym and DWARF of the loaded files: docs/symbols.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heldby/profile.h"

namespace heldby {

/// The name in the symbol table of the function that contains `address`, as the linker wrote it
/// (mangled). Empty: no module or no symbol there.
[[nodiscard]] std::string SymbolName(std::uint64_t address);

/// As SymbolName(), one name per address in their order, for the price of about one: each
/// symbol table is read once for all of them. No element at all: memory ran out.
[[nodiscard]] std::vector<std::string> SymbolNames(const std::vector<std::uint64_t>& addresses);

/// Gives every location of `profile` its mapping, and lines where they can be found: names from
/// the symbol tables, file:line and inlined frames from DWARF. Never fails: what cannot be
/// named keeps its address.
void SymbolizeProfile(Profile* profile);

}  // namespace heldby
