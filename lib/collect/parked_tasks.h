// collect/parked_tasks.h - parked tasks by what they wait in: those alike, counted.
//
// Threads  an object serves one profile.   Signals  unsafe: allocates.
// Bounds   as await_chains.h; one entry for each stack and label set.
#pragma once

#include <cstdint>
#include <vector>

#include "collect/await_chains.h"
#include "collect/holders.h"
#include "collect/stack_locations.h"
#include "core/core.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

/// The coroutines a parked task waits in; without any, the place where it was parked, or made.
[[nodiscard]] AwaitChain StackOf(ParkedTask task);

[[nodiscard]] std::vector<LocationId> LocationsOf(const AwaitChain& points, PlaceTexts* texts,
                                                  StackLocations* locations);

/// What makes parked tasks one sample of a profile.
struct ParkedGroup {
  AwaitChain stack{};
  std::uint32_t labels = 0;
  bool operator==(const ParkedGroup&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const ParkedGroup& group) {
    return H::combine(std::move(h), group.stack, group.labels);
  }
};

using ParkedGroups = FlatHashMap<ParkedGroup, std::int64_t>;

/// Neither ended nor on a thread.
[[nodiscard]] bool IsParked(const core::TaskView& view);

[[nodiscard]] ParkedGroups CountParkedTasks(const core::RegistryApi& registry);

}  // namespace heldby::collect
