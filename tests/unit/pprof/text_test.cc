#include "exporters/pprof/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "exporters/pprof/legacy.h"
#include "profile/builder.h"
#include "tests/unit/pprof/real_reader.h"

namespace heldby {
namespace {

constexpr std::int64_t kRate = 524288;

// What a sampler with mean distance kRate estimates for `seen` blocks of `block` bytes.
std::pair<std::int64_t, std::int64_t> Estimate(std::int64_t seen, std::int64_t block) {
  const double weight =
      1 / -std::expm1(-static_cast<double>(block) / static_cast<double>(kRate));
  const double objects = static_cast<double>(seen) * weight;
  return {std::llround(objects), std::llround(objects * static_cast<double>(block))};
}

Profile HeapOf(const std::vector<std::vector<std::int64_t>>& rows) {
  ProfileBuilder builder({{"alloc_objects", "count"},
                          {"alloc_space", "bytes"},
                          {"inuse_objects", "count"},
                          {"inuse_space", "bytes"}});
  const MappingId app = builder.AddMapping({0x1000, 0x90000, 0, "/srv/app", "", 1, 0, 0, 0});
  std::uint64_t address = 0x1fff;
  for (const std::vector<std::int64_t>& row : rows) {
    const FunctionId function = builder.AddFunction("f" + std::to_string(address));
    builder.AddSample({builder.AddLocation(app, address, {{function, 0}})}, row);
    address += 0x10;
  }
  return std::move(builder).Build();
}

TEST(HeapText, GoToolPprofUnsamplesItBackToTheEstimates) {
  std::vector<std::vector<std::int64_t>> rows;
  for (const auto& [seen, block] : std::vector<std::pair<int, int>>{
           {1, 16}, {3, 4096}, {7, 100'000}, {2, 524288}, {5, 3'000'000}, {4000, 64}}) {
    const auto [alloc_objects, alloc_bytes] = Estimate(seen * 2, block);
    const auto [objects, bytes] = Estimate(seen, block);
    rows.push_back({alloc_objects, alloc_bytes, objects, bytes});
  }
  const ScratchDir dir;
  const std::string file = dir.Write("heap.txt", *HeapText(HeapOf(rows), kRate));

  const std::string raw = GoToolPprof("-raw", file);

  for (std::size_t i = 0; i < rows.size(); ++i) {
    // pprof numbers locations in order of the records, so look for the address instead.
    std::smatch id;
    const std::string address =
        "0x" + (std::ostringstream() << std::hex << 0x1fff + 0x10 * i).str();
    ASSERT_TRUE(std::regex_search(raw, id, std::regex("(\\d+): " + address + " "))) << raw;
    std::smatch values;
    ASSERT_TRUE(std::regex_search(
        raw, values,
        std::regex("(-?\\d+) +(-?\\d+) +(-?\\d+) +(-?\\d+): " + id[1].str() + " \n")))
        << raw;
    for (std::size_t column = 0; column < 4; ++column) {
      const double want = static_cast<double>(rows[i][column]);
      const double got = std::stod(values[column + 1].str());
      // pprof truncates, and a record's mean size is a whole number of bytes over a whole
      // count.
      EXPECT_NEAR(got, want, 2 + want * 1e-4) << "row " << i << " column " << column;
    }
  }
}

TEST(HeapText, MixedSizesKeepTheirBytes) {
  const Profile mixed = HeapOf({{900, 5'000'000, 300, 1'700'000}});
  const Result<Profile> back = ParseLegacy(*HeapText(mixed, kRate));
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_NEAR(static_cast<double>(back->samples[0].values[1]), 5'000'000, 500);
  EXPECT_NEAR(static_cast<double>(back->samples[0].values[3]), 1'700'000, 500);
}

TEST(HeapText, HasGosLayout) {
  Profile profile = HeapOf({{2, 20, 1, 10}, {9, 90, 8, 80}});
  profile.functions[1].filename = "/srv/app.cc";
  profile.locations[1].lines[0].line = 12;
  const std::string text = *HeapText(profile, 1, {"runtime.MemStats", "Alloc = 90"});
  EXPECT_EQ(text,
            "heap profile: 9: 90 [11: 110] @ heap/2\n"
            "8: 80 [9: 90] @ 0x2010\n"
            "#\t0x2010\tf8207\t/srv/app.cc:12\n"
            "\n"
            "1: 10 [2: 20] @ 0x2000\n"
            "#\t0x2000\tf8191\n"
            "\n"
            "\n"
            "# runtime.MemStats\n"
            "# Alloc = 90\n");
}

// Otherwise a reader would take it for a profile of two columns.
TEST(HeapText, EqualTotalsGetOneByteMoreOfAllocation) {
  EXPECT_EQ(HeapText(HeapOf({}), kRate)->substr(0, 39),
            "heap profile: 0: 0 [0: 1] @ heap/104857");
  const std::string text = *HeapText(HeapOf({{1, 10, 1, 10}}), 1);
  EXPECT_EQ(text.substr(0, text.find('\n')), "heap profile: 1: 10 [1: 11] @ heap/2");
  EXPECT_EQ(ParseLegacy(text)->sample_types.size(), 4u);
}

TEST(HeapText, RefusesOtherColumns) {
  const Result<std::string> text = HeapText(Profile{}, 1);
  EXPECT_EQ(text.status().code(), StatusCode::kInvalidArgument);
}

TEST(CountText, HasGosLayoutAndGooglePprofReadsIt) {
  ProfileBuilder builder(std::vector<ValueType>{{"goroutine", "count"}});
  const MappingId app = builder.AddMapping({0x1000, 0x9000, 0, "/srv/app", "", 1, 0, 0, 0});
  const FunctionId serve = builder.AddFunction("Serve\n(int)");
  const LocationId leaf = builder.AddLocation(app, 0x1fff, {{serve, 0}});
  builder.AddSample({leaf}, std::vector<std::int64_t>{2});
  builder.AddSample({leaf}, std::vector<std::int64_t>{5},
                    {{"route", "/a\"b", 0, ""}, {"fd", "", 7, "id"}});
  builder.AddSample({}, std::vector<std::int64_t>{1});
  const std::string text = *CountText("my tasks", std::move(builder).Build());
  EXPECT_EQ(text,
            "my_tasks profile: total 8\n"
            "5 @ 0x2000\n"
            "# labels: {\"fd\":\"7id\", \"route\":\"/a\\\"b\"}\n"
            "#\t0x2000\tServe?(int)\n"
            "\n"
            "2 @ 0x2000\n"
            "#\t0x2000\tServe?(int)\n"
            "\n"
            "1 @ 0x1\n"
            "\n");
  const ScratchDir dir;
  const std::string dump = CheckValid(dir.Write("tasks.txt", text));
  EXPECT_NE(dump.find("sample [7] \n  0x1fff\n"), std::string::npos) << dump;
}

TEST(ContentionText, GooglePprofReadsTheSameValues) {
  ProfileBuilder builder({{"contentions", "count"}, {"delay", "nanoseconds"}});
  const LocationId leaf = builder.AddLocation(MappingId::kNone, 0x1fff);
  builder.AddSample({leaf}, std::vector<std::int64_t>{3, 123'456'789});
  const Profile profile = std::move(builder).Build();
  const ScratchDir dir;
  for (ContentionKind kind : {ContentionKind::kBlock, ContentionKind::kMutex}) {
    const std::string dump = CheckValid(dir.Write("c.txt", *ContentionText(kind, profile)));
    EXPECT_NE(dump.find("sample [3 123456789] \n  0x1fff\n"), std::string::npos) << dump;
  }
}

}  // namespace
}  // namespace heldby
