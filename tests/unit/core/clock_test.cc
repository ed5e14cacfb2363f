#include "core/base/clock.h"

#include <gtest/gtest.h>

namespace heldby::core {
namespace {

TEST(BetweenNs, IsNeverNegativeWhateverTheClockDoes) {
  EXPECT_EQ(BetweenNs(100, 350), 250);
  EXPECT_EQ(BetweenNs(350, 100), 0);
  EXPECT_EQ(BetweenNs(0, 0), 0);
}

// An hour before the start of a machine that started a minute ago.
TEST(BetweenNs, IsRightAcrossTheStartOfTheMachine) {
  const std::uint64_t minute = 60'000'000'000;
  const std::uint64_t before_the_start = minute - 60 * minute;
  EXPECT_EQ(BetweenNs(before_the_start, minute), 3'600'000'000'000);
  EXPECT_EQ(BetweenNs(minute, before_the_start), 0);
}

}  // namespace
}  // namespace heldby::core
