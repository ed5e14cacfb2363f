// POST NAME?parameter=N: what a profile is sampled with, set from outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "exporters/http/reply.h"
#include "exporters/http/router.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {
namespace {

std::int64_t sample_rate = 0;

std::int64_t ExchangeRate(std::int64_t rate) { return std::exchange(sample_rate, rate); }

std::span<const ProfileEntry> ProfilesWithARate() {
  static const std::array<ProfileEntry, 2> kEntries = {{
      {"heap", "Without a rate.", TakeSampleHeap, [] { return std::size_t{7}; }, SampleText},
      {.name = "waits",
       .description = "With one.",
       .take = TakeSampleCustom,
       .count = [] { return std::size_t{3}; },
       .text = SampleText,
       .rate = ProfileRate{.parameter = "rate",
                           .most = 1000,
                           .meaning = "from 0 (off)",
                           .set = &ExchangeRate}},
  }};
  return kEntries;
}

Response Ask(std::string method, std::string target) {
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  return Router(ProfilesWithARate(), SampleSymbolNames).Route(request);
}

TEST(ProfileRate, PostSetsItAndAnswersWithBothValues) {
  sample_rate = 5;
  const Response response = Ask("POST", "/debug/pprof/waits?rate=1000");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "before: 5\nnow: 1000\n");
  EXPECT_EQ(*FindHeader(response, "Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(sample_rate, 1000);
  EXPECT_EQ(Ask("POST", "/debug/pprof/waits?rate=0").body, "before: 1000\nnow: 0\n");
}

TEST(ProfileRate, ReadingNeverSetsIt) {
  sample_rate = 5;
  EXPECT_EQ(Ask("GET", "/debug/pprof/waits?rate=7").status, 200);
  EXPECT_EQ(Ask("HEAD", "/debug/pprof/waits?rate=7&debug=1").status, 200);
  EXPECT_EQ(sample_rate, 5);
}

TEST(ProfileRate, ABadValueIsNamedWithWhatIsAccepted) {
  sample_rate = 5;
  for (const char* query : {"", "?rate=", "?rate=many", "?rate=-1", "?rate=1001", "?rate=1.0",
                            "?rate=99999999999999999999", "?fraction=1"}) {
    const Response response = Ask("POST", std::string("/debug/pprof/waits") + query);
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_NE(response.body.find("\"rate\" is \""), std::string::npos) << response.body;
    EXPECT_NE(response.body.find("from 0 (off), to 1000"), std::string::npos) << response.body;
    EXPECT_EQ(std::ranges::count(response.body, '\n'), 1);
  }
  EXPECT_EQ(Ask("POST", "/debug/pprof/waits?rate=%0a%22").body.find('"'), 0u);
  EXPECT_EQ(sample_rate, 5);
}

TEST(ProfileRate, OtherMethodsAndOtherProfilesAreNotAllowed) {
  sample_rate = 5;
  const Response put = Ask("PUT", "/debug/pprof/waits?rate=1");
  EXPECT_EQ(put.status, 405);
  EXPECT_EQ(*FindHeader(put, "Allow"), "GET, HEAD, POST");
  const Response heap = Ask("POST", "/debug/pprof/heap?rate=1");
  EXPECT_EQ(heap.status, 405);
  EXPECT_EQ(*FindHeader(heap, "Allow"), "GET, HEAD");
  EXPECT_EQ(sample_rate, 5);
}

TEST(ProfileRate, BlockAndMutexHaveOneAndNoOtherOfTheBuiltInProfiles) {
  for (const ProfileEntry& entry : BuiltinProfiles()) {
    const bool has = entry.name == "block" || entry.name == "mutex";
    EXPECT_EQ(entry.rate.has_value(), has) << entry.name;
  }
}

}  // namespace
}  // namespace heldby::http
