#include "exporters/http/target.h"

#include <gtest/gtest.h>

#include <limits>

namespace heldby::http {
namespace {

TEST(Target, SplitsPathFromQuery) {
  const auto target = ParseTarget("/debug/pprof/heap?debug=1&x=?");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/debug/pprof/heap");
  EXPECT_EQ(target->raw_query, "debug=1&x=?");
  EXPECT_EQ(target->authority, "");
}

TEST(Target, DecodesThePathButLeavesPlusAlone) {
  const auto target = ParseTarget("/debug/%70prof/a+b%2f");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/debug/pprof/a+b/");
}

TEST(Target, AbsoluteFormYieldsItsAuthority) {
  const auto target = ParseTarget("http://localhost:6060/debug/pprof/?x");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->authority, "localhost:6060");
  EXPECT_EQ(target->path, "/debug/pprof/");
  EXPECT_EQ(ParseTarget("http://host")->path, "/");
}

TEST(Target, RefusesWhatIsNoPath) {
  for (const char* bad : {"", "*", "debug", "localhost:80", "http:///x"}) {
    EXPECT_FALSE(ParseTarget(bad)) << bad;
  }
}

TEST(Target, BrokenEscapesAreNamedAndQuotedSafely) {
  const auto target = ParseTarget("/a\x80%zz");
  ASSERT_FALSE(target);
  EXPECT_EQ(target.status().message(), "invalid percent-encoding in path \"/a\\x80%zz\"");
  EXPECT_FALSE(ParseTarget("/a%4"));
  EXPECT_FALSE(ParseTarget("/a%"));
}

TEST(Target, RefusesWhatWouldSplitAHeader) {
  for (const char* bad :
       {"/debug/pprof?a\r\nSet-Cookie: b", "/a b", "/a\tb", "/\x7f", "/\x1b[2J"}) {
    const auto target = ParseTarget(bad);
    ASSERT_FALSE(target) << bad;
    for (const char c : target.status().message()) EXPECT_GE(c, ' ') << bad;
  }
}

TEST(Query, TheFirstOfRepeatedParametersWins) {
  const auto query = Query::Parse("seconds=1&seconds=2&debug");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->Get("seconds"), "1");
  EXPECT_EQ(query->Get("debug"), "");
  EXPECT_EQ(query->Get("absent"), "");
}

TEST(Query, DecodesNamesAndValues) {
  const auto query = Query::Parse("&a%62c=x+y%3D&&=z");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->Get("abc"), "x y=");
  EXPECT_EQ(query->Get(""), "z");
}

TEST(Query, BrokenEscapesNameTheParameter) {
  EXPECT_EQ(Query::Parse("debug=%g0").status().message(),
            "invalid percent-encoding in the value of query parameter \"debug\"");
  EXPECT_EQ(Query::Parse("de%").status().message(),
            "invalid percent-encoding in query parameter name \"de%\"");
}

TEST(ParseInteger, AcceptsASignAndDigitsOnly) {
  EXPECT_EQ(ParseInteger("30"), 30);
  EXPECT_EQ(ParseInteger("+5"), 5);
  EXPECT_EQ(ParseInteger("-5"), -5);
  EXPECT_EQ(ParseInteger("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  for (const char* bad :
       {"", "+", "+-5", " 5", "5 ", "5s", "0x5", "1.5", "9223372036854775808"}) {
    EXPECT_EQ(ParseInteger(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace heldby::http
