#include "tools/source.h"

#include <gtest/gtest.h>

#include <string>

namespace heldby::tools {
namespace {

std::string Url(std::string_view target, std::string_view profile = "") {
  const auto source = ParseSource(target, profile);
  return source.ok() ? UrlOf(*source) : "error: " + source.status().message();
}

TEST(ParseSource, CompletesWhatATargetLeavesOut) {
  EXPECT_EQ(Url("a:1"), "http://a:1/debug/pprof/heap");
  EXPECT_EQ(Url("http://a"), "http://a:80/debug/pprof/heap");
  EXPECT_EQ(Url("http://a:1/", "allocs"), "http://a:1/debug/pprof/allocs");
  EXPECT_EQ(Url("[::1]:6060", "heap?gc=1"), "http://[::1]:6060/debug/pprof/heap?gc=1");
  EXPECT_EQ(Url("a:1/debug/pprof"), "http://a:1/debug/pprof/heap");
  EXPECT_EQ(Url("a:1/prefix/debug/pprof/", "mutex"), "http://a:1/prefix/debug/pprof/mutex");
  EXPECT_EQ(Url("a:1/prefix/"), "http://a:1/prefix/debug/pprof/heap");
  EXPECT_EQ(Url("a:1/debug/pprof/heap?debug=1"), "http://a:1/debug/pprof/heap?debug=1");
  EXPECT_EQ(Url("a:1/any/path#part"), "http://a:1/any/path");
  EXPECT_EQ(Url("unix:/run/a b.sock", "goroutine"), "unix:/run/a b.sock/debug/pprof/goroutine");
}

TEST(ParseSource, KnowsThatFgprofStandsBesideTheOthers) {
  EXPECT_EQ(Url("a:1", "fgprof?seconds=3"), "http://a:1/debug/fgprof?seconds=3");
  EXPECT_EQ(Url("a:1/x/debug/pprof/", "fgprof"), "http://a:1/x/debug/fgprof");
}

TEST(Follow, StaysOnTheServer) {
  const Source from = *ParseSource("a:1", "heap");
  EXPECT_EQ(UrlOf(*Follow(from, "allocs")), "http://a:1/debug/pprof/allocs");
  EXPECT_EQ(UrlOf(*Follow(from, "/x?y=z")), "http://a:1/x?y=z");
  EXPECT_EQ(UrlOf(*Follow(from, "http://a:1/x")), "http://a:1/x");
  for (const char* location : {"http://b:1/x", "http://a:1.evil/x", "http://a:10/x", "//b/x",
                               "https://a:1/x", "", "/a\r\nb"}) {
    EXPECT_FALSE(Follow(from, location).ok()) << location;
  }
}

TEST(Seconds, AreReadFromTheQueryAndPutThere) {
  Source source = *ParseSource("a:1", "heap?gc=1&seconds=7");
  EXPECT_EQ(SecondsIn(source), 7);
  SetSeconds(3, &source);
  EXPECT_EQ(source.target, "/debug/pprof/heap?gc=1&seconds=3");
  EXPECT_EQ(ProfileNameOf(source), "heap");
  source.target = "/debug/pprof/heap";
  EXPECT_EQ(SecondsIn(source), 0);
  SetSeconds(3, &source);
  EXPECT_EQ(source.target, "/debug/pprof/heap?seconds=3");
  source.target = "/heap?seconds=x";
  EXPECT_EQ(SecondsIn(source), 0);
}

}  // namespace
}  // namespace heldby::tools
