#include "exporters/pprof/legacy.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/pprof/convert.h"
#include "exporters/pprof/legacy_parts.h"
#include "tests/unit/pprof/real_reader.h"

namespace heldby {
namespace {

// Each file three ways: see tests/golden/README.md.
class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, ConversionIsWhatGooglePprofReadsInTheOriginal) {
  const std::string file = std::string(HELDBY_GOLDEN_DIR) + "/" + GetParam();
  const ScratchDir dir;
  const Result<std::string> converted = ConvertToPprof(ReadFile(file));
  ASSERT_TRUE(converted.ok()) << converted.status().message();

  const std::string twin = ReadFile(file + ".dump");
  EXPECT_EQ(CheckValid(file), twin);
  EXPECT_EQ(CheckValid(dir.Write("converted.pb.gz", *converted)), twin);
}

INSTANTIATE_TEST_SUITE_P(Files, Golden,
                         testing::Values("heap_v2.txt", "heapprofile.txt", "growth.txt",
                                         "cpu64.prof", "cpu32be.prof", "count.txt",
                                         "mutex.txt"),
                         [](const auto& info) {
                           const std::string name = info.param;
                           return name.substr(0, name.find('.'));
                         });

TEST(Legacy, GoToolPprofTopOfTheConversionIsThatOfTheOriginal) {
  const std::string file = HELDBY_GOLDEN_DIR "/heapprofile.txt";
  const ScratchDir dir;
  const std::string converted = dir.Write("c.pb.gz", *ConvertToPprof(ReadFile(file)));
  const std::string top = GoToolPprof("-top -addresses", converted);
  // The first lines name the file that was read.
  const auto table = [](const std::string& text) { return text.substr(text.find("Showing")); };
  EXPECT_EQ(table(top), table(GoToolPprof("-top -addresses", file)));
}

void ExpectBad(const std::string& text, const std::string& message) {
  const Result<Profile> profile = ParseLegacy(text);
  ASSERT_FALSE(profile.ok()) << text;
  EXPECT_EQ(profile.status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(profile.status().message(), message);
}

TEST(Legacy, ErrorsNameTheLineOrTheByte) {
  const std::string header = "heap profile: 1: 10 [2: 20] @ heap_v2/512\n";
  ExpectBad("nonsense", "byte 0: not a heap, growth, CPU, contention or count profile");
  ExpectBad("heap profile: x",
            "line 1: expected \"heap profile: <n>: <bytes> [<n>: <bytes>] @ <type>\"");
  ExpectBad("heap profile: 1: 10 [2: 20] @ pile/3",
            "line 1: \"pile\" is not a heap profile type known here");
  ExpectBad(header + "\n0: 10 [1: 10] @ 0x1\n", "line 3: no objects in use, but 10 bytes");
  ExpectBad(header + "1: 10 [0: 10] @ 0x1\n", "line 2: no objects allocated, but 10 bytes");
  ExpectBad(header + "1: 10 [1: 10] @ 0x12345678123456789\n",
            "line 2: \"12345678123456789\" is not a list of 64-bit addresses");
  ExpectBad("a profile: total 3\nmore text\n", "line 2: expected \"<count> @ <addresses>\"");
  ExpectBad("--- mutex:\nformat = java\n",
            "line 2: \"format\" is not an attribute of a contention profile");
  std::string cpu = ReadFile(HELDBY_GOLDEN_DIR "/cpu64.prof").substr(0, 80);
  ExpectBad(cpu, "byte 40: this record ends after the file");
}

TEST(Legacy, EqualTotalsMeanTwoColumns) {
  const auto columns = [](const char* text) { return ParseLegacy(text)->sample_types.size(); };
  EXPECT_EQ(columns("heap profile: 1: 10 [1: 10] @ heap_v2/512\n"), 2u);
  EXPECT_EQ(columns("heap profile: 1: 10 [0: 0] @ heap_v2/512\n"), 2u);
  EXPECT_EQ(columns("heap profile: 1: 10 [1: 11] @ heap_v2/512\n"), 4u);
  EXPECT_EQ(columns("heap profile: 1: 10 [2: 20] @ growth\n"), 2u);
}

// 4096 of 524288 bytes: seen once in 128.5.
TEST(Legacy, SampledRecordsStandForWhatWasNotSeen) {
  const Result<Profile> profile = ParseLegacy(
      "heap profile: 1: 4096 [1: 4096] @ heap_v2/524288\n1: 4096 [1: 4096] @ 0x10\n");
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(profile->samples[0].values, (std::vector<std::int64_t>{128, 526338}));
  EXPECT_EQ(profile->samples[0].labels[0], (Label{"bytes", "", 4096, "bytes"}));
  EXPECT_EQ(profile->locations[0].address, 0xfu);
}

TEST(LegacyMaps, ReadsBothFormsJoinsPiecesAndPutsTheProgramFirst) {
  legacy::Budget budget;
  const Result<std::vector<Mapping>> read = legacy::ParseMaps(
      "build=/srv\n"
      "7f00-7f10 r-xp 00000000 08:01 12  /usr/lib/libc.so.6\n"
      "1000-2000 r-xp 00000000 08:01 13  $build/app with blank\n"
      "2000-3000 r-xp 00001000 08:01 13  $build/app with blank\n"
      "3000-4000 rw-p 00001000 08:01 13  $build/app with blank\n"
      "not a mapping\n"
      "9000-a000: /opt/tool (@400) ab12\n",
      &budget);
  ASSERT_TRUE(read.ok());
  const std::vector<Mapping>& maps = *read;
  ASSERT_EQ(maps.size(), 3u);
  EXPECT_EQ(maps[0].filename, "/srv/app with blank");
  EXPECT_EQ(maps[0].start, 0x1000u);
  EXPECT_EQ(maps[0].limit, 0x3000u);
  EXPECT_EQ(maps[1].filename, "/usr/lib/libc.so.6");
  EXPECT_EQ(maps[2].filename, "/opt/tool");
  EXPECT_EQ(maps[2].file_offset, 0x400u);
  EXPECT_EQ(maps[2].build_id, "ab12");
}

TEST(LegacyMaps, OfSeveralVariablesThatFitTheFirstWins) {
  const auto name_of = [](const std::string& variables) {
    legacy::Budget budget;
    return legacy::ParseMaps(variables + "1000-2000: $build/app\n", &budget)->at(0).filename;
  };
  EXPECT_EQ(name_of("build=/a\nbuild=/b\n"), "/a/app");
  EXPECT_EQ(name_of("bu=/a\nbuild=/b\n"), "/aild/app");
  EXPECT_EQ(name_of("build=/b\nbu=/a\n"), "/b/app");
  EXPECT_EQ(name_of("builds=/b\n"), "$build/app");
}

// Every name tried against every variable would be 4 * 10^9 comparisons, some ten seconds.
TEST(LegacyMaps, TheWorkPerNameDoesNotGrowWithTheVariables) {
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += "$k" + std::to_string(i) + "=v\n1-2: $x\n";
  legacy::Budget budget;
  const auto start = std::chrono::steady_clock::now();
  const Result<std::vector<Mapping>> maps = legacy::ParseMaps(text, &budget);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  ASSERT_TRUE(maps.ok());
  EXPECT_EQ(maps->size(), 60'000u);
}

// 1 MiB, 600 times, and again in the profile.
TEST(LegacyMaps, AVariableCannotMultiplyTheFile) {
  std::string text = "a=" + std::string(1 << 20, 'x') + "\n";
  for (int i = 0; i < 600; ++i) text += "1-2: $a\n";
  legacy::Budget budget;
  EXPECT_EQ(legacy::ParseMaps(text, &budget).status().code(), StatusCode::kResourceExhausted);
}

void ExpectTooLarge(const std::string& bytes) {
  const Result<Profile> profile = ParseLegacy(bytes);
  ASSERT_FALSE(profile.ok());
  EXPECT_EQ(profile.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(profile.status().message(), "the profile would take more than 512 MiB of memory");
}

std::string Repeated(std::string text, std::string_view part, std::size_t times) {
  for (; times > 0; --times) text += part;
  return text;
}

TEST(Legacy, AProfileOfTheShortestRecordsIsRefusedBeforeItTakesTheMemory) {
  constexpr std::size_t kTimes = 1'100'000;
  ExpectTooLarge(Repeated("heap profile: 1: 1 [1: 1] @ heap_v2/1\n", "0:0[0:0]@\n", kTimes));
  ExpectTooLarge(Repeated("x profile: total 1\n", "1@\n", kTimes));
  ExpectTooLarge(Repeated("--- mutex:\n", "1 1@\n", kTimes));
  ExpectTooLarge(Repeated("--- mutex:\n--- Memory map: ---\n", "1-2:\n", kTimes));
  std::string cpu = ReadFile(HELDBY_GOLDEN_DIR "/cpu64.prof").substr(0, 40);
  ExpectTooLarge(cpu.append(16 * kTimes, '\0'));
}

TEST(Legacy, LocationsCountWhenTheyAreNew) {
  const auto status_of = [](const std::string& text) {
    legacy::Budget budget;
    EXPECT_TRUE(budget.Take((std::size_t{512} << 20) - 100'000));
    return legacy::ParseCount(text, &budget).status().code();
  };
  std::string text = "x profile: total 1\n1 @";
  for (int i = 0; i < 5'000; ++i) text += " 0x" + std::to_string(i + 1);
  EXPECT_EQ(status_of(text), StatusCode::kResourceExhausted);
  EXPECT_EQ(status_of(Repeated("x profile: total 1\n1 @", " 0x1", 5'000)), StatusCode::kOk);
}

}  // namespace
}  // namespace heldby
