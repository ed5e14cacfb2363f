// What is measured while the client waits for it.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "exporters/pprof/gzip.h"
#include "tests/unit/http/ask.h"

namespace heldby::http {
namespace {

TEST(TimedPages, CpuProfileTakesItsTimeAndHasGosTypes) {
  const auto start = std::chrono::steady_clock::now();
  const Response response = Get("/debug/pprof/profile?seconds=1");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  ASSERT_EQ(response.status, 200);
  EXPECT_EQ(Header(response, "Content-Disposition"), "attachment; filename=\"profile\"");
  const auto profile = DecodePprof(response.body);
  ASSERT_TRUE(profile) << profile.status().message();
  EXPECT_EQ(profile->sample_types,
            (std::vector<ValueType>{{"samples", "count"}, {"cpu", "nanoseconds"}}));
  EXPECT_EQ(profile->period_type, (ValueType{"cpu", "nanoseconds"}));
  EXPECT_EQ(profile->period, 10'000'000);
  EXPECT_GE(profile->duration_ns, 1'000'000'000);
}

TEST(TimedPages, CpuProfileTakesARateThatTheKernelCanKeep) {
  const Response fast = Get("/debug/pprof/profile?seconds=1&hz=200");
  ASSERT_EQ(fast.status, 200);
  EXPECT_EQ(DecodePprof(fast.body)->period, 5'000'000);
  for (const char* rate : {"0", "-5", "1001", "ten", "99.5"}) {
    const Response refused = Get(std::string("/debug/pprof/profile?hz=") + rate);
    EXPECT_EQ(refused.status, 400) << rate;
    EXPECT_EQ(refused.body, std::string("hz is \"") + rate + "\"; accepted: 1 to 1000\n");
  }
}

TEST(TimedPages, WallProfileHasTheShapeThatFgprofsUsersKnow) {
  const Response response = Get("/debug/fgprof?seconds=1");
  ASSERT_EQ(response.status, 200);
  EXPECT_EQ(Header(response, "Content-Disposition"), "attachment; filename=\"fgprof\"");
  const auto profile = DecodePprof(response.body);
  ASSERT_TRUE(profile) << profile.status().message();
  EXPECT_EQ(profile->sample_types,
            (std::vector<ValueType>{{"samples", "count"}, {"time", "nanoseconds"}}));
  EXPECT_GE(profile->duration_ns, 1'000'000'000);
  EXPECT_EQ(Get("/debug/fgprof?seconds=1&format=svg").body,
            "format is \"svg\"; accepted: pprof or folded\n");
  EXPECT_EQ(Get("/debug/fgprof?seconds=x").body,
            "seconds is \"x\"; accepted: a positive integer\n");
}

// Of a trace for as long as its client stays, which is until it is first asked.
struct AskedTrace {
  Response response;
  std::string json;
};
AskedTrace AskForTrace(const std::string& query, const std::function<bool()>& cancelled) {
  Request request;
  request.target = "/debug/pprof/trace" + query;
  request.cancelled = cancelled;
  AskedTrace asked{Router(SampleProfiles(), SampleSymbolNames).Route(request), {}};
  if (auto json = Gunzip(asked.response.body, 1 << 30)) asked.json = *std::move(json);
  return asked;
}

TEST(TimedPages, ATraceIsADownloadOfAFileThatViewersOpen) {
  const auto [response, json] = AskForTrace("?seconds=0.05", {});
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(Header(response, "Content-Type"), "application/octet-stream");
  EXPECT_EQ(Header(response, "Content-Disposition"), "attachment; filename=\"trace\"");
  EXPECT_EQ(Header(response, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(Header(response, "Content-Encoding"), "(none)");
  EXPECT_EQ(json.substr(0, 40), "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
}

TEST(TimedPages, ATraceTakesTheSecondsThatItIsAskedForOrOne) {
  const auto waits = [](const std::string& query, std::chrono::milliseconds least) {
    const auto start = std::chrono::steady_clock::now();
    const auto asked = AskForTrace(query, {});
    EXPECT_EQ(asked.response.status, 200) << query;
    EXPECT_GE(std::chrono::steady_clock::now() - start, least) << query;
  };
  waits("?seconds=0.25", std::chrono::milliseconds(250));
  for (const char* query : {"", "?seconds=1x", "?seconds=-2", "?seconds=nan"}) {
    waits(query, std::chrono::seconds(1));
  }
}

TEST(TimedPages, ATraceWhoseClientLeavesIsFinishedEarly) {
  for (const char* query : {"?seconds=400", "?seconds=inf", "?seconds=1e300"}) {
    const auto [response, json] = AskForTrace(query, [] { return true; });
    EXPECT_EQ(response.status, 200) << query;
    EXPECT_TRUE(json.ends_with("}}\n")) << query;
  }
}

TEST(TimedPages, ASecondTraceAtTheSameTimeIsRefusedAndSaysWhy) {
  std::optional<Response> second;
  const auto first = AskForTrace("?seconds=60", [&second] {
    second = AskForTrace("?seconds=1", {}).response;
    return true;
  });
  EXPECT_EQ(first.response.status, 200);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->status, 500);
  EXPECT_EQ(second->body, "Could not enable tracing: tracing already in use\n");
  EXPECT_EQ(Header(*second, "X-Go-Pprof"), "1");
  EXPECT_EQ(Header(*second, "Content-Disposition"), "(none)");
}

}  // namespace
}  // namespace heldby::http
