#include "exporters/report/report.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "exporters/report/combine.h"
#include "exporters/report/graph.h"
#include "exporters/report/shorten.h"
#include "profile/builder.h"

namespace heldby::report {
namespace {

// Stacks of function names, leaf first.
Profile ProfileOf(
    const std::vector<std::pair<std::vector<std::string>, std::int64_t>>& stacks) {
  ProfileBuilder builder(std::vector<ValueType>{{"space", "bytes"}});
  const MappingId app =
      builder.AddMapping({.start = 1, .limit = 1 << 20, .filename = "/bin/app"});
  for (const auto& [names, value] : stacks) {
    std::vector<LocationId> stack;
    for (const std::string& name : names) {
      const FunctionId function =
          builder.AddFunction({.name = name, .system_name = "_" + name});
      stack.push_back(
          builder.AddLocation(app, 16 + static_cast<std::uint64_t>(function), {{function, 1}}));
    }
    builder.AddSample(std::move(stack), std::vector<std::int64_t>{value});
  }
  return std::move(builder).Build();
}

std::int64_t CumOf(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes) {
    if (node.text == name) return node.cum;
  }
  return -1;
}

// Rows of a function are those of all its lines and places.
Graph GraphOf(Profile profile) {
  for (Location& location : profile.locations) {
    location.address = 0;
    for (Line& line : location.lines) line.line = 0;
  }
  return BuildGraph(profile, {});
}

TEST(Graph, AFunctionThatCallsItselfCountsOnceInEachSample) {
  const Graph graph = GraphOf(ProfileOf({{{"f", "g", "f", "f", "main"}, 10}, {{"f"}, 1}}));
  EXPECT_EQ(CumOf(graph, "f"), 11);
  EXPECT_EQ(CumOf(graph, "g"), 10);
  EXPECT_EQ(CumOf(graph, "main"), 10);
  ASSERT_EQ(graph.nodes.size(), 3u);
  EXPECT_EQ(graph.nodes[0].text, "f");
  EXPECT_EQ(graph.nodes[0].flat, 11);
}

TEST(Graph, RowsBelowTheFractionGoAndTheirValueGoesToNobody) {
  const Profile profile = ProfileOf({{{"large", "main"}, 1000}, {{"small", "main"}, 1}});
  const auto top = Top(profile, {.node_fraction = 0.01});
  ASSERT_TRUE(top.ok());
  EXPECT_NE(top->text.find("accounting for 1000B, 99.90% of 1001B total"), std::string::npos)
      << top->text;
  EXPECT_NE(top->text.find("Dropped 1 node (cum <= 10B)"), std::string::npos) << top->text;
  EXPECT_EQ(top->text.find("small"), std::string::npos) << top->text;
}

TEST(Report, HoldsWithValuesAtBothEndsOfTheRange) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  const Profile profile =
      ProfileOf({{{"a", "main"}, kMost}, {{"b", "main"}, kMost}, {{"c", "main"}, kLeast}});
  for (const char* unit : {"minimum", "auto", "kb", "ns"}) {
    for (const double fraction : {0.0, 0.005, 1.0}) {
      const auto top = Top(profile, {.node_fraction = fraction, .unit = unit});
      ASSERT_TRUE(top.ok()) << top.status().message();
      EXPECT_NE(top->text.find("total"), std::string::npos);
    }
  }
  Sources sources;
  sources.profiles = {profile, profile};
  sources.bases = {profile};
  sources.normalize = true;
  EXPECT_TRUE(Combine(sources).ok());
}

TEST(Report, FindsAColumnByNameNumberOrDefault) {
  Profile profile;
  profile.sample_types = {{"objects", "count"}, {"space", "bytes"}};
  EXPECT_EQ(*FindColumn(profile, ""), 1u);
  profile.default_sample_type = "objects";
  EXPECT_EQ(*FindColumn(profile, ""), 0u);
  EXPECT_EQ(*FindColumn(profile, "inuse_space"), 1u);
  EXPECT_EQ(*FindColumn(profile, "0"), 0u);
  for (const char* name : {"2", "-1", "spaces", "alloc_space"}) {
    const auto column = FindColumn(profile, name);
    ASSERT_FALSE(column.ok()) << name;
    EXPECT_NE(
        column.status().message().find("accepted: objects, space, or a number from 0 to 1"),
        std::string::npos)
        << column.status().message();
  }
}

TEST(ShortenNames, LeavesAloneWhatItsProducerNamed) {
  Profile profile;
  profile.functions = {{.name = "a::b<int>(char)", .system_name = "_Z1b"},
                       {.name = "a::b<int>(char)", .system_name = "a::b<int>(char)"},
                       {.name = "_ZN1a1bEi", .system_name = "_ZN1a1bEi"},
                       {.name = "", .system_name = "_ZN1a1cEv"},
                       {.name = "f", .system_name = "f"},
                       {.name = "a::b(int", .system_name = "a::b(int"}};
  ShortenNames(&profile);
  std::vector<std::string> names;
  for (const Function& function : profile.functions) names.push_back(function.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a::b<int>(char)", "a::b", "a::b", "a::c", "f",
                                             "a::b(int"}));
}

TEST(NameForPattern, EndsAtTheArgumentList) {
  EXPECT_EQ(NameForPattern("a::b(int)"), "a::b");
  EXPECT_EQ(NameForPattern("(anonymous namespace)::f(int)"), "(anonymous namespace)::f");
  EXPECT_EQ(NameForPattern("a::operator()(int)"), "a::operator()");
  EXPECT_EQ(NameForPattern(".f"), "f");
  EXPECT_EQ(NameForPattern(""), "");
}

}  // namespace
}  // namespace heldby::report
