#include "profile/builder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "profile/arithmetic.h"

namespace heldby {
namespace {

using Values = std::vector<std::int64_t>;

std::vector<ValueType> HeapColumns() { return {{"objects", "count"}, {"space", "bytes"}}; }

TEST(ProfileBuilder, EqualStacksAndLabelsBecomeOneSample) {
  ProfileBuilder builder(HeapColumns());
  const LocationId a = builder.AddLocation(MappingId::kNone, 0x10);
  const LocationId b = builder.AddLocation(MappingId::kNone, 0x20);
  builder.AddSample({a, b}, Values{1, 10});
  builder.AddSample({a, b}, Values{2, 20});
  builder.AddSample({b, a}, Values{4, 40});
  const Profile profile = std::move(builder).Build();
  ASSERT_EQ(profile.samples.size(), 2u);
  EXPECT_EQ(profile.samples[0].values, (Values{3, 30}));
  EXPECT_EQ(profile.samples[1].values, (Values{4, 40}));
}

TEST(ProfileBuilder, OrderOfLabelsDoesNotMatterTheirValuesDo) {
  ProfileBuilder builder(HeapColumns());
  const Label route{"route", "/x", 0, ""};
  const Label size{"bytes", "", 64, "bytes"};
  builder.AddSample({}, Values{1, 1}, {route, size});
  builder.AddSample({}, Values{1, 1}, {size, route});
  builder.AddSample({}, Values{1, 1}, {{"bytes", "", 65, "bytes"}, route});
  const Profile profile = std::move(builder).Build();
  ASSERT_EQ(profile.samples.size(), 2u);
  EXPECT_EQ(profile.samples[0].values, (Values{2, 2}));
}

TEST(ProfileBuilder, IdsAreDenseFromOneAndEqualThingsShareThem) {
  ProfileBuilder builder(HeapColumns());
  EXPECT_EQ(builder.AddFunction("f"), FunctionId{1});
  EXPECT_EQ(builder.AddFunction("g"), FunctionId{2});
  EXPECT_EQ(builder.AddFunction("f"), FunctionId{1});
  Mapping mapping;
  mapping.limit = 0x100;
  EXPECT_EQ(builder.AddMapping(mapping), MappingId{1});
  mapping.build_id = "ab";
  EXPECT_EQ(builder.AddMapping(mapping), MappingId{2});
  EXPECT_EQ(builder.AddLocation(MappingId{1}, 5, {{FunctionId{1}, 3}}), LocationId{1});
  EXPECT_EQ(builder.AddLocation(MappingId{1}, 5, {{FunctionId{1}, 4}}), LocationId{2});
  EXPECT_EQ(builder.AddLocation(MappingId{2}, 5, {{FunctionId{1}, 3}}), LocationId{3});
  EXPECT_EQ(builder.AddLocation(MappingId{1}, 5, {{FunctionId{1}, 3}}), LocationId{1});
}

TEST(ProfileBuilder, SurvivesGrowthOfItsTables) {
  ProfileBuilder builder(HeapColumns());
  for (int round = 0; round < 2; ++round) {
    for (std::uint64_t i = 0; i < 20'000; ++i) {
      builder.AddSample({builder.AddLocation(MappingId::kNone, i)}, Values{1, 2});
    }
  }
  const Profile profile = std::move(builder).Build();
  EXPECT_EQ(profile.locations.size(), 20'000u);
  ASSERT_EQ(profile.samples.size(), 20'000u);
  EXPECT_EQ(profile.samples[19'999].values, (Values{2, 4}));
}

TEST(Arithmetic, SticksAtTheEnds) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(SaturatingAdd(kMax, 1), kMax);
  EXPECT_EQ(SaturatingAdd(kMin, -1), kMin);
  EXPECT_EQ(SaturatingNegate(kMin), kMax);
  EXPECT_EQ(SaturatingMultiply(kMin, 2), kMin);
  EXPECT_EQ(SaturatingMultiply(kMin, -1), kMax);
  EXPECT_EQ(SaturatingCast(1e300), kMax);
  EXPECT_EQ(SaturatingCast(-1e300), kMin);
  EXPECT_EQ(SaturatingCast(std::nan("")), 0);
  EXPECT_EQ(SaturatingCast(-2.9), -2);
}

}  // namespace
}  // namespace heldby
