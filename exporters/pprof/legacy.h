// exporters/pprof/legacy.h - profiles in the formats that came before profile.proto.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    values are estimates (already unsampled), in the unit of their column.
// Bounds   512 MiB of memory, by an estimate that rather says too much.
// Source   gperftools and Go, as pprof reads them: docs/formats.md. Locations are call
//          addresses (return address - 1), mappings come from the list of libraries at the
//          end.
#pragma once

#include <string_view>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// Does `bytes` begin like one of the formats below?
[[nodiscard]] bool IsLegacy(std::string_view bytes);

/// Finds out the format by itself:
///   gperftools  heap_v2 sample text, heapprofile dumps, growth and fragmentation text, binary
///               CPU profiles of 32 and 64 bits in either byte order, contention text
///   Go          `?debug=1` texts of heap, allocs, block, mutex and of all profiles that count
/// The result has no time: these formats do not record one.
/// kDataLoss  no known format, or damaged: the message names the line, or the byte.
/// kResourceExhausted  the profile would take more memory than the bound above
[[nodiscard]] Result<Profile> ParseLegacy(std::string_view bytes);

}  // namespace heldby
