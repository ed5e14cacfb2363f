// collect/counted.h - profiles of things that are there until they are given back: connections,
// and what the program itself counts.
//
// Threads  any.   Signals  unsafe: allocates.   Units  as the columns say.
// Source   docs/endpoint.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/core.h"
#include "heldby/heap.h"
#include "heldby/profile.h"

namespace heldby::collect {

/// connections/count, held_space/bytes, queued_space/bytes, by the stack that opened them.
[[nodiscard]] Profile CollectConnectionProfile(const core::CoreApi& core,
                                               const HolderLabels& wanted);

/// `name`/count; each stack, of intern_stack(), with how many were added there.
[[nodiscard]] Profile CollectCounted(
    const core::CoreApi& core, const std::string& name,
    const std::vector<std::pair<std::uint32_t, std::int64_t>>& stacks);

/// threadcreate/count: the threads there are, by the stack that called pthread_create; those
/// that nobody saw being created (the first one, and those from before) have none. `each`: a
/// sample for each, with its number as label goroutine.
[[nodiscard]] Profile CollectThreadCreation(const core::CoreApi& core, bool each);

}  // namespace heldby::collect
