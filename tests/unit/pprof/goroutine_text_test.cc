#include "exporters/pprof/goroutine_text.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "profile/builder.h"

namespace heldby {
namespace {

class Dump {
 public:
  Dump() : builder_(std::vector<ValueType>{{"goroutine", "count"}}) {
    builder_.header().time_ns = 1;
    builder_.header().period_type = {"goroutine", "count"};
    builder_.header().period = 1;
    mapping_ = builder_.AddMapping({.start = 0x1000, .limit = 0x90000, .filename = "/srv/app"});
  }
  void Add(const std::vector<std::string>& names, std::vector<Label> labels) {
    std::vector<LocationId> stack;
    for (const std::string& name : names) {
      next_ += 16;
      std::vector<Line> lines;
      if (!name.empty()) {
        lines.push_back({.function = builder_.AddFunction(Function{
                             .name = name, .system_name = name, .filename = "src/a.cc"}),
                         .line = 41});
      }
      stack.push_back(builder_.AddLocation(mapping_, next_, lines));
    }
    builder_.AddSample(stack, {{1}}, std::move(labels));
  }
  std::string Text() && {
    const auto text = GoroutineText(std::move(builder_).Build());
    EXPECT_TRUE(text) << text.status().message();
    return *text;
  }

 private:
  ProfileBuilder builder_;
  MappingId mapping_{};
  std::uint64_t next_ = 0x1000;
};

Label Text(const char* key, const char* text) { return {.key = key, .text = text}; }
Label Number(const char* key, std::int64_t number, const char* unit) {
  return {.key = key, .number = number, .number_unit = unit};
}

TEST(GoroutineText, ABlockHasTheStateTheLabelsTheFramesAndTheCreator) {
  Dump dump;
  dump.Add({"ReadLoop(Connection&)", ""},
           {Number("goroutine", 17, "id"), Text("state", "IO wait: read"),
            Number("parked", 125, "seconds"), Text("task", "read loop"), Text("route", "/a\"b"),
            Number("age", 7260, "seconds"), Text("created_by", "RoundTrip\nsrc/client.cc:12")});
  EXPECT_EQ(std::move(dump).Text(),
            "goroutine 17 [IO wait: read, 2 minutes] {age: \"2h1m\", parked: \"2m5s\", "
            "route: \"/a\\\"b\", task: \"read loop\"}:\n"
            "ReadLoop(Connection&)\n\tsrc/a.cc:41\n"
            "0x1021\n\t?:0\n"
            "created by RoundTrip\n\tsrc/client.cc:12\n\n");
}

TEST(GoroutineText, MinutesAppearFromOneOn) {
  Dump dump;
  const auto labels = [](std::int64_t id, std::int64_t parked) {
    return std::vector<Label>{Number("goroutine", id, "id"), Text("state", "sleep"),
                              Number("parked", parked, "seconds")};
  };
  dump.Add({"A"}, labels(1, 59));
  dump.Add({"B"}, labels(2, 60));
  const std::string text = std::move(dump).Text();
  EXPECT_NE(text.find("goroutine 1 [sleep] {parked: \"59s\"}:\n"), std::string::npos) << text;
  EXPECT_NE(text.find("goroutine 2 [sleep, 1 minute] {parked: \"1m0s\"}:\n"), std::string::npos)
      << text;
}

TEST(GoroutineText, WhyAStackIsNotWholeStandsAboveIt) {
  Dump dump;
  dump.Add({"[heldby: no stack]"},
           {Number("goroutine", 5, "id"), Text("state", "running"),
            Text("problem", "blocks signals: runs,\nand was not asked")});
  EXPECT_EQ(std::move(dump).Text(),
            "goroutine 5 [running] {}:\n\tblocks signals: runs,?and was not asked\n"
            "[heldby: no stack]\n\tsrc/a.cc:41\n\n");
}

}  // namespace
}  // namespace heldby
