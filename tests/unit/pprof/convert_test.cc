#include "tools/convert.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "exporters/pprof/convert.h"
#include "exporters/pprof/gzip.h"
#include "heldby/profile.h"
#include "tests/unit/pprof/real_reader.h"
#include "tests/unit/pprof/sample_profile.h"

namespace heldby {
namespace {

int Convert(std::vector<std::string> args) {
  std::vector<char*> argv;
  args.insert(args.begin(), "convert");
  for (std::string& arg : args) argv.push_back(arg.data());
  return ConvertMain(static_cast<int>(argv.size()), argv.data());
}

TEST(ConvertToPprof, AProfileProtoComesOutAsItWentIn) {
  const std::string bytes = *EncodePprof(MakeHeapProfile());
  EXPECT_EQ(*ConvertToPprof(bytes), bytes);
  EXPECT_EQ(*ConvertToPprof(*Gunzip(bytes, 1 << 20)), bytes);
}

TEST(ConvertToPprof, TextInGzipIsText) {
  const std::string text = ReadFile(HELDBY_GOLDEN_DIR "/count.txt");
  EXPECT_EQ(*ConvertToPprof(*Gzip(text)), *ConvertToPprof(text));
}

TEST(ConvertToPprof, WhatIsNoProfileIsDataLoss) {
  EXPECT_EQ(ConvertToPprof("").status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(ConvertToPprof("<html>").status().code(), StatusCode::kDataLoss);
}

TEST(ConvertMain, WritesTheFileWithTheModeOfANewFileAndNothingBeside) {
  const ScratchDir dir;
  ASSERT_EQ(Convert({HELDBY_GOLDEN_DIR "/heap_v2.txt", dir.path("out.pb.gz")}), 0);
  EXPECT_TRUE(DecodePprof(ReadFile(dir.path("out.pb.gz"))).ok());
  struct stat info;
  ASSERT_EQ(stat(dir.path("out.pb.gz").c_str(), &info), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(info.st_mode & 0777, 0666 & ~mask);
  const std::filesystem::directory_iterator entries(dir.path(""));
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(ConvertMain, AReplacedFileKeepsItsMode) {
  const ScratchDir dir;
  const std::string out = dir.Write("out.pb.gz", "old");
  for (const mode_t mode : {0600u, 0640u, 0604u}) {
    ASSERT_EQ(chmod(out.c_str(), mode), 0);
    ASSERT_EQ(Convert({HELDBY_GOLDEN_DIR "/heap_v2.txt", out}), 0);
    struct stat info;
    ASSERT_EQ(stat(out.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, mode);
  }
}

TEST(ConvertMain, AnInputWithoutEndIsRefused) {
  const ScratchDir dir;
  testing::internal::CaptureStderr();
  EXPECT_EQ(Convert({"/dev/zero", dir.path("out.pb.gz")}), 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "heldby convert: /dev/zero: more than 256 MiB: not a profile\n");
  EXPECT_FALSE(std::filesystem::exists(dir.path("out.pb.gz")));
}

TEST(ConvertMain, ABadInputLeavesTheOldOutputAlone) {
  const ScratchDir dir;
  const std::string out = dir.Write("out.pb.gz", "old");
  EXPECT_EQ(Convert({dir.Write("in", "nonsense"), out}), 1);
  EXPECT_EQ(Convert({dir.path("absent"), out}), 1);
  EXPECT_EQ(ReadFile(out), "old");
}

TEST(ConvertMain, WrongUsageIsTwo) {
  EXPECT_EQ(Convert({}), 2);
  EXPECT_EQ(Convert({"one"}), 2);
  EXPECT_EQ(Convert({"--fast", "a", "b"}), 2);
  EXPECT_EQ(Convert({"a", "b", "c"}), 2);
  EXPECT_EQ(Convert({"--help"}), 0);
}

}  // namespace
}  // namespace heldby
