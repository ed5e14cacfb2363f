#include "leaks/growth.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "leaks/growing_block.h"

namespace heldby::leaks {
namespace {

constexpr int kQuarters = 4;
constexpr int kSlices = 8;
// The youngest slice is left out: who is in it has had no time to die.
constexpr int kClosedSlices = kSlices - 1;
// Before that, what fills up once cannot be told from what never ends.
constexpr std::int64_t kLeastWindows = 2;

struct Window {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::array<double, kQuarters> floor{};  // the least that was live in each quarter
  std::array<Load, kQuarters> load{};     // mean
  std::array<double, kSlices> born{};     // survivors, by when they were born
  std::array<int, kSlices> count{};
  double variance = 0;  // of the survivors' weight: what sampling makes of it

  [[nodiscard]] std::int64_t length_ns() const { return end_ns - begin_ns; }
  [[nodiscard]] double grown() const { return floor[3] - floor[0]; }
  [[nodiscard]] int survivors() const { return std::accumulate(count.begin(), count.end(), 0); }
  [[nodiscard]] int slices() const {
    return static_cast<int>(std::ranges::count_if(count, [](int n) { return n > 0; }));
  }
};

double Seconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-9; }

class Judge {
 public:
  Judge(std::span<const GrowthPoint> points, std::span<const Birth> births,
        const GrowthRules& rules)
      : points_(points), births_(births), rules_(rules) {}

  Growth Run() const {
    const std::int64_t now_ns = points_.back().time_ns;
    const std::int64_t seen_ns = now_ns - points_.front().time_ns;
    const auto most_ns =
        static_cast<std::int64_t>(bounds().of_history * static_cast<double>(seen_ns));
    std::vector<std::int64_t> lengths;
    for (std::int64_t ns = rules_.window_ns; ns <= most_ns; ns *= 2) lengths.push_back(ns);
    if (!lengths.empty() && most_ns > lengths.back()) lengths.push_back(most_ns);
    if (lengths.empty() || seen_ns < kLeastWindows * rules_.window_ns) return TooYoung(most_ns);
    std::optional<Growth> first;
    for (auto length = lengths.rbegin(); length != lengths.rend(); ++length) {
      Growth growth = JudgeWindow(now_ns - *length, *length < seen_ns / 2);
      if (growth.verdict == GrowthClass::kLeak) return growth;
      if (!first) first = std::move(growth);
    }
    return *std::move(first);
  }

 private:
  const GrowthBounds& bounds() const { return rules_.bounds; }

  // Not yet a whole window: no more than a suspicion, however it looks.
  Growth TooYoung(std::int64_t most_ns) const {
    if (most_ns < rules_.window_ns / 3) return {};
    Growth growth = JudgeWindow(points_.back().time_ns - most_ns, false);
    if (growth.verdict == GrowthClass::kLeak) {
      growth.verdict = GrowthClass::kSuspect;
      growth.reason = "it grows as a leak does, but it is too early to tell it from a start";
    }
    return growth;
  }

  Growth JudgeWindow(std::int64_t begin_ns, bool is_short) const {
    Growth growth;
    growth.since_ns = begin_ns;
    const std::optional<Window> window = Read(begin_ns);
    if (!window) return growth;
    growth.grown = window->grown();
    growth.survivors = window->survivors();
    growth.slices = window->slices();
    AddSlope(*window, &growth);
    growth.verdict = Decide(*window, is_short, &growth);
    return growth;
  }

