// symbolize/frames.h - what is known about one code address.
//
// Threads  values.
// Signals  unsafe: allocates.
// Units    lines count from 1; 0 is unknown.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace heldby::symbolize {

struct Frame {
  std::string name;         // for people: demangled, or qualified from DWARF
  std::string system_name;  // as the linker knows it; empty where it knows nothing
  std::string filename;
  std::uint32_t line = 0;
  std::uint32_t start_line = 0;

  bool operator==(const Frame&) const = default;
};

/// Inlined callees first, the real function last. Empty: nothing is known.
using Frames = std::vector<Frame>;

}  // namespace heldby::symbolize
