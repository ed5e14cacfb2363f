// leaks/growth.h - is what grows here a leak? One series, judged by its age structure.
//
// Threads  pure functions.   Signals  unsafe: allocates.
// Units    bytes (or whatever is counted), nanoseconds of one clock.
// Source   docs/leaks.md, which derives each rule and shows what it does to the corpus.
//
// Growth alone is what a warm-up, a filling cache and a busy morning show, too. What tells them
// apart is known for every sampled block: when it was born. Of a leak, survivors are born all
// along the window, in proportion to what was allocated, and none of the old ones dies:
//
//   survivors by time of birth    ▁▁▁▁▁▁▁▁  leak: level       ▇▅▁▁▁▁▁▁  warm-up: early ones
//   only
//                                 ▁▁▁▁▁▁▁▇  turnover: late ones only (load, queues, full
//                                 caches)
//
// Nothing is tuned to one program: every bound is a share, a count of samples or a multiple of
// a standard deviation. No window is shorter than the one given, and several are tried, each
// twice the one before.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "leaks/site_history.h"

namespace heldby::leaks {

struct GrowthPoint {
  std::int64_t time_ns = 0;
  double live = 0;
  double allocated = 0;  // so far; all 0: not known
  Load load{};
};

/// One that is alive.
struct Birth {
  std::int64_t time_ns = 0;
  double bytes = 0;  // what it stands for: a sample's weight
};

enum class GrowthClass {
  kSteady,
  kWarmUp,          // it grew, and hardly does any more
  kGrowthWithLoad,  // as connections or tasks do, or by a turnover that grows
  kSuspect,         // grows, with too little to say more
  kLeak,
};

/// What decides, each on its own: none is of one program. What becomes of the verdicts when
/// they are half or twice as large: docs/performance.md.
struct GrowthBounds {
  double survivors = 12;         // samples, for evidence; of growth that is small twice as many
  double certain_survivors = 6;  // where each block is so large that it is a sample
  int slices = 5;                // of eight, with survivors
  // Growth that is less of what lives is small: a pool that meets a peak grows so, too.
  double large_part = 0.5;
  double sigmas = 3;   // of growth, against what sampling makes of no growth
  double trend = 1.4;  // of the residue, from early to late: of a leak it is 1
  double trend_sigmas = 2.5;
  double half_part = 0.2;    // of the growth, that each half of the window must have
  double born_late = 0.15;   // of the survivors
  double of_history = 0.75;  // a window is no more of it, so that the start is not in it
};

struct GrowthRules {
  GrowthBounds bounds{};
  std::int64_t window_ns = 600 * kSecondNs;  // the shortest
  double sample_bytes = 524'288;             // mean distance; 1: nothing is estimated
  double least_growth = 65'536;              // below it nothing is worth a word
};

struct Growth {
  GrowthClass verdict = GrowthClass::kSteady;
  double slope_per_s = 0;        // Theil-Sen, over the window
  double slope_error_per_s = 0;  // 1.96 standard deviations of what sampling leaves open
  double grown = 0;              // over the window
  std::int64_t since_ns = 0;     // where the window begins: the clock's time
  int survivors = 0;             // samples born within it and alive
  int slices = 0;                // of its eight, with survivors
  double residue_old = 0;        // of what was allocated early in the window, what share lives
  double residue_young = 0;      // of what came late, but not just now
  std::string reason{};
};

/// `points` by rising time, the last one now. `births` in any order.
[[nodiscard]] Growth JudgeGrowth(std::span<const GrowthPoint> points,
                                 std::span<const Birth> births, const GrowthRules& rules);

}  // namespace heldby::leaks
