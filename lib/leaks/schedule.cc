#include "leaks/schedule.h"

#include <algorithm>

namespace heldby::leaks {

std::vector<Band> BandsFor(std::int64_t window_ns) {
  const std::int64_t tick_ns = std::max<std::int64_t>(window_ns / 60, 1);
  return {{60 * tick_ns, tick_ns},
          {360 * tick_ns, 6 * tick_ns},
          {17'280 * tick_ns, 360 * tick_ns},
          {120'960 * tick_ns, 8'640 * tick_ns}};
}

std::optional<std::int64_t> SpacingAt(const std::vector<Band>& bands, std::int64_t age_ns) {
  for (const Band& band : bands) {
    if (age_ns <= band.age_ns) return band.spacing_ns;
  }
  return std::nullopt;
}

std::optional<std::size_t> OneTooMany(const std::vector<std::int64_t>& times_ns,
                                      const std::vector<Band>& bands, std::int64_t now_ns) {
  if (times_ns.size() < 2) return std::nullopt;
  if (!SpacingAt(bands, now_ns - times_ns[0])) return 0;
  for (std::size_t i = 1; i + 1 < times_ns.size(); ++i) {
    // An eighth more: snapshots are taken by a clock that is never quite on time.
    const auto spacing_ns = SpacingAt(bands, now_ns - times_ns[i]);
    if (spacing_ns && times_ns[i + 1] - times_ns[i - 1] <= *spacing_ns + *spacing_ns / 8) {
      return i;
    }
  }
  return std::nullopt;
}

std::size_t LeastMissed(const std::vector<std::int64_t>& times_ns, std::int64_t now_ns) {
  std::size_t best = 1;
  double narrowest = 0;
  for (std::size_t i = 1; i + 1 < times_ns.size(); ++i) {
    const auto age_ns = static_cast<double>(std::max<std::int64_t>(now_ns - times_ns[i], 1));
    const double gap = static_cast<double>(times_ns[i + 1] - times_ns[i - 1]) / age_ns;
    if (i == 1 || gap < narrowest) {
      best = i;
      narrowest = gap;
    }
  }
  return best;
}

}  // namespace heldby::leaks
