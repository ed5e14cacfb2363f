#include "exporters/report/units.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace heldby::report {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();

TEST(ScaledText, TakesTheLargestUnitThatKeepsAValueAtOneOrMore) {
  EXPECT_EQ(ScaledText(0, "bytes", "auto"), "0");
  EXPECT_EQ(ScaledText(1023, "bytes", "auto"), "1023B");
  EXPECT_EQ(ScaledText(1024, "bytes", "auto"), "1kB");
  EXPECT_EQ(ScaledText(1536, "Bytes", "minimum"), "1.50kB");
  EXPECT_EQ(ScaledText(-3 << 20, "byte", "auto"), "-3MB");
  EXPECT_EQ(ScaledText(999, "nanoseconds", "auto"), "999ns");
  EXPECT_EQ(ScaledText(90, "s", "auto"), "90s");
  EXPECT_EQ(ScaledText(7'200'000, "ms", "auto"), "2hrs");
  EXPECT_EQ(ScaledText(1500, "milligcu", "auto"), "1.50GCU");
  EXPECT_EQ(ScaledText(0, "nanoseconds", "s"), "0");
  EXPECT_EQ(ScaledText(1, "nanoseconds", "s"), "0") << "0.00 is 0, without a unit";
}

TEST(ScaledText, TakesTheUnitAskedForOrTheBaseOfTheFamily) {
  EXPECT_EQ(ScaledText(1 << 20, "bytes", "kb"), "1024kB");
  EXPECT_EQ(ScaledText(1, "megabytes", "bytes"), "1048576B");
  EXPECT_EQ(ScaledText(2'000'000'000, "nanoseconds", "bytes"), "2s");
  EXPECT_EQ(ScaledText(2048, "kb", "seconds"), "2097152B");
}

TEST(ScaledText, LeavesUnknownUnitsBehindTheNumberAndCountsBare) {
  EXPECT_EQ(ScaledText(12, "count", "minimum"), "12");
  EXPECT_EQ(ScaledText(12, "widgets", "widgets"), "12widgets");
  EXPECT_EQ(ScaledText(12, "widgets", "auto"), "12");
  EXPECT_EQ(ScaledText(12, "", ""), "12");
  EXPECT_EQ(ScaledText(12, "count", "count"), "12");
}

TEST(ScaledText, HoldsAtBothEndsOfTheRange) {
  EXPECT_EQ(ScaledText(kMost, "bytes", "auto"), "8192PB");
  EXPECT_EQ(ScaledText(kLeast, "count", "auto"), "-9223372036854775808");
  EXPECT_NE(ScaledText(kLeast, "bytes", "auto"), "");
}

TEST(Percentage, IsSixCharactersOfTheAbsoluteShare) {
  EXPECT_EQ(Percentage(1, 1), "  100%");
  EXPECT_EQ(Percentage(99'951, 100'000), "  100%");
  EXPECT_EQ(Percentage(1, 3), "33.33%");
  EXPECT_EQ(Percentage(-1, 3), "33.33%");
  EXPECT_EQ(Percentage(1, 50), " 2.00%");
  EXPECT_EQ(Percentage(1, 2000), " 0.05%");
  EXPECT_EQ(Percentage(0, 5), "    0%");
  EXPECT_EQ(Percentage(5, 0), "    0%");
  EXPECT_EQ(Percentage(300, 100), "300.00%");
  EXPECT_EQ(Percentage(kLeast, kMost), "  100%");
}

}  // namespace
}  // namespace heldby::report
