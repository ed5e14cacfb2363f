// exporters/pprof/dump_parts.h - the text in a dump or a box, and of its fields.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   profile/dump_format.h.
#pragma once

#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby {

/// A dump itself, or what the newest whole half of a box says. kDataLoss: neither half is
/// whole.
[[nodiscard]] Result<std::string_view> DumpTextOf(std::string_view bytes);

/// "-" for none; bytes that are no character are replaced, since a reader may refuse them.
[[nodiscard]] std::string Unescaped(std::string_view field);

}  // namespace heldby
