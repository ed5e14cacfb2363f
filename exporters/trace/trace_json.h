// exporters/trace/trace_json.h - the JSON of EncodeTrace(), before it is gzipped.
//
// Threads  any.   Signals  unsafe: allocates.
// Units    microseconds with three decimals, as the format has them.
// Bounds   kMaxArgumentBytes of arguments in all; the events beyond have none, and are counted.
// Source   the Trace Event Format of Chrome's viewer, which Perfetto reads too: docs/trace.md.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include "heldby/trace.h"

namespace heldby {

inline constexpr std::size_t kMaxArgumentBytes = std::size_t{128} << 20;

/// Calls write(piece) with one piece after the other: the whole may be a hundred megabytes.
void WriteTraceJson(const Trace& trace, const std::function<void(std::string_view)>& write,
                    std::size_t max_argument_bytes = kMaxArgumentBytes);

}  // namespace heldby
