#include "exporters/http/leaks_page.h"

#include <gtest/gtest.h>

#include <string>

#include "exporters/http/table_page.h"

namespace heldby::http {
namespace {

// What a program or a peer can put into a name.
constexpr char kHostile[] = "<b>\"\\\n2. LEAK: forged & \xff";

LeakReport Hostile() {
  LeakReport report;
  report.watched_s = 1200;
  report.window_s = 600;
  report.process = "resident 1MB";
  report.left_out = 30;
  report.verdicts.push_back({.kind = LeakKind::kStuckReaders,
                             .leak_class = LeakClass::kLeak,
                             .summary = kHostile,
                             .evidence = kHostile,
                             .doubt = kHostile,
                             .command = "go tool pprof 'http://HOST:PORT/debug/pprof/heap'",
                             .holders = {kHostile},
                             .stacks = {{.role = "opened at", .frames = {kHostile}}}});
  return report;
}

TEST(LeaksPage, TheFirstLineSaysHowManyAndTheLastHowManyAreLeftOut) {
  const std::string text = LeaksText(Hostile(), "host:1");
  EXPECT_TRUE(text.starts_with("heldby: 1 leak, 0 suspects, 0 expected; watched for 1200 s"))
      << text;
  EXPECT_TRUE(text.ends_with("\n30 more that weigh less are left out.\n")) << text;
  EXPECT_NE(LeaksHtml(Hostile(), "host:1").find("<p>30 more that weigh less"),
            std::string::npos);
  EXPECT_NE(LeaksJson(Hostile(), "host:1").find("\"left_out\": 30"), std::string::npos);
  EXPECT_EQ(LeaksText({}, "host:1").find("left out"), std::string::npos);
}

TEST(LeaksPage, NamesOfTheProgramForgeNoLineNoMarkupAndNoField) {
  EXPECT_EQ(LeaksText(Hostile(), "host:1").find("\n2. LEAK"), std::string::npos);
  EXPECT_EQ(LeaksHtml(Hostile(), "host:1").find("<b>"), std::string::npos);
  const std::string json = LeaksJson(Hostile(), "host:1");
  EXPECT_EQ(json.find("\n2. LEAK"), std::string::npos);
  EXPECT_NE(json.find("\"summary\": \"<b>\\\"\\\\\\u000a2. LEAK: forged & "), std::string::npos)
      << json;
  for (const auto& page :
       {json, LeaksText(Hostile(), "host:1"), LeaksHtml(Hostile(), "host:1")}) {
    EXPECT_EQ(page.find('\xff'), std::string::npos) << "every page is UTF-8: " << page;
    EXPECT_NE(page.find("forged"), std::string::npos);
  }
}

TEST(LeaksPage, WhatATerminalTakesForACommandIsAQuestionMark) {
  EXPECT_EQ(Printable("a\x1b[2Jb\xc2\x9b\x7f"
                      "c\xc2\xa0\xc3\xa9"),
            "a?[2Jb??c\xc2\xa0\xc3\xa9");
}

TEST(LeaksPage, CommandsNameTheHostThatWasAsked) {
  for (const auto& page : {LeaksText(Hostile(), "host:1"), LeaksJson(Hostile(), "host:1")}) {
    EXPECT_NE(page.find("http://host:1/debug/pprof/heap"), std::string::npos) << page;
  }
}

}  // namespace
}  // namespace heldby::http
