// collect/await_chains.h - which coroutines a parked task waits in, read from their frames.
//
// Threads  an object serves one profile.   Signals  unsafe: allocates.
// Bounds   kMaxChain frames a task; kBatch tasks read at once.
//
// The frames lie in the program's heap and may be gone by the time they are read, since a task
// can go on at any moment. The kernel copies them, which cannot fault, many with one call; then
// the task is looked at again: if it has not come to a thread since, what was read was so.
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/inlined_vector.h"
#include "core/core.h"

namespace heldby::collect {

/// One coroutine of a chain.
struct AwaitPoint {
  std::uintptr_t code = 0;  // of its function; 0: not known
  std::uint32_t place = 0;  // where it waits; 0: not known
  bool operator==(const AwaitPoint&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const AwaitPoint& point) {
    return H::combine(std::move(h), point.code, point.place);
  }
};

using AwaitChain = absl::InlinedVector<AwaitPoint, 4>;  // innermost first

struct ParkedTask {
  ParkedTask() {}

  core::TaskView view{};
  AwaitChain chain;  // empty: it has none, or went on
};

inline constexpr std::size_t kMaxChain = 64;
inline constexpr std::size_t kChainBatch = 512;

/// Fills the chains. REQUIRES: at most kChainBatch.
void ReadChains(const core::RegistryApi& registry, std::span<ParkedTask> tasks);

}  // namespace heldby::collect
