// symbolize/elf_symbols.h - which function of a symbol table contains an address.
//
// Threads  any; nothing is kept.
// Signals  unsafe: reads files, allocates.
// Units    addresses are linked addresses (vaddr).
// Bounds   64 KiB of buffer plus a few words per address asked for, however large the table;
//          at most 2^26 table entries and as many comparisons are spent on one call.
// Source   One pass over the table per batch, instead of a sorted index kept per module: a
//          profile asks for a few hundred addresses of tables of up to a million entries, so
//          an index would cost the host 16 MB per million symbols to save milliseconds.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "symbolize/elf_file.h"

namespace heldby::symbolize {

struct Symbol {
  std::string name;  // as in the table, without "@VERSION"; empty: none there
  std::uint64_t start = 0;
};

/// One Symbol per address, in order: from `table` (SHT_SYMTAB or SHT_DYNSYM) of `file`.
/// An address is inside a symbol iff start <= address < start + st_size; a symbol without a
/// size reaches to the next symbol's start or its section's end. Of several, the one starting
/// last wins (nested), then visible before local, the longest, the fewest leading underscores.
/// REQUIRES: addresses ascend.
[[nodiscard]] std::vector<Symbol> FindSymbols(const ElfFile& file, std::uint32_t table,
                                              std::span<const std::uint64_t> addresses);

/// The starts of the functions containing the addresses, by .eh_frame_hdr, which even a
/// stripped file keeps; 0 where unknown.
[[nodiscard]] std::vector<std::uint64_t> FindFunctionStarts(
    const ElfFile& file, std::span<const std::uint64_t> addresses);

}  // namespace heldby::symbolize
