#include <gtest/gtest.h>

#include <cstdint>
#include <protozero/pbf_writer.hpp>
#include <string>

#include "exporters/pprof/gzip.h"
#include "heldby/profile.h"
#include "profile/validate.h"
#include "tests/unit/pprof/sample_profile.h"

namespace heldby {
namespace {

// profile.proto bytes by field number, for what EncodePprof() would never write.
struct Wire {
  std::string bytes;
  protozero::pbf_writer out{bytes};

  Wire& Text(const char* text) {
    out.add_string(6, text);
    return *this;
  }
  Wire& Nested(std::uint32_t field,
               std::initializer_list<std::pair<int, std::uint64_t>> numbers) {
    std::string message;
    protozero::pbf_writer nested(message);
    for (const auto& [tag, value] : numbers) nested.add_uint64(tag, value);
    out.add_message(field, message);
    return *this;
  }
  // string_table ["", "samples", "count"] and one column.
  static Wire WithColumn() {
    Wire wire;
    wire.Text("").Text("samples").Text("count").Nested(1, {{1, 1}, {2, 2}});
    return wire;
  }
};

void ExpectDataLoss(const std::string& bytes, const std::string& part) {
  const Result<Profile> profile = DecodePprof(bytes);
  ASSERT_FALSE(profile.ok()) << "expected: " << part;
  EXPECT_EQ(profile.status().code(), StatusCode::kDataLoss);
  EXPECT_NE(profile.status().message().find(part), std::string::npos)
      << profile.status().message();
}

TEST(DecodePprof, GivesBackWhatEncodePprofWasGiven) {
  const Profile before = MakeHeapProfile();
  const std::string bytes = *EncodePprof(before);

  const Result<Profile> after = DecodePprof(bytes);

  ASSERT_TRUE(after.ok()) << after.status().message();
  EXPECT_EQ(*EncodePprof(*after), bytes);
  EXPECT_EQ(after->samples[0].labels, before.samples[0].labels);
  EXPECT_EQ(after->locations[1].lines.size(), 2u);
  EXPECT_EQ(after->comments, before.comments);
  EXPECT_EQ(after->doc_url, before.doc_url);
}

// Found by fuzz_decode.
TEST(DecodePprof, AColumnWithoutNameSurvivesTheWayBack) {
  Wire wire;
  wire.Text("").Nested(1, {{7, 1}}).Nested(2, {{2, 5}});
  const Result<Profile> profile = DecodePprof(wire.bytes);
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  const Result<Profile> again = DecodePprof(*EncodePprof(*profile));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->sample_types.size(), 1u);
}

TEST(DecodePprof, TakesRawBytesAsWellAsGzip) {
  const std::string bytes = *EncodePprof(MakeHeapProfile());
  const Result<Profile> profile = DecodePprof(*Gunzip(bytes, 1 << 20));
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(*EncodePprof(*profile), bytes);
}

TEST(DecodePprof, MakesArbitraryIdsDense) {
  Wire wire = Wire::WithColumn();
  wire.Nested(3, {{1, 1'000'000'007}, {2, 0x1000}, {3, 0x2000}});
  wire.Nested(4, {{1, 99}, {2, 1'000'000'007}, {3, 0x1500}});
  wire.Nested(4, {{1, 7}, {3, 0x42}, {2, 55}});  // a mapping that does not exist is none
  wire.Nested(2, {{1, 7}, {1, 99}, {2, 3}});     // numbers one by one, not packed
  const Result<Profile> profile = DecodePprof(wire.bytes);
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(profile->samples[0].stack, (std::vector{LocationId{2}, LocationId{1}}));
  EXPECT_EQ(profile->locations[0].mapping, MappingId{1});
  EXPECT_EQ(profile->locations[1].mapping, MappingId::kNone);
}

TEST(DecodePprof, NamesTheRuleThatABadFileBreaks) {
  ExpectDataLoss("", "no bytes");
  ExpectDataLoss("hello", "field at byte 2 of 5");
  ExpectDataLoss(Wire().Text("samples").bytes, "string table does not begin with \"\"");
  ExpectDataLoss(Wire().Text("").bytes, "sample types: none");
  Wire no_string = Wire::WithColumn();
  ExpectDataLoss(no_string.Nested(1, {{1, 9}}).bytes, "string 9 of 3 does not exist");
  Wire no_location = Wire::WithColumn();
  ExpectDataLoss(no_location.Nested(2, {{1, 5}, {2, 1}}).bytes, "location 5 does not exist");
  Wire no_value = Wire::WithColumn();
  ExpectDataLoss(no_value.Nested(2, {}).bytes, "sample 0: 0 values for 1 sample types");
  Wire zero_id = Wire::WithColumn();
  ExpectDataLoss(zero_id.Nested(4, {{3, 0x42}}).bytes, "a location has id 0");
  Wire twice = Wire::WithColumn();
  ExpectDataLoss(twice.Nested(5, {{1, 4}}).Nested(5, {{1, 4}}).bytes, "two of kind function");
}

TEST(DecodePprof, TwoProfilesGluedTogetherAreRefused) {
  const std::string raw = *Gunzip(*EncodePprof(MakeHeapProfile()), 1 << 20);
  EXPECT_FALSE(DecodePprof(raw + raw).ok());
  Wire wire = Wire::WithColumn();
  wire.out.add_int64(9, 1);
  wire.out.add_int64(9, 2);
  ExpectDataLoss(wire.bytes, "a second time stamp");
}

TEST(DecodePprof, EveryTruncationEndsInAStatus) {
  const std::string raw = *Gunzip(*EncodePprof(MakeHeapProfile()), 1 << 20);
  for (std::size_t size = 0; size < raw.size(); ++size) {
    const Result<Profile> profile = DecodePprof(raw.substr(0, size));
    if (profile.ok()) {
      EXPECT_TRUE(ValidateFormat(*profile).ok()) << size;
    }
  }
}

// 2000 labels of some bytes on the wire, each naming the same megabyte.
TEST(DecodePprof, ASmallFileCannotBecomeAHugeProfile) {
  Wire wire = Wire::WithColumn();
  wire.Text(std::string(1 << 20, 'x').c_str());
  for (int i = 0; i < 2000; ++i) wire.out.add_int64(13, 3);
  const Result<Profile> profile = DecodePprof(*Gzip(wire.bytes));
  ASSERT_FALSE(profile.ok());
  EXPECT_EQ(profile.status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace heldby
