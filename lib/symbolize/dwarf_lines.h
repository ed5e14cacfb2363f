// symbolize/dwarf_lines.h - file:line, inlined calls and function starts from DWARF.
//
// Threads  one at a time.
// Signals  unsafe.
// Units    addresses are linked addresses of calls (return address - 1); lines from 1.
// Bounds   none of its own: libdw may use any amount of memory, and mistrusts its input less
//          than a server should. It runs in heldby-symbolizer, under limits.
// Source   libdw reads DWARF 2 to 5, compressed sections, dwz and split units. Units are found
//          by their own ranges, not by .debug_aranges, which clang does not write.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "symbolize/frames.h"

namespace heldby::symbolize {

/// Calls `take(index, frames)` for each address that DWARF says something about. Frame::name is
/// the scope-qualified name in DWARF, Frame::system_name the linkage name there, if any; both
/// are empty where only the line is known.
/// REQUIRES: addresses ascend. `debug_fd` is the separate debug file, or -1.
void ReadLines(int file_fd, int debug_fd, std::span<const std::uint64_t> addresses,
               const std::function<void(std::size_t index, Frames frames)>& take);

}  // namespace heldby::symbolize
