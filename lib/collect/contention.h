// collect/contention.h - the core's tables of waits as profile values: addresses, no names yet.
//
// Threads  any; others keep waiting: a window, not an instant.   Signals  unsafe: allocates.
// Self     the caller holds an UnsampledScope.
// Progress waits, 200 ms at most, for a thread that is just writing down the end of its wait.
#pragma once

#include "core/core.h"
#include "heldby/contention.h"
#include "heldby/profile.h"

namespace heldby::collect {

[[nodiscard]] Profile CollectBlock(const core::CoreApi& core, const HolderLabels& wanted);
[[nodiscard]] Profile CollectMutex(const core::CoreApi& core, const HolderLabels& wanted);

}  // namespace heldby::collect
