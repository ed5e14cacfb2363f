// collect/trace_builder.h - a log of events -> a Trace: slices that begin, nest and end.
//
// Threads  any.   Signals  unsafe: allocates.
// Units    as heldby/trace.h.
// Source   docs/trace.md.
//
// One pass over the events in the order of time. What the log does not say is not made up: a
// task that was there before has no state until something happens to it, and an end without a
// beginning has one at the start of the trace.
#pragma once

#include "collect/trace_log.h"
#include "heldby/trace.h"

namespace heldby::collect {

[[nodiscard]] Trace BuildTrace(const core::CoreApi& core, const TraceLog& log);

}  // namespace heldby::collect