  GrowthClass Decide(const Window& window, bool is_short, Growth* growth) const {
    const auto because = [growth](GrowthClass verdict, const char* reason) {
      growth->reason = reason;
      return verdict;
    };
    const double grown = window.grown();
    if (grown < std::max(rules_.least_growth, bounds().sigmas * std::sqrt(window.variance))) {
      return GrowthClass::kSteady;
    }
    const Ages ages = Trend(window, growth);
    if (window.floor[3] - window.floor[1] < bounds().half_part * grown) {
      return because(GrowthClass::kWarmUp, "it grew early in the window, and hardly since");
    }
    if (is_short && grown < 0.1 * window.floor[0]) return GrowthClass::kSteady;
    if (HasBeenAsHigh(window)) {
      return because(GrowthClass::kSteady, "it has been as high before, and was given back");
    }
    if (GrowsWithLoad(window)) {
      return because(GrowthClass::kGrowthWithLoad,
                     "it grows as the connections or the tasks do, and no more");
    }
    switch (ages) {
      case Ages::kYoung:
        return because(
            GrowthClass::kGrowthWithLoad,
            "what was allocated early in the window has been freed: a turnover grows");
      case Ages::kOld:
        return because(GrowthClass::kWarmUp,
                       "what stays was allocated early in the window, and little of it since");
      case Ages::kLevel:
        break;
    }
    if (window.floor[2] - window.floor[0] < bounds().half_part * grown) {
      return because(GrowthClass::kSuspect, "it grows since a short while ago");
    }
    if (!HasEvidence(window)) {
      return because(GrowthClass::kSuspect, "too few samples to say more");
    }
    return because(GrowthClass::kLeak,
                   "what stays was allocated all along the window, and none of it is freed");
  }

  std::optional<Window> Read(std::int64_t begin_ns) const {
    Window window{.begin_ns = begin_ns, .end_ns = points_.back().time_ns};
    window.floor.fill(std::numeric_limits<double>::infinity());
    std::array<int, kQuarters> seen{};
    for (const GrowthPoint& point : points_) {
      if (point.time_ns < begin_ns) continue;
      const std::size_t quarter = Part(window, point.time_ns, kQuarters);
      ++seen[quarter];
      window.floor[quarter] = std::min(window.floor[quarter], point.live);
      window.load[quarter].connections += point.load.connections;
      window.load[quarter].tasks += point.load.tasks;
    }
    for (std::size_t i = 0; i < kQuarters; ++i) {
      if (seen[i] == 0) return std::nullopt;
      window.load[i].connections /= seen[i];
      window.load[i].tasks /= seen[i];
    }
    for (const Birth& birth : births_) {
      if (birth.time_ns < begin_ns) continue;
      const std::size_t slice = Part(window, birth.time_ns, kSlices);
      ++window.count[slice];
      window.born[slice] += birth.bytes;
      // Of one that is larger than the distance it is nearly certain that it was seen.
      const double unsure = std::exp(-birth.bytes / std::max(rules_.sample_bytes, 1.0));
      window.variance += birth.bytes * birth.bytes * (unsure > 0.02 ? 1 : unsure);
    }
    return window;
  }

  static std::size_t Part(const Window& window, std::int64_t time_ns, int parts) {
    const std::int64_t since = std::max<std::int64_t>(time_ns - window.begin_ns, 0);
    return static_cast<std::size_t>(std::min<std::int64_t>(
        since * parts / std::max<std::int64_t>(window.length_ns(), 1), parts - 1));
  }

  // A sawtooth, a batch, a day: what was once given back is expected to be again. So the floor
  // now is compared with the highest one before, and where it was ever emptied, the second half
  // of all that was seen with the first.
  bool HasBeenAsHigh(const Window& window) const {
    const std::int64_t quarter_ns = window.length_ns() / kQuarters;
    double highest = 0;
    for (std::size_t i = 0; i < points_.size(); ++i) {
      if (points_[i].time_ns + quarter_ns > window.begin_ns) break;
      double least = points_[i].live;
      for (std::size_t k = i + 1; k < points_.size(); ++k) {
        if (points_[k].time_ns > points_[i].time_ns + quarter_ns) break;
        least = std::min(least, points_[k].live);
      }
      highest = std::max(highest, least);
    }
    return highest >= window.floor[3] || (WasEmptied() && !FloorOfHalvesRises());
  }

