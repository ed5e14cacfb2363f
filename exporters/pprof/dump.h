// exporters/pprof/dump.h - what a process wrote before it ran out of memory, as a profile.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    values are estimates, in the unit of their column.
// Bounds   512 MiB of memory, by an estimate that rather says too much.
// Source   profile/dump_format.h; docs/oom.md. Nothing in the file is believed: what was cut or
//          damaged costs its own lines, and a comment says how many.
#pragma once

#include <string_view>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// A dump, or a black box of which at least one half has been written.
[[nodiscard]] bool IsDump(std::string_view bytes);

/// inuse_objects and inuse_space, with the user's labels and those of whoever holds it
/// (connection, direction, peer, state, age, task, holder). Locations have mappings, no names.
/// kDataLoss           neither half of the box is whole
/// kResourceExhausted  the profile would take more memory than the bound above
[[nodiscard]] Result<Profile> ParseDump(std::string_view bytes);

/// The part for people, of a box that of its newest whole half. kDataLoss as above.
[[nodiscard]] Result<std::string_view> DumpSummary(std::string_view bytes);

}  // namespace heldby
