#include "leaks/growth.h"

#include <gtest/gtest.h>

#include "growth_models.h"

namespace heldby::leaks {
namespace {

class GrowthOfALeak : public testing::TestWithParam<Model> {};
class GrowthThatIsHealthy : public testing::TestWithParam<Model> {};

// Fixed seeds: 40 of each are right, so that with 95 % confidence fewer than one in 13 of its
// kind is missed; over all models fewer than one in 100.
TEST_P(GrowthOfALeak, IsFoundWithinTheHour) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Growth growth = After(GetParam(), seed, kHour);
    EXPECT_EQ(growth.verdict, GrowthClass::kLeak)
        << "seed " << seed << ": " << growth.reason << ", grown " << growth.grown << ", "
        << growth.survivors << " in " << growth.slices << " slices";
    EXPECT_GT(growth.slope_per_s, 0);
  }
}

// At the end, and at times that follow from the seed.
TEST_P(GrowthThatIsHealthy, IsNeverCalledALeak) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    for (const double run_s : {kHour, 3000.0 + static_cast<double>(seed) * 13}) {
      const Growth growth = After(GetParam(), seed, run_s);
      EXPECT_NE(growth.verdict, GrowthClass::kLeak)
          << "seed " << seed << " after " << run_s << " s: grown " << growth.grown << " since "
          << growth.since_ns / kSecondNs << ", " << growth.survivors << " in " << growth.slices
          << " slices; " << growth.reason;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Each, GrowthOfALeak, testing::ValuesIn(kLeaks));
INSTANTIATE_TEST_SUITE_P(Each, GrowthThatIsHealthy, testing::ValuesIn(kHealthy));

TEST(Growth, OfAFewMinutesIsNoMoreThanASuspicion) {
  EXPECT_EQ(After(kLeaks[0], 3, 500).verdict, GrowthClass::kSuspect);
  EXPECT_EQ(After(kLeaks[0], 3, 1100).verdict, GrowthClass::kSuspect);
  EXPECT_EQ(After(kLeaks[0], 3, 1210).verdict, GrowthClass::kLeak);
}

TEST(Growth, TellsItsSlopeWithinWhatSamplingAllows) {
  const Model exact = {"", [](SimulatedSite*) -> Step {
                         return [](double now, SimulatedSite* to) {
                           to->Allocate(now, 100e3, 300, kForever);
                           return Nothing();
                         };
                       }};
  int within = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const Growth growth = After(exact, seed, kHour);
    within += std::abs(growth.slope_per_s - 100e3) <= growth.slope_error_per_s ? 1 : 0;
  }
  EXPECT_GE(within, 85);  // of 100, where 95 are expected: 4.6 sigma, one in 500,000
}

}  // namespace
}  // namespace heldby::leaks
