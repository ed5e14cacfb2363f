#include "core/base/math.h"

#include <gtest/gtest.h>

#include <cmath>

namespace heldby::core {
namespace {

TEST(Log, AgreesWithTheMathLibraryOverTheRangeThatDrawsUse) {
  for (double x = 0x1p-53; x <= 1; x *= 1.0007) {
    EXPECT_NEAR(Log(x), std::log(x), 1e-10 * std::max(1.0, -std::log(x))) << x;
  }
  EXPECT_EQ(Log(1), 0);
}

TEST(OneMinusExpMinus, AgreesWithTheMathLibraryFromTinyToHuge) {
  for (double x = 1e-13; x < 1e4; x *= 1.003) {
    EXPECT_NEAR(OneMinusExpMinus(x) / -std::expm1(-x), 1, 1e-12) << x;
  }
}

TEST(OneMinusExpMinus, MatchesTheNumbersOfItsComment) {
  EXPECT_NEAR(OneMinusExpMinus(1), 0.632121, 1e-6);
  EXPECT_NEAR(OneMinusExpMinus(2), 0.864665, 1e-6);
}

}  // namespace
}  // namespace heldby::core
