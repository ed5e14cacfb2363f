// collect/heap.h - the core's heap tables as a profile value: addresses, no names yet.
//
// Threads  any; other threads keep allocating: a window, not an instant.
// Signals  unsafe: allocates.
// Self     the caller holds an UnsampledScope.
// Units    bytes and whole objects; the core's 1/4096 objects are rounded here, per site.
#pragma once

#include <vector>

#include "core/core.h"
#include "heldby/heap.h"
#include "heldby/profile.h"
#include "leaks/site_history.h"

namespace heldby::collect {

/// alloc_objects, alloc_space, inuse_objects, inuse_space; a label `bytes` with the size class,
/// the user's labels, and those of `labels`.
/// Locations carry call addresses (return address - 1) and no mapping, but for the few
/// synthetic frames, which have a mapping of their own.
Profile CollectHeap(const core::CoreApi& core, const HolderLabels& labels);

/// The same, less what was `before`, by rising site: negative where more was freed.
Profile CollectHeapSince(const core::CoreApi& core, std::vector<leaks::SiteTotals> before);

}  // namespace heldby::collect