  bool WasEmptied() const {
    const double now = points_.back().live;
    double highest = 0;
    for (const GrowthPoint& point : points_) {
      highest = std::max(highest, point.live);
      if (highest >= 0.3 * now && point.live < 0.5 * highest &&
          highest - point.live > rules_.least_growth) {
        return true;
      }
    }
    return false;
  }

  bool FloorOfHalvesRises() const {
    const std::int64_t first_ns = points_.front().time_ns;
    const std::int64_t seen_ns = points_.back().time_ns - first_ns;
    double least[2] = {std::numeric_limits<double>::infinity(),
                       std::numeric_limits<double>::infinity()};
    double highest = 0;
    for (const GrowthPoint& point : points_) {
      highest = std::max(highest, point.live);
      if (point.time_ns < first_ns + seen_ns / 8) continue;
      double& half = least[point.time_ns < first_ns + seen_ns / 2 ? 0 : 1];
      half = std::min(half, point.live);
    }
    const double noise =
        bounds().sigmas * std::sqrt(std::max(rules_.sample_bytes, 1.0) * least[1]);
    return least[1] - least[0] > std::max(noise, 0.1 * highest);
  }

  // By the second quarter and the last, since the first one is often that of a start: growth by
  // half at most for a load that grew by a third is explained, and both have to go together.
  bool GrowsWithLoad(const Window& window) const {
    const double live = window.floor[3] / std::max(window.floor[1], 1.0) - 1;
    const auto explains = [&](std::int64_t Load::*which) {
      const auto before = static_cast<double>(window.load[1].*which);
      const double load =
          static_cast<double>(window.load[3].*which) / std::max(before, 1.0) - 1;
      return before >= 2 && load >= 0.05 && live <= 1.5 * load &&
             CorrelationWith(window, which) >= 0.8;
    };
    return explains(&Load::connections) || explains(&Load::tasks);
  }

  double CorrelationWith(const Window& window, std::int64_t Load::*which) const {
    double n = 0;
    double x = 0;
    double y = 0;
    double xx = 0;
    double yy = 0;
    double xy = 0;
    for (const GrowthPoint& point : points_) {
      if (point.time_ns < window.begin_ns) continue;
      const auto load = static_cast<double>(point.load.*which);
      ++n;
      x += load;
      y += point.live;
      xx += load * load;
      yy += point.live * point.live;
      xy += load * point.live;
    }
    const double spread = (n * xx - x * x) * (n * yy - y * y);
    return spread > 0 ? (n * xy - x * y) / std::sqrt(spread) : 0;
  }

  enum class Ages { kLevel, kYoung, kOld };

  // Survivors born in the first three slices and in the last three that are closed, against
  // what was allocated then. By hand: 40 of 100 from early and 10 of 100 from late: expected
  // are 25 each, z = (10 - 25) / sqrt(50 / 4) = -4.2: old.
  Ages Trend(const Window& window, Growth* growth) const {
    double bytes[2] = {};
    double allocated[2] = {};
    int count[2] = {};
    const int begins[2] = {0, kClosedSlices - 3};
    for (int part = 0; part < 2; ++part) {
      for (int i = begins[part]; i < begins[part] + 3; ++i) {
        bytes[part] += window.born[static_cast<std::size_t>(i)];
        count[part] += window.count[static_cast<std::size_t>(i)];
      }
      allocated[part] = AllocatedAt(SliceTime(window, begins[part] + 3)) -
                        AllocatedAt(SliceTime(window, begins[part]));
    }
    const bool is_known = allocated[0] + allocated[1] > 0;
    growth->residue_old = is_known && allocated[0] > 0 ? bytes[0] / allocated[0] : 0;
    growth->residue_young = is_known && allocated[1] > 0 ? bytes[1] / allocated[1] : 0;
    const double all = count[0] + count[1];
    if (all == 0) return Ages::kYoung;  // nothing has survived a slice
    if (count[1] < bounds().born_late * all) return Ages::kOld;
    const double share = is_known ? allocated[1] / (allocated[0] + allocated[1]) : 0.5;
    if (share <= 0.001 || share >= 0.999) return Ages::kLevel;
    const double z = (count[1] - all * share) / std::sqrt(all * share * (1 - share));
    const double ratio = (count[1] / share) / std::max(count[0] / (1 - share), 1e-9);
    if (z > bounds().trend_sigmas && ratio > bounds().trend) return Ages::kYoung;
    if (z < -bounds().trend_sigmas && ratio < 1 / bounds().trend) return Ages::kOld;
    return Ages::kLevel;
  }

