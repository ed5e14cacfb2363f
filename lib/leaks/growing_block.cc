#include "leaks/growing_block.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace heldby::leaks {
namespace {

constexpr int kLeastSteps = 4;
// How much is one: less than the 1.125 of the most sparing vectors, more than a sample's noise.
constexpr double kStep = 1.04;
// When the last one was, of all that was seen: doublings have one after 0.5.
constexpr double kLastStep = 0.4;

double LargestTwo(std::span<const Birth> births) {
  double largest[2] = {};
  for (const Birth& birth : births) {
    if (birth.bytes > largest[0]) {
      largest[1] = std::exchange(largest[0], birth.bytes);
    } else if (birth.bytes > largest[1]) {
      largest[1] = birth.bytes;
    }
  }
  return largest[0] + largest[1];
}

// When it grew for good: it was never again as small as before.
std::vector<std::int64_t> StepsOf(std::span<const GrowthPoint> points) {
  std::vector<double> floor(points.size());
  double least = points.back().live;
  for (std::size_t i = points.size(); i-- > 0;) {
    least = std::min(least, points[i].live);
    floor[i] = least;
  }
  std::vector<std::int64_t> steps;
  double stood = floor.front();
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (floor[i] <= kStep * stood) continue;
    steps.push_back(points[i].time_ns);
    stood = floor[i];
  }
  return steps;
}

}  // namespace

std::optional<Growth> JudgeGrowingBlock(std::span<const GrowthPoint> points,
                                        std::span<const Birth> births,
                                        const GrowthRules& rules) {
  const double live = points.back().live;
  // Large enough that every one of them is seen.
  if (live < std::max(16 * rules.sample_bytes, rules.least_growth)) return std::nullopt;
  if (LargestTwo(births) < 0.9 * live) return std::nullopt;
  const std::int64_t first_ns = points.front().time_ns;
  const std::int64_t seen_ns = points.back().time_ns - first_ns;
  // Given back once, it will be again: a batch's. While it is copied, old and new are both
  // there: half is what can be left of that.
  double highest = 0;
  for (const GrowthPoint& point : points) {
    if (point.live < 0.49 * highest) return std::nullopt;
    highest = std::max(highest, point.live);
  }
  const std::vector<std::int64_t> steps = StepsOf(points);
  const auto late_ns =
      first_ns + static_cast<std::int64_t>(kLastStep * static_cast<double>(seen_ns));
  if (steps.empty() || steps.back() < late_ns) return std::nullopt;
  // The load may have grown as much.
  const Load before = points[points.size() / 2].load;
  const Load after = points.back().load;
  const double grown = live / std::max(points[points.size() / 2].live, 1.0);
  const auto explains = [grown](std::int64_t from, std::int64_t to) {
    return from >= 2 && static_cast<double>(to) >= 1.2 * static_cast<double>(from) &&
           grown <= 1.25 * static_cast<double>(to) / static_cast<double>(from);
  };
  if (explains(before.connections, after.connections) || explains(before.tasks, after.tasks)) {
    return std::nullopt;
  }
  Growth growth;
  const bool is_old = seen_ns >= 2 * rules.window_ns;
  const bool is_long = steps.back() - steps.front() >= rules.window_ns / 2;
  growth.verdict = is_old && is_long && static_cast<int>(steps.size()) >= kLeastSteps
                       ? GrowthClass::kLeak
                       : GrowthClass::kSuspect;
  growth.since_ns = steps.front();
  growth.grown = live - points.front().live;
  growth.slope_per_s = growth.grown / (static_cast<double>(seen_ns) * 1e-9);
  growth.survivors = static_cast<int>(births.size());
  growth.reason = "one block that is allocated again and again, larger each time";
  return growth;
}

}  // namespace heldby::leaks
