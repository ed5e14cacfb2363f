#include "profile/glob.h"

#include <gtest/gtest.h>

#include <string>

namespace heldby {
namespace {

TEST(Glob, MatchesTheWholeTextAndNothingLess) {
  EXPECT_TRUE(MatchesGlob("flusher", "flusher"));
  EXPECT_FALSE(MatchesGlob("flush", "flusher"));
  EXPECT_FALSE(MatchesGlob("flusher", "flush"));
  EXPECT_TRUE(MatchesGlob("", ""));
  EXPECT_FALSE(MatchesGlob("", "x"));
}

TEST(Glob, AStarIsAnyTextAndAQuestionMarkOneCharacter) {
  EXPECT_TRUE(MatchesGlob("*", ""));
  EXPECT_TRUE(MatchesGlob("std::*::push_*", "std::vector<int>::push_back"));
  EXPECT_TRUE(MatchesGlob("*a*b", "xaxbxb"));
  EXPECT_FALSE(MatchesGlob("*a*b", "xaxbx"));
  EXPECT_TRUE(MatchesGlob("10.0.0.?:*", "10.0.0.7:80"));
  EXPECT_FALSE(MatchesGlob("?", ""));
}

TEST(Glob, BracketsAreThemselves) {
  EXPECT_TRUE(MatchesGlob("*operator[]*", "Map::operator[](int)"));
}

TEST(Glob, ManyStarsTakeNoLongerThanTheirProduct) {
  const std::string text(20'000, 'a');
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(MatchesGlob(pattern + "b", text));
}

}  // namespace
}  // namespace heldby
