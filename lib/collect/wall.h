// collect/wall.h - what every thread does, again and again: time by the clock on the wall.
//
// Threads  one at a time.   Signals  unsafe: allocates, and sends some (threads.h).
// Units    samples/count, time/nanoseconds.
// Bounds   a look costs 5 us for a thread that has not run since the last one, 30 us for one
//          that waits elsewhere now, 50 ns for a parked task.   Source  docs/cpu.md.
#pragma once

#include <cstdint>
#include <vector>

#include "collect/parked_tasks.h"
#include "collect/threads.h"
#include "core/core.h"
#include "heldby/profile.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

class WallCollector {
 public:
  WallCollector(const core::CoreApi& core, bool may_signal);

  /// Each thread where it is now, and each parked task, for the `ns` since the last look.
  void Look(std::int64_t ns);

  /// `period_ns`: as often as was meant to be looked.
  [[nodiscard]] Profile Finish(std::int64_t period_ns, std::int64_t began_ns,
                               std::int64_t duration_ns) const;

 private:
  struct Key {
    std::vector<std::uintptr_t> frames{};
    std::vector<std::uint16_t> modules{};
    bool truncated = false;
    std::uint32_t labels = 0;
    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.frames, key.labels);
    }
  };
  // Of one stack and label set, looked at any number of times.
  struct Sum {
    std::int64_t samples = 0;
    std::int64_t ns = 0;
  };

  const core::CoreApi& core_;
  ThreadsOptions options_{};
  SeenThreads seen_;
  FlatHashMap<Key, Sum> sums_;
  FlatHashMap<ParkedGroup, Sum> parked_;
};

}  // namespace heldby::collect
