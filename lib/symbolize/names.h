// symbolize/names.h - functions of one file, by its symbol tables alone.
//
// Threads  any; nothing is kept.
// Signals  unsafe: reads files, allocates.
// Units    addresses are offsets in the module's file.
// Source   .symtab, then that of the separate debug file, then .dynsym. What none of them
//          covers is named by its place, "libfoo.so+0x1230", where 0x1230 is the linked
//          address of the function's first byte by .eh_frame_hdr (else of the call itself):
//          one row per function in a report, and what `addr2line -e` takes on a machine that
//          has the symbols. Not read: .gnu_debugdata (needs an LZMA decoder in the host).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "symbolize/byte_source.h"
#include "symbolize/frames.h"
#include "symbolize/modules.h"

namespace heldby::symbolize {

/// What was found of one module's addresses, and the open files for whoever wants more.
struct NamedModule {
  UniqueFd file;        // invalid: out of reach
  UniqueFd debug_file;  // invalid: none, or not needed
  bool has_dwarf = false;
  std::vector<std::uint64_t> vaddrs;  // one per offset; 0: not in a loaded segment
  std::vector<Frame> frames;          // one per offset; system_name empty: named by place
};

/// REQUIRES: offsets ascend.
[[nodiscard]] NamedModule NameOffsets(const Segment& segment,
                                      std::span<const std::uint64_t> offsets);

}  // namespace heldby::symbolize
