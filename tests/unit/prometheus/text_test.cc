// The text format, beside prometheus-cpp's own writer.
#include "exporters/prometheus/text.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "heldby/prometheus.h"

namespace heldby::prometheus_text {
namespace {

std::string Written(const std::vector<MetricFamily>& families, int expected_left_out = 0) {
  std::string text;
  FamilyNames written;
  EXPECT_EQ(AppendFamilies(families, &written, &text), expected_left_out);
  return text;
}

TEST(MetricsText, IsByteForByteWhatPrometheusCppWrites) {
  const std::vector<MetricFamily> families = {
      {"a_total", "Help of a.", MetricType::kCounter, {{{}, 0}, {{{"k", "v"}}, 12345678901}}},
      {"b:c_d",
       "Quotes \" stay.",
       MetricType::kGauge,
       {{{{"one", "a\\b"}, {"two", "line\nend"}, {"three", "\"quoted\""}}, -0.5},
        {{{"one", "ü"}}, 1e300},
        {{{"one", "x"}}, 1e-7},
        {{{"one", "y"}}, std::numeric_limits<double>::infinity()},
        {{{"one", "z"}}, -std::numeric_limits<double>::infinity()},
        {{{"one", ""}}, std::nan("")}}}};
  std::vector<::prometheus::MetricFamily> theirs;
  for (const MetricFamily& family : families) {
    theirs.push_back(prometheus_cpp::Converted(family));
  }
  EXPECT_EQ(Written(families), ::prometheus::TextSerializer().Serialize(theirs));
}

TEST(MetricsText, HelpIsEscapedWhereTheirsIsNot) {
  EXPECT_EQ(Written({{"a", "one\ntwo \\ three", MetricType::kGauge, {{{}, 1}}}}),
            "# HELP a one\\ntwo \\\\ three\n# TYPE a gauge\na 1\n");
}

TEST(MetricsText, ValuesReadBackAsTheSameNumber) {
  for (const double value :
       {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, 9007199254740993.0}) {
    const std::string text = Written({{"a", "", MetricType::kGauge, {{{}, value}}}});
    const std::string number = text.substr(text.rfind(' ') + 1);
    EXPECT_EQ(std::strtod(number.c_str(), nullptr), value) << text;
  }
}

TEST(MetricsText, BytesThatAreNoTextBecomeReplacementCharacters) {
  EXPECT_EQ(Written({{"a", "", MetricType::kGauge, {{{{"k", "a\xff\xc3z"}}, 1}}}}),
            "# TYPE a gauge\na{k=\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"} 1\n");
}

TEST(MetricsText, NamesThatWouldBreakThePageAreLeftOut) {
  EXPECT_EQ(Written({{"a b", "", MetricType::kGauge, {{{}, 1}}},
                     {"1a", "", MetricType::kGauge, {{{}, 1}}},
                     {"", "", MetricType::kGauge, {{{}, 1}}},
                     {"ok", "", MetricType::kGauge, {{{{"bad-label", "v"}}, 1}}},
                     {"ok", "", MetricType::kGauge, {{{}, 1}}},
                     {"ok", "", MetricType::kGauge, {{{}, 2}}}},
                    5),
            "# TYPE ok gauge\nok 1\n");
}

struct Appended {
  std::string text;
  int left_out;
};

Appended AppendedAfter(std::vector<std::string> names, const std::string& theirs) {
  FamilyNames written(names.begin(), names.end());
  Appended result;
  result.left_out = AppendText(theirs, &written, &result.text);
  return result;
}

TEST(AttachedText, FamiliesPassAsTheyAre) {
  const std::string theirs =
      "# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
      "h_sum 3\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n"
      "bare 5\n";
  const Appended appended = AppendedAfter({}, theirs);
  EXPECT_EQ(appended.text, theirs);
  EXPECT_EQ(appended.left_out, 0);
}

TEST(AttachedText, AFamilyThatIsThereAlreadyIsLeftOutWhole) {
  const Appended appended = AppendedAfter(
      {"a"}, "# HELP a X.\n# TYPE a gauge\na 1\na{k=\"v\"} 2\n# TYPE b gauge\nb 1\n");
  EXPECT_EQ(appended.text, "# TYPE b gauge\nb 1\n");
  EXPECT_EQ(appended.left_out, 1);
}

TEST(AttachedText, AFamilyThatComesBackIsLeftOut) {
  const Appended appended =
      AppendedAfter({}, "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\na 2\n");
  EXPECT_EQ(appended.text, "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n");
  EXPECT_EQ(appended.left_out, 1);
}

TEST(AttachedText, WhatIsNoSampleIsLeftOut) {
  const Appended appended = AppendedAfter({}, "# TYPE a gauge\na 1\n<html> oops\n# EOF\n");
  EXPECT_EQ(appended.text, "# TYPE a gauge\na 1\n");
  EXPECT_EQ(appended.left_out, 1);
}

// Each of these was given to the real Prometheus, which then took nothing of the page.
TEST(AttachedText, ALineThatWouldCostThePageCostsItsFamily) {
  for (const std::string line : {"bad{k=\"v\" 1",
                                 "bad{k=\"v} 1",
                                 "bad{k=\"v\\\"} 1",
                                 "bad{k=v} 1",
                                 "bad{1k=\"v\"} 1",
                                 "bad{k=\"1\",k=\"2\"} 1",
                                 "bad{__name__=\"b\"} 1",
                                 "bad",
                                 "bad ",
                                 "bad x",
                                 "bad 1\r",
                                 "bad 0x1p3",
                                 "bad 1_000",
                                 "bad -nan",
                                 "bad 1e999",
                                 "bad 1 # {t=\"x\"} 1",
                                 "bad 1 soon",
                                 "bad 1 -5",
                                 "# TYPE bad",
                                 "# TYPE bad weird",
                                 "# TYPE bad unknown",
                                 " bad 1",
                                 "bad{,} 1"}) {
    const Appended appended =
        AppendedAfter({}, "# TYPE a gauge\na 1\n" + line + "\nbad 2\nb 1\n");
    EXPECT_EQ(appended.text.substr(0, 19), "# TYPE a gauge\na 1\n") << line;
    EXPECT_EQ(appended.text.substr(appended.text.size() - 4), "b 1\n") << line;
    EXPECT_EQ(appended.text.find(line + "\n"), std::string::npos) << line;
    EXPECT_EQ(appended.left_out, 1) << line;
  }
}

TEST(AttachedText, WhatOnlyLooksOddPassesAsItIs) {
  const std::string theirs =
      "a{} 1\na{k=\"v\",} 1\na{ k = \"}, \\\" \\\\\" , l=\"\" } +Inf 1234567890123\na\tNaN\n"
      "a{k=\"w\"}-1e-7 \n";
  const Appended appended = AppendedAfter({}, theirs);
  EXPECT_EQ(appended.text, theirs);
  EXPECT_EQ(appended.left_out, 0);
}

TEST(AttachedText, ALabelGivenTwiceIsSeenAmongAHundredThousand) {
  std::string line = "a{";
  for (int i = 0; i < 100'000; ++i) line += "l" + std::to_string(i) + "=\"\",";
  EXPECT_EQ(AppendedAfter({}, line + "l100000=\"\"} 1\n").left_out, 0);
  EXPECT_EQ(AppendedAfter({}, line + "l0=\"\"} 1\n").left_out, 1);
}

TEST(AttachedText, BytesThatAreNoTextAreReplaced) {
  EXPECT_EQ(AppendedAfter({}, "# HELP a \xff\na{k=\"\xc3\"} 1\n").text,
            "# HELP a \xEF\xBF\xBD\na{k=\"\xEF\xBF\xBD\"} 1\n");
}

TEST(AttachedText, ASampleThatIsAFamilyOfThePageIsNotShownAsAnothersPart) {
  const Appended appended = AppendedAfter({"a_total"}, "# TYPE a counter\na_total 1\n");
  EXPECT_EQ(appended.text, "# TYPE a counter\n");
  EXPECT_EQ(appended.left_out, 1);
}

TEST(AttachedText, TheFirstNameMayBeOneThatPartsEndWith) {
  for (const char* name : {"_sum", "_count", "_bucket", "_total"}) {
    const std::string line = std::string(name) + " 1\n";
    const Appended appended = AppendedAfter({}, line);
    EXPECT_EQ(appended.text, line);
    EXPECT_EQ(appended.left_out, 0);
  }
  EXPECT_EQ(AppendedAfter({}, " 1\n").left_out, 1) << "no name at all";
}

TEST(AttachedText, ALineWithoutAnEndIsNotBelieved) {
  const Appended appended = AppendedAfter({}, "# TYPE a gauge\na 1\na{k=\"v\"} 1");
  EXPECT_EQ(appended.text, "# TYPE a gauge\na 1\n");
  EXPECT_EQ(appended.left_out, 1);
}

}  // namespace
}  // namespace heldby::prometheus_text
