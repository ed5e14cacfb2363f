#include "profile/merge.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "profile/builder.h"

namespace heldby {
namespace {

using Values = std::vector<std::int64_t>;

struct Row {
  std::uint64_t offset;  // in the mapping
  std::int64_t value;
};

// One program, loaded at `base`.
Profile Taken(std::int64_t time_ns, std::uint64_t base, const std::vector<Row>& rows,
              std::uint64_t size = 0x4000) {
  ProfileBuilder builder(std::vector<ValueType>{{"space", "bytes"}});
  builder.header().time_ns = time_ns;
  builder.header().period_type = {"space", "bytes"};
  builder.header().period = 512;
  Mapping app;
  app.start = base;
  app.limit = base + size;
  app.filename = "/srv/app";
  app.build_id = "ab12";
  app.has_functions = true;
  const MappingId mapping = builder.AddMapping(app);
  for (const Row& row : rows) {
    const FunctionId function = builder.AddFunction("f" + std::to_string(row.offset));
    builder.AddSample({builder.AddLocation(mapping, base + row.offset, {{function, 1}})},
                      Values{row.value});
  }
  return std::move(builder).Build();
}

TEST(Merge, SumsEqualStacksAlthoughTheProgramWasLoadedElsewhere) {
  const Profile a = Taken(200, 0x10000, {{0x10, 5}, {0x20, 1}});
  const Profile b = Taken(100, 0x70000, {{0x20, 2}, {0x30, 7}});
  const Result<Profile> sum = Merge(std::vector<const Profile*>{&a, &b});
  ASSERT_TRUE(sum.ok()) << sum.status().message();
  ASSERT_EQ(sum->samples.size(), 3u);
  EXPECT_EQ(sum->samples[0].values, Values{5});
  EXPECT_EQ(sum->samples[1].values, Values{3});
  EXPECT_EQ(sum->samples[2].values, Values{7});
  ASSERT_EQ(sum->mappings.size(), 1u);
  EXPECT_EQ(sum->locations[2].address, 0x10030u);
  EXPECT_EQ(sum->time_ns, 100);
}

TEST(Merge, SizesThatRoundToTheSamePagesAreOneMappingAsLargeAsTheLarger) {
  const Profile a = Taken(1, 0x10000, {{0x10, 5}}, 0x3001);
  const Profile b = Taken(1, 0x10000, {{0x10, 5}}, 0x4000);
  const Result<Profile> sum = Merge(std::vector<const Profile*>{&a, &b});
  ASSERT_EQ(sum->mappings.size(), 1u);
  EXPECT_EQ(sum->mappings[0].limit, 0x14000u);
  EXPECT_TRUE(sum->mappings[0].has_functions);

  const Profile c = Taken(1, 0x10000, {{0x10, 5}}, 0x4001);
  EXPECT_EQ(Merge(std::vector<const Profile*>{&a, &c})->mappings.size(), 2u);
}

TEST(Merge, ProfilesThatDoNotMeasureTheSameAreRefused) {
  const Profile a = Taken(1, 0x10000, {});
  Profile b = a;
  b.sample_types[0].unit = "count";
  EXPECT_EQ(Merge(std::vector<const Profile*>{&a, &b}).status().message(),
            "profile 1: its sample types are not those of profile 0");
  b = a;
  b.period_type = {"cpu", "nanoseconds"};
  EXPECT_EQ(Merge(std::vector<const Profile*>{&a, &b}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(Merge({}).status().message(), "no profile to merge");
}

TEST(Merge, ABrokenProfileIsRefusedByItsNumber) {
  const Profile a = Taken(1, 0x10000, {});
  Profile b = Taken(1, 0x10000, {{0x10, 1}});
  b.samples[0].stack[0] = LocationId{9};
  EXPECT_EQ(Merge(std::vector<const Profile*>{&a, &b}).status().message(),
            "profile 1: sample 0: location 9 of 1 does not exist");
}

TEST(Diff, KeepsWhatShrankDropsWhatStayedAndWhatOnlyThatUsed) {
  const Profile before = Taken(1'000, 0x10000, {{0x10, 5}, {0x20, 9}, {0x40, 4}});
  const Profile after = Taken(1'500, 0x10000, {{0x10, 8}, {0x20, 2}, {0x40, 4}});
  const Result<Profile> diff = Diff(after, before);
  ASSERT_TRUE(diff.ok()) << diff.status().message();
  ASSERT_EQ(diff->samples.size(), 2u);
  EXPECT_EQ(diff->samples[0].values, Values{3});
  EXPECT_EQ(diff->samples[1].values, Values{-7});
  EXPECT_EQ(diff->locations.size(), 2u);
  EXPECT_EQ(diff->functions.size(), 2u);
  EXPECT_EQ(diff->time_ns, 1'500);
  EXPECT_EQ(diff->duration_ns, 500);
  EXPECT_EQ(diff->period, 512);
}

TEST(Diff, OfAProfileWithItselfIsEmptyButStillNamesTheProgram) {
  const Profile profile = Taken(1, 0x10000, {{0x10, 5}});
  const Result<Profile> diff = Diff(profile, profile);
  EXPECT_TRUE(diff->samples.empty());
  ASSERT_EQ(diff->mappings.size(), 1u);
  EXPECT_EQ(diff->mappings[0].filename, "/srv/app");
}

TEST(Scale, RoundsToNearestAndDropsWhatBecomesZero) {
  Profile profile = Taken(1, 0x10000, {{0x10, 5}, {0x20, 3}, {0x30, 1}});
  Scale(&profile, 0.3);
  ASSERT_EQ(profile.samples.size(), 2u);
  EXPECT_EQ(profile.samples[0].values, Values{2});
  EXPECT_EQ(profile.samples[1].values, Values{1});
}

TEST(Scale, NegatesExactlyBeyondWhatADoubleHolds) {
  constexpr std::int64_t kOdd = (std::int64_t{1} << 60) + 1;
  Profile profile = Taken(1, 0x10000, {{0x10, kOdd}});
  Scale(&profile, -1);
  EXPECT_EQ(profile.samples[0].values, Values{-kOdd});
}

}  // namespace
}  // namespace heldby
