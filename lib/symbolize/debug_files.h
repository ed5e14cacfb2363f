// symbolize/debug_files.h - where a file's symbols and DWARF were put when it was stripped.
//
// Threads  any.
// Signals  unsafe: reads files, allocates.
// Bounds   a debug link's file is read once through for its checksum, 1 GiB at most.
// Source   the GDB manual's "Debugging Information in Separate Files": first
//          <root>/.build-id/ab/cdef.debug, then the .gnu_debuglink name beside the file, in
//          .debug/ there, and below <root>. Nothing is fetched over a network.
#pragma once

#include <string>
#include <vector>

#include "symbolize/byte_source.h"
#include "symbolize/elf_file.h"

namespace heldby::symbolize {

inline constexpr const char* kDebugRoot = "/usr/lib/debug";

/// A file that certainly belongs to `file` (same build-id, or the link's checksum), or
/// invalid. `path` is where `file` is, for debug links.
[[nodiscard]] UniqueFd OpenDebugFile(const ElfFile& file, const std::string& path,
                                     const std::string& debug_root = kDebugRoot);

}  // namespace heldby::symbolize
