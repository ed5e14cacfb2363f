// collect/goroutines.h - threads and parked tasks as one profile.
//
// Threads  any.   Signals  unsafe: allocates, and may send some (threads.h).
// Units    goroutine/count.   Source  docs/threads.md.
#pragma once

#include "core/core.h"
#include "heldby/goroutine.h"
#include "heldby/profile.h"

namespace heldby::collect {

[[nodiscard]] Profile CollectGoroutines(const core::CoreApi& core,
                                        const GoroutineOptions& options);
[[nodiscard]] std::size_t CountGoroutines(const core::CoreApi& core);

}  // namespace heldby::collect
