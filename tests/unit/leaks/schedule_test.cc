#include "leaks/schedule.h"

#include <gtest/gtest.h>

#include <numeric>

namespace heldby::leaks {
namespace {

// What is left of one snapshot each tick.
std::vector<std::int64_t> KeptAfter(std::int64_t ticks, std::int64_t tick_ns) {
  const std::vector<Band> bands = BandsFor(60 * tick_ns);
  std::vector<std::int64_t> times;
  for (std::int64_t i = 0; i < ticks; ++i) {
    times.push_back(i * tick_ns);
    while (const auto one = OneTooMany(times, bands, times.back())) {
      times.erase(times.begin() + static_cast<std::ptrdiff_t>(*one));
    }
  }
  return times;
}

TEST(Schedule, TenMinutesAreKeptWholeAndTwoWeeksWithinTwoHundred) {
  const std::int64_t tick_ns = 10 * kSecondNs;
  EXPECT_EQ(KeptAfter(60, tick_ns).size(), 60u);
  const std::int64_t fifteen_days = 15 * 24 * 360;
  const auto kept = KeptAfter(fifteen_days, tick_ns);
  EXPECT_LT(kept.size(), 200u);
  EXPECT_GT(kept.size(), 120u);
  EXPECT_GE(kept.back() - kept.front(), 13 * 24 * 3600 * kSecondNs);
}

TEST(Schedule, NoGapIsWiderThanItsAgeAllows) {
  const std::int64_t tick_ns = 10 * kSecondNs;
  const auto kept = KeptAfter(3 * 24 * 360, tick_ns);
  const auto bands = BandsFor(60 * tick_ns);
  for (std::size_t i = 1; i < kept.size(); ++i) {
    const auto spacing = SpacingAt(bands, kept.back() - kept[i - 1]);
    ASSERT_TRUE(spacing);
    EXPECT_LE(kept[i] - kept[i - 1], 2 * *spacing) << i;
  }
}

TEST(Schedule, WhatGoesForWantOfRoomIsWhereSnapshotsLieClosest) {
  EXPECT_EQ(LeastMissed({0, 100, 110, 120, 500, 900}, 1000), 2u);
}

}  // namespace
}  // namespace heldby::leaks
