// leaks/growing_block.h - one block that becomes larger and larger.
//
// Threads  pure functions.   Signals  unsafe: allocates.   Units  as leaks/growth.h.
// Source   docs/leaks.md.
//
// A buffer that is reallocated as it grows frees its past each time, so that no old block ever
// survives. What shows it is a staircase that never goes down. With doublings the steps come at
// 1, 2, 4, 8 of the time: always one in the last half, as long as it goes on; a table that has
// been filled has none there.
#pragma once

#include <optional>
#include <span>

#include "leaks/growth.h"

namespace heldby::leaks {

/// kLeak or kSuspect; nothing: it is no such block.
[[nodiscard]] std::optional<Growth> JudgeGrowingBlock(std::span<const GrowthPoint> points,
                                                      std::span<const Birth> births,
                                                      const GrowthRules& rules);

}  // namespace heldby::leaks
