#include "symbolize/symbolizer.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "subject.h"
#include "symbolize/result_cache.h"

namespace heldby::symbolize {
namespace {

std::uint64_t Here() { return reinterpret_cast<std::uint64_t>(&Here) + 4; }

TEST(Symbolizer, EveryLocationEndsUpInsideAMappingAndTheMainBinaryIsFirst) {
  Symbolizer symbolizer(WithHelper());
  Profile profile =
      BareProfile({reinterpret_cast<std::uint64_t>(dlsym(RTLD_DEFAULT, "malloc")) + 1, Here(),
                   0x1234, ~std::uint64_t{0}, getauxval(AT_SYSINFO_EHDR) + 64});
  symbolizer.Symbolize(&profile);
  for (std::size_t i = 0; i < profile.locations.size(); ++i) {
    const Mapping& mapping = MappingOf(profile, i);
    EXPECT_GE(profile.locations[i].address, mapping.start);
    EXPECT_LT(profile.locations[i].address, mapping.limit);
    EXPECT_FALSE(profile.locations[i].lines.empty());
    EXPECT_TRUE(mapping.has_functions);
  }
  EXPECT_NE(profile.mappings[0].filename.find("symbolize_"), std::string::npos);
  EXPECT_EQ(NamesAt(profile, 0).back(), "malloc");
  EXPECT_EQ(MappingOf(profile, 2).filename, "[unknown]");
  EXPECT_EQ(MappingOf(profile, 4).filename, "[vdso]");
}

TEST(Symbolizer, EqualLocationsBecomeOneAndTheirSamplesAddUp) {
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({Here(), Here()});
  symbolizer.Symbolize(&profile);
  ASSERT_EQ(profile.locations.size(), 1u);
  ASSERT_EQ(profile.samples.size(), 1u);
  EXPECT_EQ(profile.samples[0].values[0], 2);
}

TEST(Symbolizer, SyntheticFramesKeepTheirMappingAndLines) {
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({Here(), 0x7000});
  profile.mappings = {{0x7000, 0x8000, 0, "[runtime]", "", true, false, false, false}};
  profile.functions = {{"runtime frame", "runtime frame", "", 0}};
  profile.locations[1].mapping = MappingId{1};
  profile.locations[1].lines = {{FunctionId{1}, 0}};
  symbolizer.Symbolize(&profile);
  EXPECT_EQ(MappingOf(profile, 1).filename, "[runtime]");
  EXPECT_EQ(NamesAt(profile, 1), (std::vector<std::string>{"runtime frame"}));
  EXPECT_NE(profile.mappings[0].filename, "[runtime]");
}

TEST(Symbolizer, TheSecondTimeTheCacheAnswersWithoutAHelper) {
  Symbolizer symbolizer(WithHelper());
  Profile first = BareProfile({Here()});
  Profile second = first;
  symbolizer.Symbolize(&first);
  symbolizer.Symbolize(&second);
  EXPECT_EQ(symbolizer.stats().helper_runs_total, 1u);
  EXPECT_EQ(symbolizer.stats().cached_total, 1u);
  EXPECT_EQ(NamesAt(first, 0), NamesAt(second, 0));
}

TEST(ResultCache, StaysWithinItsBudgetAndKeepsWhatIsUsed) {
  constexpr std::size_t kBudget = 1 << 20;
  ResultCache cache(kBudget);
  const auto hot = std::make_shared<const Frames>(Frames{{"hot", "hot", "", 0, 0}});
  cache.Insert({1, 0}, hot);
  for (std::uint64_t i = 1; i < 20'000; ++i) {
    cache.Insert({1, i}, std::make_shared<const Frames>(
                             Frames{{std::string(200, 'x'), std::string(300, 'y'), "", 0, 0}}));
    ASSERT_LE(cache.size_bytes(), kBudget);
    ASSERT_NE(cache.Find({1, 0}), nullptr) << i;
  }
  EXPECT_EQ(cache.Find({1, 1}), nullptr);
}

// What the reference says about a call site: function and line of each frame.
std::vector<std::string> Addr2line(const std::vector<std::uint64_t>& vaddrs) {
  std::ostringstream command;
  command << "addr2line -a -f -i -C -e /proc/" << getpid() << "/exe" << std::hex;
  for (const std::uint64_t vaddr : vaddrs) command << " 0x" << vaddr;
  FILE* pipe = popen(command.str().c_str(), "r");
  std::vector<std::string> answers;
  char line[64 * 1024];
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    std::string text(line);
    text.pop_back();
    if (text.starts_with("0x")) {
      answers.emplace_back();
    } else if (const auto colon = text.rfind(':');
               text.find('/') != std::string::npos && colon != std::string::npos) {
      answers.back() += std::to_string(std::atoi(text.c_str() + colon + 1)) + " ";
    }
  }
  pclose(pipe);
  return answers;
}

TEST(Symbolizer, LinesAgreeWithAddr2lineOverThisWholeBinary) {
  Symbolizer symbolizer(WithHelper());
  Profile main = BareProfile({Here()});
  symbolizer.Symbolize(&main);
  const Mapping& mapping = MappingOf(main, 0);
  // Position-independent code is linked at 0, and the text segment where its offset says.
  const bool is_pie = mapping.start > 0x10000000;
  const std::uint64_t base = is_pie ? mapping.start - mapping.file_offset : 0;
  std::vector<std::uint64_t> addresses, vaddrs;
  for (std::uint64_t i = 0; i < 500; ++i) {
    addresses.push_back(mapping.start + 64 +
                        i * ((mapping.limit - mapping.start) / 512) / 4 * 3);
    vaddrs.push_back(addresses.back() - base);
  }
  Profile profile = BareProfile(addresses);
  symbolizer.Symbolize(&profile);
  const std::vector<std::string> expected = Addr2line(vaddrs);
  ASSERT_EQ(expected.size(), addresses.size());
  int compared = 0, different = 0;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    std::string ours;
    for (const Line& line : profile.locations[i].lines) {
      if (line.line != 0) ours += std::to_string(line.line) + " ";
    }
    if (expected[i].empty() || expected[i].find("0 ") == 0) continue;
    ++compared;
    if (ours != expected[i]) {
      ++different;
      if (different < 10)
        ADD_FAILURE_AT("addr2line", 0)
            << std::hex << vaddrs[i] << ": ours " << ours << "theirs " << expected[i];
    }
  }
  EXPECT_GT(compared, 200);
}

}  // namespace
}  // namespace heldby::symbolize
