#include "exporters/report/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace heldby::report {
namespace {

Pattern Compiled(std::string_view text) {
  auto pattern = Pattern::Compile("focus", text);
  EXPECT_TRUE(pattern.ok()) << pattern.status().message();
  return *std::move(pattern);
}

TEST(Pattern, IsFoundAnywhereAndMatchesTheWhole) {
  const Pattern pattern = Compiled(R"(operator new(\[\])?|tc_.*)");
  EXPECT_TRUE(pattern.Found("my operator new[] here"));
  EXPECT_FALSE(pattern.Matches("my operator new[] here"));
  EXPECT_TRUE(pattern.Matches("operator new[]"));
  EXPECT_TRUE(pattern.Matches("tc_malloc"));
  EXPECT_FALSE(pattern.Found("TC_MALLOC"));
  EXPECT_TRUE(Compiled("(?i)tc_malloc").Found("TC_MALLOC"));
}

// A profile brings patterns of its own: neither may one of them run for ever, nor a long name
// use up the stack.
TEST(Pattern, HostileOnesEndInTimeAndWithoutRecursion) {
  EXPECT_FALSE(Compiled("(a*)*b").Found(std::string(2'000, 'a')));
  EXPECT_FALSE(Compiled("(a|aa)+$").Matches(std::string(2'000, 'a') + "b"));
  EXPECT_TRUE(Compiled(".*z").Matches(std::string(1 << 20, 'a') + "z"));
}

TEST(Pattern, SaysWhichIsMalformedAndWhy) {
  for (const std::string& text : {std::string("("), std::string("a{100000}{100000}"),
                                  std::string("[z-a]"), std::string(5000, 'a')}) {
    const auto pattern = Pattern::Compile("drop_frames", text);
    ASSERT_FALSE(pattern.ok()) << text;
    EXPECT_EQ(pattern.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(pattern.status().message().find("drop_frames is \"" + text.substr(0, 200)),
              std::string::npos);
  }
}

}  // namespace
}  // namespace heldby::report
