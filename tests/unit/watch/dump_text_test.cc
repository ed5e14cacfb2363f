// What is written is what is read: the text of this very process, and every way it can be cut.
#include "watch/dump_text.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "exporters/pprof/dump.h"
#include "heldby/profile.h"
#include "profile/dump_format.h"
#include "profile/validate.h"
#include "watch/black_box.h"
#include "watch/verdict_text.h"

namespace heldby::watch {
namespace {

struct Tables {
  Holdings holdings;
  CodeModules modules;
  char buffer[64 << 10];
};

std::unique_ptr<Tables> Find() {
  auto made = std::make_unique<Tables>();
  const int maps = open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
  made->modules.Refresh(*heldby_core_v1(), maps, made->buffer);
  close(maps);
  made->holdings.Find(*heldby_core_v1());
  made->holdings.FindHeld(*heldby_core_v1());
  return made;
}

Tables& Found() {
  static const std::unique_ptr<Tables> tables = Find();
  return *tables;
}

std::string DumpOf(bool all_sites, std::size_t limit_bytes = 1 << 20,
                   const Tables& found = Found(), const char* group = "/x") {
  std::string text(limit_bytes + 1024, '\0');
  TextSink sink(-1, text.data(), text.size(), limit_bytes);
  DumpText dump(*heldby_core_v1(), found.holdings, found.modules, &sink);
  Occasion occasion;
  occasion.level = Level::k90;
  occasion.outlook.tightest = 0;
  occasion.tightest = {LimitKind::kCgroup, true, 90, 100};
  occasion.limit = {"cgroup", group};
  dump.Summary(occasion);
  dump.Records(all_sites);
  text.resize(sink.bytes());
  return text;
}

// A process without hooks has no sites: these are made by hand.
std::string ByHand() {
  return std::string(dump::kMagic) +
         "pid=7 level=90\nreason         90 % of the limit used\n\n" +
         std::string(dump::kRecordsHeading) +
         "\np 524288\nn 1795443379836298114\n"
         "m 7000 8000 0 aabb /lib/a.so\n"
         "m 401000 402000 1000 ccdd /bin/a program\n"
         "c 5 in open 300 61 127.0.0.1:4002 writing%20response\n"
         "c 6 out ended 40 9 - -\n"
         "t 9 open 300 61 5 download -\n"
         "t 10 ended 7 3 0 - -\n"
         "s 1 1024 4 400 whole route=/download,bytes=x 401101 401201\n"
         "s 2 16 2 50 cut - 7101 !555555555001\n"
         "s 3 16 1 9 whole -\n"
         "h 1 5 9 300 3 guessed\n"
         "h 2 6 0 40 1 sure\n"
         "h 3 0 10 7 1 sure\n"
         "d 12 samples whose holder is not told: table full\n"
         "e\n";
}

std::string LabelOf(const Sample& sample, const std::string& key) {
  for (const Label& label : sample.labels) {
    if (label.key != key) continue;
    return label.text.empty() ? std::to_string(label.number) + " " + label.number_unit
                              : label.text;
  }
  return "";
}

bool HasComment(const Profile& profile, const std::string& part) {
  return std::ranges::any_of(profile.comments, [&part](const std::string& comment) {
    return comment.find(part) != std::string::npos;
  });
}

std::int64_t Sum(const Profile& profile) {
  std::int64_t sum = 0;
  for (const Sample& sample : profile.samples) sum += sample.values[1];
  return sum;
}

TEST(DumpText, EverySiteAndHolderComesBack) {
  const Result<Profile> profile = ParseDump(ByHand());
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_TRUE(ValidateProfile(*profile).ok()) << ValidateProfile(*profile).message();
  EXPECT_EQ(profile->period, 524288);
  EXPECT_EQ(profile->time_ns, 1795443379836298114);
  EXPECT_EQ(profile->mappings[0].filename, "/bin/a program");
  EXPECT_EQ(profile->mappings[0].build_id, "ccdd");
  EXPECT_EQ(Sum(*profile), 459);
  ASSERT_EQ(profile->samples.size(), 6u);

  const Sample& held = profile->samples[0];
  EXPECT_EQ(held.values, (std::vector<std::int64_t>{3, 300}));
  for (const auto& [key, value] : {std::pair("connection", "5 id"),
                                   {"peer", "127.0.0.1:4002"},
                                   {"state", "writing response"},
                                   {"age", "61 seconds"},
                                   {"direction", "inbound"},
                                   {"task", "download"},
                                   {"route", "/download"},
                                   {"user_bytes", "x"},
                                   {"bytes", "1024 bytes"},
                                   {"attribution", "implicit"}}) {
    EXPECT_EQ(LabelOf(held, key), value) << key;
  }
  EXPECT_EQ(LabelOf(profile->samples[1], "holder"), "unattributed");
  EXPECT_EQ(profile->samples[1].values, (std::vector<std::int64_t>{1, 100}));
  EXPECT_EQ(LabelOf(profile->samples[2], "holder"), "ended");
  EXPECT_EQ(LabelOf(profile->samples[4], "task"), "unnamed");
  EXPECT_TRUE(HasComment(*profile, "reason: 90 % of the limit used"));
  EXPECT_TRUE(HasComment(*profile, "12 samples whose holder is not told"));
  EXPECT_FALSE(HasComment(*profile, "cut"));
}

TEST(DumpText, AddressesAreOfCallsAndCodeThatIsGoneIsToldApart) {
  const Result<Profile> profile = ParseDump(ByHand());
  ASSERT_TRUE(profile.ok());
  const auto& location = [&](std::size_t sample, std::size_t frame) -> const Location& {
    return profile
        ->locations[static_cast<std::size_t>(profile->samples[sample].stack[frame]) - 1];
  };
  EXPECT_EQ(location(0, 0).address, 0x401100u);
  EXPECT_EQ(location(0, 1).address, 0x401200u);
  EXPECT_EQ(location(2, 1).address, 0xffff555555555000u);
  ASSERT_EQ(profile->samples[2].stack.size(), 3u);  // the last says that it was cut
}

TEST(DumpText, ADumpThatIsCutAnywhereStillConverts) {
  const std::string whole = ByHand();
  for (std::size_t size = dump::kMagic.size(); size < whole.size() - 1; ++size) {
    const Result<Profile> profile = ParseDump(whole.substr(0, size));
    ASSERT_TRUE(profile.ok()) << size;
    ASSERT_TRUE(EncodePprof(*profile).ok()) << size;
    ASSERT_EQ(HasComment(*profile, "the dump was cut"), size < whole.size() - 1) << size;
  }
}

TEST(DumpText, ADamagedByteCostsItsLineAtMost) {
  const std::string whole = ByHand();
  for (std::size_t at = dump::kMagic.size(); at < whole.size(); ++at) {
    for (const char byte : {'\0', '\xff', '9', ' ', '\n', '%', '-'}) {
      std::string bytes = whole;
      bytes[at] = byte;
      const Result<Profile> profile = ParseDump(bytes);
      ASSERT_TRUE(profile.ok()) << at;
      ASSERT_TRUE(EncodePprof(*profile).ok()) << at;
    }
  }
}

// With what is multiplied by another the answer would be gigabytes, or would take hours.
TEST(DumpText, AHostileDumpCostsNoMoreThanItsSize) {
  std::string text = ByHand();
  text.resize(text.size() - 2);
  for (int i = 0; i < 3000; ++i) {
    text += "s 77 16 1000000 1000000 whole -\nh 77 0 0 1 1 sure\n";
  }
  text += "s 78 16 1 1 whole ";
  for (int i = 0; i < 500'000; ++i) text += "k" + std::to_string(i) + "=v,";
  text += "\ne\n";
  const Result<Profile> profile = ParseDump(text);
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_LT(profile->samples.size(), 10'000u);
  EXPECT_TRUE(HasComment(*profile, "1 lines of the dump are damaged"));
}

TEST(DumpText, TheSummaryComesFirstAndOutOfTheRecordsWay) {
  SetVerdictText("GROWING: download\n  p 1\n");
  const std::string text = DumpOf(/*all_sites=*/true);
  const Result<std::string_view> summary = DumpSummary(text);
  ASSERT_TRUE(summary.ok());
  for (const char* part : {"level=90", "90 % of the limit used", "100 bytes, cgroup /x",
                           "90.0 %", "GROWING: download", "no connection is known"}) {
    EXPECT_NE(summary->find(part), std::string_view::npos) << part << "\n" << *summary;
  }
  SetVerdictText("");
  EXPECT_NE(DumpOf(true).find("no verdict yet"), std::string::npos);
}

TEST(DumpText, TheModulesOfThisProcessAreThereWithTheirBuildIds) {
  const Result<Profile> profile = ParseDump(DumpOf(/*all_sites=*/true));
  ASSERT_TRUE(profile.ok());
  const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  EXPECT_EQ(profile->mappings[0].filename, self);
  const auto libc = std::ranges::find_if(profile->mappings, [](const Mapping& mapping) {
    return mapping.filename.ends_with("libc.so.6");
  });
  ASSERT_NE(libc, profile->mappings.end());
  EXPECT_EQ(libc->build_id.size(), 40u);
}

TEST(DumpText, NamesOfFilesAndGroupsComeBackWhateverIsInThem) {
  const std::string path = std::filesystem::absolute("100%41,of=a b.so");
  std::ofstream(path) << std::string(4096, 'x');
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* code = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  close(fd);
  ASSERT_NE(code, MAP_FAILED);
  const Result<Profile> profile =
      ParseDump(DumpOf(/*all_sites=*/true, 1 << 20, *Find(), "/x%41\n--- records"));
  munmap(code, 4096);
  std::filesystem::remove(path);
  ASSERT_TRUE(profile.ok());
  EXPECT_TRUE(std::ranges::count(profile->mappings, path, &Mapping::filename) == 1);
  EXPECT_TRUE(HasComment(*profile, "cgroup /x%41\n--- records"));
}

TEST(DumpText, WhatDoesNotFitIsCountedAndTheEndIsThere) {
  // Half of the records' room: how long they are goes by the addresses and paths of this run.
  const std::string whole = DumpOf(/*all_sites=*/true);
  const std::size_t records = whole.size() - whole.find(dump::kRecordsHeading);
  const std::size_t limit = whole.size() - records / 2;
  const std::string text = DumpOf(/*all_sites=*/true, limit);
  EXPECT_LT(text.size(), limit + 200);
  const Result<Profile> profile = ParseDump(text);
  ASSERT_TRUE(profile.ok());
  EXPECT_TRUE(HasComment(*profile, "records left out: the dump was full"));
  EXPECT_FALSE(HasComment(*profile, "the dump was cut"));
}

// Two halves as BlackBox writes them.
std::string Box(const std::string& older, const std::string& newer) {
  char name[] = "box_test.XXXXXX";
  const std::string path = std::filesystem::absolute(mkdtemp(name));
  DumpFolder folder;
  EXPECT_TRUE(folder.Open(path.c_str()));
  auto box = std::make_unique<BlackBox>();
  EXPECT_TRUE(box->Create(folder, 7, 1000, ""));
  for (const std::string& text : {older, newer}) {
    if (text.empty()) continue;
    text.copy(box->text(), text.size());
    EXPECT_TRUE(box->Publish(text.size()));
  }
  std::ifstream file(path + "/" + box->name(), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  box->Remove(folder);
  std::filesystem::remove_all(path);
  return bytes;
}

std::string Numbered(const std::string& pid) {
  std::string text = ByHand();
  return text.replace(text.find("pid=7"), 5, "pid=" + pid);
}

TEST(BlackBox, TheNewerHalfCounts) {
  const std::string box = Box(Numbered("1"), Numbered("2"));
  EXPECT_EQ(box.size(), dump::kBoxBytes);
  EXPECT_TRUE(IsDump(box));
  EXPECT_NE(DumpSummary(box)->find("pid=2 "), std::string_view::npos);
  EXPECT_EQ(Sum(*ParseDump(box)), 459);
  EXPECT_NE(DumpSummary(Box(Numbered("1"), ""))->find("pid=1 "), std::string_view::npos);
}

TEST(BlackBox, AKillInTheMiddleOfAWriteLeavesTheOtherHalf) {
  const std::string before = Box(Numbered("1"), Numbered("2"));
  const std::string after = Box(Numbered("3"), Numbered("2"));
  const std::size_t size = dump::kBoxHeadingBytes + Numbered("3").size();
  for (std::size_t written = 0; written < size; ++written) {
    // A third text, of which this much has come to the file.
    std::string box = before;
    box.replace(0, written, after, 0, written);
    box[dump::kBoxMagic.size()] = '3';
    const Result<std::string_view> summary = DumpSummary(box);
    ASSERT_TRUE(summary.ok());
    ASSERT_NE(summary->find("pid=2 "), std::string_view::npos) << written;
  }
}

TEST(BlackBox, ADamagedByteIsNoticed) {
  const std::string whole = Box(Numbered("1"), Numbered("2"));
  const std::size_t used = dump::kBoxHeadingBytes + Numbered("2").size();
  for (std::size_t i = 0; i < used; ++i) {
    std::string box = whole;
    box[dump::kBoxHalfBytes + i] ^= 1;
    const Result<std::string_view> summary = DumpSummary(box);
    ASSERT_TRUE(summary.ok()) << i;
    const bool is_blank = i < dump::kBoxHeadingBytes && whole[dump::kBoxHalfBytes + i] <= ' ';
    ASSERT_TRUE(is_blank || summary->find("pid=1 ") != std::string_view::npos) << i;
  }
}

TEST(BlackBox, ABoxOfWhichNothingIsWholeSaysSo) {
  std::string box = Box(Numbered("1"), Numbered("2"));
  for (std::size_t half : {std::size_t{0}, dump::kBoxHalfBytes}) box[half + 100] ^= 1;
  EXPECT_EQ(ParseDump(box).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(ParseDump(box.substr(0, 20)).status().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace heldby::watch