  static std::int64_t SliceTime(const Window& window, int slice) {
    return window.begin_ns + window.length_ns() * slice / kSlices;
  }

  // Between two points, a straight line.
  double AllocatedAt(std::int64_t time_ns) const {
    const auto after = std::ranges::lower_bound(points_, time_ns, {}, &GrowthPoint::time_ns);
    if (after == points_.begin()) return after->allocated;
    if (after == points_.end()) return points_.back().allocated;
    const auto before = after - 1;
    const double part = static_cast<double>(time_ns - before->time_ns) /
                        static_cast<double>(after->time_ns - before->time_ns);
    return before->allocated + part * (after->allocated - before->allocated);
  }

  bool HasEvidence(const Window& window) const {
    const int survivors = window.survivors();
    if (survivors == 0) return false;
    const double all = std::accumulate(window.born.begin(), window.born.end(), 0.0);
    // What is large already, and grows a little more, is a pool that meets a peak as often as
    // not: of such growth there has to be more.
    const double part = window.grown() / std::max(window.floor[3], 1.0);
    const bool is_certain = all / survivors >= 4 * rules_.sample_bytes;
    const int least = part < bounds().large_part ? 2 * bounds().survivors
                      : is_certain               ? bounds().certain_survivors
                                                 : bounds().survivors;
    const int closed = survivors - window.count[kSlices - 1];
    const int recent =
        window.count[kSlices - 2] + window.count[kSlices - 3] + window.count[kSlices - 1];
    return closed > 0 && recent > 0 && survivors >= least &&
           window.slices() >= std::min(bounds().slices, survivors / 2 + 1);
  }

  void AddSlope(const Window& window, Growth* growth) const {
    std::vector<GrowthPoint> within;
    for (const GrowthPoint& point : points_) {
      if (point.time_ns >= window.begin_ns) within.push_back(point);
    }
    std::vector<double> slopes;
    for (std::size_t i = 0; i < within.size(); ++i) {
      for (std::size_t k = i + 1; k < within.size(); ++k) {
        const double span_s = Seconds(within[k].time_ns - within[i].time_ns);
        if (span_s > 0) slopes.push_back((within[k].live - within[i].live) / span_s);
      }
    }
    if (slopes.empty()) return;
    const auto middle = slopes.begin() + static_cast<std::ptrdiff_t>(slopes.size() / 2);
    std::nth_element(slopes.begin(), middle, slopes.end());
    growth->slope_per_s = *middle;
    growth->slope_error_per_s = 1.96 * std::sqrt(window.variance) / Seconds(window.length_ns());
  }

  std::span<const GrowthPoint> points_;
  std::span<const Birth> births_;
  const GrowthRules& rules_;
};

}  // namespace

Growth JudgeGrowth(std::span<const GrowthPoint> points, std::span<const Birth> births,
                   const GrowthRules& rules) {
  if (points.size() < 8) return {};
  Growth growth = Judge(points, births, rules).Run();
  if (growth.verdict != GrowthClass::kLeak) {
    if (const auto block = JudgeGrowingBlock(points, births, rules)) return *block;
  }
  return growth;
}

}  // namespace heldby::leaks
