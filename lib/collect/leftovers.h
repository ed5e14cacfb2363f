// collect/leftovers.h - what the core's tables have now and did not have then.
//
// Threads  any; other threads go on meanwhile.   Signals  unsafe: allocates.
// Self     the caller holds an UnsampledScope.
// Units    *_ns are RegistryApi::now_ns, *_bytes bytes, objects 1/4096.
//
// The clock of births has ticks of some milliseconds, and tests are shorter. So connections and
// tasks are told apart by their ids and births together, and of the samples that were born in
// the tick of the baseline each kind is counted: so many of them are old.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/core.h"
#include "heldby/leftovers.h"
#include "heldby/profile.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

/// A record of a connection or a task; ids alone come again.
using Born = std::pair<std::uint32_t, std::uint64_t>;

/// What tells one sample from others, as far as anything does.
struct SampleKind {
  std::uint32_t site = 0;
  std::uint32_t connection = 0;  // as the program told it, not guessed
  std::uint32_t task = 0;
  std::uint64_t bytes = 0;
  std::uint64_t birth_ns = 0;
  bool operator==(const SampleKind&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const SampleKind& kind) {
    return H::combine(std::move(h), kind.site, kind.connection, kind.task, kind.bytes,
                      kind.birth_ns);
  }
};

/// What there was when the checkpoint was made.
struct Baseline {
  std::uint64_t taken_ns = 0;
  FlatHashSet<Born> connections{};  // open, or ended and holding memory
  FlatHashSet<Born> tasks{};
  FlatHashMap<SampleKind, std::int64_t> youngest{};  // born in the tick of taken_ns
};
[[nodiscard]] Baseline TakeBaseline(const core::RegistryApi& registry);

/// Blocks of one site that were allocated for the same.
struct NewBytes {
  std::uint32_t site = 0;
  std::uint32_t connection = 0;
  std::uint32_t task = 0;
  std::uint64_t bytes = 0;
  std::uint64_t objects = 0;
};

struct Newcomers {
  std::vector<core::ConnectionView> connections{};  // open
  std::vector<core::TaskView> tasks{};              // not ended
  std::vector<NewBytes> bytes{};  // labelled, or of a connection or a task that is new
  bool empty() const { return connections.empty() && tasks.empty() && bytes.empty(); }
};
[[nodiscard]] Newcomers FindNewcomers(const core::CoreApi& core, const Baseline& before,
                                      const LeftoverOptions& options);

/// A leftover whose stacks are samples of a profile.
struct Described {
  Leftover leftover{};
  std::size_t stack = 0;            // index of its sample
  std::size_t waits_in = SIZE_MAX;  // likewise; SIZE_MAX: none
};
struct Descriptions {
  std::vector<Described> items{};
  Profile stacks{};  // one sample for each, told apart by a label; addresses, no names yet
};
[[nodiscard]] Descriptions Describe(const core::CoreApi& core, const Newcomers& newcomers);

}  // namespace heldby::collect
