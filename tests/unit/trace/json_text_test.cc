#include "exporters/trace/json_text.h"

#include <gtest/gtest.h>

#include <string>

namespace heldby {
namespace {

constexpr char kNoCharacter[] = "\xEF\xBF\xBD";

TEST(JsonText, PlainTextIsQuotedAsItIs) {
  EXPECT_EQ(JsonQuoted(""), "\"\"");
  EXPECT_EQ(JsonQuoted("GET /a?b=c"), "\"GET /a?b=c\"");
  EXPECT_EQ(JsonQuoted("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x8C\x8D"),
            "\"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x8C\x8D\"");
}

TEST(JsonText, QuotesBackslashesAndControlsAreEscaped) {
  EXPECT_EQ(JsonQuoted("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(JsonQuoted(std::string_view("\0\n\x1f\x7f", 4)), R"("\u0000\u000a\u001f\u007f")");
}

TEST(JsonText, WhatIsNoUtf8BecomesTheReplacementCharacter) {
  const auto replaced = [](int count) {
    std::string text = "\"";
    for (int i = 0; i < count; ++i) text += kNoCharacter;
    return text + "\"";
  };
  EXPECT_EQ(JsonQuoted("\xFF"), replaced(1));
  EXPECT_EQ(JsonQuoted("\x80"), replaced(1)) << "a rest without a beginning";
  EXPECT_EQ(JsonQuoted("\xE2\x82"), replaced(2)) << "cut off";
  EXPECT_EQ(JsonQuoted("\xC0\x80"), replaced(2)) << "written too long";
  EXPECT_EQ(JsonQuoted("\xE0\x80\xAF"), replaced(3)) << "written too long";
  EXPECT_EQ(JsonQuoted("\xF0\x80\x80\xAF"), replaced(4)) << "written too long";
  EXPECT_EQ(JsonQuoted("\xED\xA0\x80"), replaced(3)) << "half of a surrogate pair";
  EXPECT_EQ(JsonQuoted("\xF4\x90\x80\x80"), replaced(4)) << "past the last character";
  EXPECT_EQ(JsonQuoted("\xC3(\xC3\xBC"), std::string("\"") + kNoCharacter + "(\xC3\xBC\"")
      << "what follows is itself";
}

}  // namespace
}  // namespace heldby
