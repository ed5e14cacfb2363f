#include "profile/validate.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "profile/builder.h"

namespace heldby {
namespace {

Profile Good() {
  ProfileBuilder builder(
      std::vector<ValueType>{{"inuse_objects", "count"}, {"inuse_space", "bytes"}});
  builder.header().time_ns = 1;
  builder.header().period_type = {"space", "bytes"};
  builder.header().period = 524288;
  Mapping app;
  app.start = 0x1000;
  app.limit = 0x2000;
  app.filename = "/srv/app";
  const MappingId mapping = builder.AddMapping(app);
  const FunctionId function = builder.AddFunction("main");
  const LocationId a = builder.AddLocation(mapping, 0x1010, {{function, 1}});
  const LocationId b = builder.AddLocation(mapping, 0x1020, {{function, 2}});
  builder.AddSample({a, b}, std::vector<std::int64_t>{1, 2},
                    {{"route", "/x", 0, ""}, {"bytes", "", 2, "bytes"}});
  builder.AddSample({b}, std::vector<std::int64_t>{1, 2}, {{"bytes", "", 3, "bytes"}});
  return std::move(builder).Build();
}

std::string Broken(const std::function<void(Profile*)>& change, bool is_format_rule) {
  Profile profile = Good();
  change(&profile);
  EXPECT_NE(ValidateFormat(profile).ok(), is_format_rule);
  const Status status = ValidateProfile(profile);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  return status.message();
}
std::string Format(const std::function<void(Profile*)>& change) { return Broken(change, true); }
std::string Producer(const std::function<void(Profile*)>& change) {
  return Broken(change, false);
}

TEST(Validate, AGoodProfilePasses) {
  EXPECT_EQ(ValidateProfile(Good()).message(), "");
  Profile empty = Good();
  empty.samples.clear();
  EXPECT_TRUE(ValidateProfile(empty).ok());
}

TEST(ValidateFormat, NamesRuleAndPlace) {
  EXPECT_EQ(Format([](Profile* p) { p->sample_types.clear(); }),
            "sample types: none; at least 1 is needed");
  EXPECT_EQ(Format([](Profile* p) { p->samples[1].values.push_back(1); }),
            "sample 1: 3 values for 2 sample types");
  EXPECT_EQ(Format([](Profile* p) { p->samples[1].stack[0] = LocationId{0}; }),
            "sample 1: location 0 of 2 does not exist");
  EXPECT_EQ(Format([](Profile* p) { p->locations[1].mapping = MappingId{2}; }),
            "location 1: mapping 2 of 1 does not exist");
  EXPECT_EQ(Format([](Profile* p) { p->locations[0].lines[0].function = FunctionId{7}; }),
            "location 0: function 7 of 1 does not exist");
  EXPECT_EQ(Format([](Profile* p) { p->samples[0].labels[0].text = "text"; }),
            "sample 0: label bytes is both text and number");
}

TEST(ValidateProfile, ChecksWhatThePartsOfTheHeaderMean) {
  EXPECT_EQ(Producer([](Profile* p) {
              p->samples.clear();
              p->sample_types.resize(5, {"objects", "count"});
            }),
            "sample types: 5; 1 to 4 are accepted");
  EXPECT_EQ(Producer([](Profile* p) { p->sample_types[1].unit = "kilobytes"; }),
            "sample type 1: the unit of inuse_space is bytes, not kilobytes");
  EXPECT_EQ(Producer([](Profile* p) { p->sample_types[0].type = "in-use"; }),
            "sample type 0: \"in-use\" contains '-', which Pyroscope refuses");
  EXPECT_EQ(Producer([](Profile* p) { p->default_sample_type = "cpu"; }),
            "default sample type: there is no column \"cpu\"");
  EXPECT_EQ(Producer([](Profile* p) { p->time_ns = 0; }), "time_ns: 0; it must be given");
  EXPECT_EQ(Producer([](Profile* p) { p->period = 0; }), "period: 0; it must be positive");
  EXPECT_EQ(Producer([](Profile* p) { p->period_type = {}; }),
            "period type: type and unit must both be given");
  EXPECT_EQ(Producer([](Profile* p) { p->doc_url = "docs/x"; }),
            "doc_url: \"docs/x\" is not absolute");
}

TEST(ValidateProfile, WantsAPlaceOfItsOwnForEveryLocation) {
  EXPECT_EQ(Producer([](Profile* p) { p->locations[1].address = 0; }), "location 1: address 0");
  EXPECT_EQ(Producer([](Profile* p) { p->locations[1].mapping = MappingId::kNone; }),
            "location 1: no mapping");
  EXPECT_EQ(Producer([](Profile* p) { p->locations[1].address = 0x2000; }),
            "location 1: address 0x2000 is outside its mapping, 0x1000-0x2000");
  EXPECT_EQ(Producer([](Profile* p) { p->locations[1].address = 0x1010; }),
            "location 1: has the address of location 0, 0x1010");
}

TEST(ValidateProfile, WantsPlainLabelsOfOneKind) {
  const auto label = [](Label value) {
    return Producer([&](Profile* p) { p->samples[1].labels = {std::move(value)}; });
  };
  EXPECT_EQ(label({"pprof::base", "x", 0, ""}),
            "sample 1: label pprof::base: pprof:: is reserved");
  EXPECT_EQ(
      label({"9lives", "x", 0, ""}),
      "sample 1: label \"9lives\": names are letters, digits and _, and start with no digit");
  EXPECT_EQ(label({"id", "", 7, ""}), "sample 1: label id: a number without a unit");
  EXPECT_EQ(label({"id", "", 0, ""}),
            "sample 1: label id: neither text nor a number with a unit");
  EXPECT_EQ(label({"bytes", "many", 0, ""}),
            "sample 1: label bytes is text here, a number elsewhere");
  EXPECT_EQ(label({"bytes", "", 3, "kilobytes"}),
            "sample 1: label bytes is in kilobytes here, in bytes elsewhere");
  EXPECT_EQ(Producer([](Profile* p) {
              p->samples[1].labels.push_back({"bytes", "", 4, "bytes"});
            }),
            "sample 1: label bytes has two values");
}

}  // namespace
}  // namespace heldby
