// Every endpoint and parameter, valid and not: status, headers and text as docs/endpoint.md
// says.
#include "exporters/http/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <functional>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>

#include "exporters/http/reply.h"
#include "exporters/pprof/gzip.h"
#include "profile/text.h"
#include "tests/unit/http/ask.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {
namespace {

struct ErrorCase {
  const char* method;
  const char* target;
  int status;
  const char* line;
};

// The name that ctest shows.
void PrintTo(const ErrorCase& c, std::ostream* out) { *out << c.method << " " << c.target; }

class RouterErrors : public testing::TestWithParam<ErrorCase> {};

// Without X-Go-Pprof and text/plain together, `go tool pprof` hides the text from its user.
TEST_P(RouterErrors, AreOneLineThatTheClientPrints) {
  const ErrorCase& c = GetParam();
  const Response response = Ask(c.method, c.target);
  EXPECT_EQ(response.status, c.status);
  EXPECT_EQ(response.body, std::string(c.line) + "\n");
  EXPECT_EQ(Header(response, "Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(Header(response, "X-Go-Pprof"), "1");
  EXPECT_EQ(Header(response, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(Header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(Header(response, "Content-Disposition"), "(none)");
}

constexpr const char* kBadSeconds =
    "invalid value for \"seconds\" - must be a positive integer";
constexpr const char* kNoDelta = "\"seconds\" parameter is not supported for this profile type";
constexpr const char* kBoth = "seconds and debug params are incompatible";

INSTANTIATE_TEST_SUITE_P(
    Table, RouterErrors,
    testing::Values(
        ErrorCase{"GET", "/", 404, "404 page not found"},
        ErrorCase{"GET", "/debug", 404, "404 page not found"},
        ErrorCase{"GET", "/debug/pprofx", 404, "404 page not found"},
        ErrorCase{"GET", "/healthz/", 404, "404 page not found"},
        ErrorCase{"DELETE", "/elsewhere", 404, "404 page not found"},
        ErrorCase{"GET", "/debug/pprof/nope", 404, "Unknown profile"},
        ErrorCase{"GET", "/debug/pprof/trace/", 404, "Unknown profile"},
        ErrorCase{"POST", "/debug/pprof/trace", 405, "Method Not Allowed"},
        ErrorCase{"GET", "/debug/pprof/trace?seconds=%zz", 400,
                  "invalid percent-encoding in the value of query parameter \"seconds\""},
        ErrorCase{"GET", "/debug/pprof/heap/", 404, "Unknown profile"},
        ErrorCase{"GET", "/debug/pprof/profile/", 404, "Unknown profile"},
        ErrorCase{"GET", "/debug/pprof/nope?seconds=x", 404, "Unknown profile"},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=x", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=0", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=-1", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=1.5", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=99999999999999999999", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=x&seconds=1", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=x&debug=1", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/files?seconds=0", 400, kBadSeconds},
        ErrorCase{"GET", "/debug/pprof/files?seconds=1", 400, kNoDelta},
        ErrorCase{"GET", "/debug/pprof/files?seconds=1&debug=1", 400, kNoDelta},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=1&debug=1", 400, kBoth},
        ErrorCase{"GET", "/debug/pprof/heap?seconds=1&debug=-1", 400, kBoth},
        ErrorCase{"GET", "/debug/pprof/heap?debug=%zz", 400,
                  "invalid percent-encoding in the value of query parameter \"debug\""},
        ErrorCase{"GET", "/debug/pprof/%", 400,
                  "invalid percent-encoding in path \"/debug/pprof/%\""},
        ErrorCase{"GET", "debug/pprof/", 400,
                  "request target \"debug/pprof/\" must begin with \"/\""},
        ErrorCase{"POST", "/debug/pprof/", 405, "Method Not Allowed"},
        ErrorCase{"POST", "/debug/pprof/heap", 405, "Method Not Allowed"},
        ErrorCase{"POST", "/debug/pprof/nope", 405, "Method Not Allowed"},
        ErrorCase{"PUT", "/debug/pprof/symbol", 405, "Method Not Allowed"},
        ErrorCase{"OPTIONS", "/debug/pprof/heap", 405, "Method Not Allowed"},
        ErrorCase{"get", "/healthz", 405, "Method Not Allowed"},
        ErrorCase{"GET", "/debug/pprof/a%3Cb%3E'&", 500,
                  "failed to collect profile: table is torn"},
        ErrorCase{"GET", "/debug/pprof/a%3Cb%3E'&?seconds=1", 500,
                  "failed to collect profile"}));

TEST(Router, NamesWhatAnEndpointAllows) {
  EXPECT_EQ(Header(Ask("POST", "/debug/pprof/heap"), "Allow"), "GET, HEAD");
  EXPECT_EQ(Header(Ask("DELETE", "/healthz"), "Allow"), "GET, HEAD");
  EXPECT_EQ(Header(Ask("PUT", "/debug/pprof/symbol"), "Allow"), "GET, HEAD, POST");
}

TEST(Router, RedirectsToTheIndexBelowAnyPrefix) {
  const Response plain = Get("/debug/pprof");
  EXPECT_EQ(plain.status, 301);
  EXPECT_EQ(Header(plain, "Location"), "pprof/");
  EXPECT_EQ(Header(plain, "X-Go-Pprof"), "(none)");
  EXPECT_EQ(Header(Get("/debug/pprof?a=b"), "Location"), "pprof/?a=b");
}

TEST(Router, ServesAProfileAsADownloadThatDecodes) {
  for (const char* query : {"", "?debug=0", "?debug=x", "?gc=1", "?seconds=", "?unknown=1"}) {
    const Response response = Get(std::string("/debug/pprof/heap") + query);
    ASSERT_EQ(response.status, 200) << query << response.body;
    EXPECT_EQ(Header(response, "Content-Type"), "application/octet-stream");
    EXPECT_EQ(Header(response, "Content-Disposition"), "attachment; filename=\"heap\"");
    EXPECT_EQ(Header(response, "X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(Header(response, "Cache-Control"), "no-store");
    EXPECT_EQ(Header(response, "Content-Encoding"), "(none)");
    EXPECT_EQ(Header(response, "X-Go-Pprof"), "(none)");
    const auto profile = DecodePprof(response.body);
    ASSERT_TRUE(profile) << profile.status().message();
    EXPECT_EQ(profile->samples.size(), 1u);
  }
}

TEST(Router, ServesTextForAnyOtherDebugValue) {
  for (const char* debug : {"1", "2", "-1", "%2B1"}) {
    const Response text = Get(std::string("/debug/pprof/heap?debug=") + debug);
    EXPECT_EQ(text.status, 200) << debug;
    EXPECT_EQ(Header(text, "Content-Type"), "text/plain; charset=utf-8") << debug;
    EXPECT_EQ(Header(text, "Content-Disposition"), "(none)") << debug;
    EXPECT_EQ(text.body, "text of 1 samples\n") << debug;
  }
}

TEST(Router, DeltaHoldsOnlyWhatChangedInTheInterval) {
  g_sample_heap_bytes = 4096;
  std::thread allocator([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    g_sample_heap_bytes = 10'000;
  });
  const Response response = Get("/debug/pprof/heap?seconds=1&seconds=9");
  allocator.join();
  g_sample_heap_bytes = 4096;
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(Header(response, "Content-Disposition"), "attachment; filename=\"heap-delta\"");
  const auto delta = DecodePprof(response.body);
  ASSERT_TRUE(delta) << delta.status().message();
  ASSERT_EQ(delta->samples.size(), 1u);
  EXPECT_EQ(delta->samples[0].values, (std::vector<std::int64_t>{0, 5904, 0, 5904}));
  EXPECT_GE(delta->duration_ns, 1'000'000'000);
  EXPECT_LT(delta->duration_ns, 2'000'000'000);
}

TEST(Router, DeltaOfAnUnchangedHeapIsEmptyAndValid) {
  const Response response = Get("/debug/pprof/heap?seconds=1");
  ASSERT_EQ(response.status, 200);
  const auto delta = DecodePprof(response.body);
  ASSERT_TRUE(delta) << delta.status().message();
  EXPECT_TRUE(delta->samples.empty());
  EXPECT_EQ(delta->sample_types.size(), 4u);
}

// 400 seconds are clamped, not refused; either way a departed client frees the thread at once.
TEST(Router, ATimedProfileEndsSoonAfterItsClientLeft) {
  for (const char* target :
       {"/debug/pprof/heap?seconds=400", "/debug/pprof/profile?seconds=60"}) {
    Request request;
    request.target = target;
    const auto start = std::chrono::steady_clock::now();
    request.cancelled = [start] {
      return std::chrono::steady_clock::now() - start > std::chrono::milliseconds(200);
    };
    const Response response = Router(SampleProfiles(), SampleSymbolNames).Route(request);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(600));
    const bool is_cpu = request.target.find("profile?") != std::string::npos;
    EXPECT_EQ(response.status, is_cpu ? 200 : 500);
    if (!is_cpu) {
      EXPECT_EQ(response.body, "context canceled\n");
    }
  }
}

TEST(Router, IndexListsEveryProfileSortedAndEscaped) {
  const Response response = Get("/debug/pprof/");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(Header(response, "Content-Type"), "text/html; charset=utf-8");
  const std::string& html = response.body;
  EXPECT_NE(html.find("<title>/debug/pprof/</title>"), std::string::npos);
  std::size_t position = 0;
  for (const char* row :
       {"<tr><td>0</td><td><a "
        "href='a&lt;b&gt;&#39;&amp;?debug=1'>a&lt;b&gt;&#39;&amp;</a></td></tr>",
        "<tr><td>0</td><td><a href='cmdline'>cmdline</a></td></tr>",
        "<tr><td>3</td><td><a href='files?debug=1'>files</a></td></tr>",
        "<tr><td>7</td><td><a href='heap?debug=1'>heap</a></td></tr>",
        "<tr><td>0</td><td><a href='profile'>profile</a></td></tr>",
        "<tr><td>0</td><td><a href='symbol'>symbol</a></td></tr>",
        "<tr><td>0</td><td><a href='trace'>trace</a></td></tr>"}) {
    const std::size_t found = html.find(row, position);
    ASSERT_NE(found, std::string::npos) << row;
    position = found;
  }
  EXPECT_NE(html.find("ui.perfetto.dev"), std::string::npos)
      << "a trace says what it is opened with";
  EXPECT_NE(html.find("Breaks &lt;everything&gt; &amp; more."), std::string::npos);
}

TEST(Router, HeadHasTheHeadersOfGetAndNoBody) {
  for (const char* target : {"/healthz", "/debug/pprof/cmdline", "/debug/pprof/files?debug=1",
                             "/debug/pprof/symbol?0x401234", "/debug/pprof/nope"}) {
    const Response get = Get(target);
    const Response head = Ask("HEAD", target);
    EXPECT_EQ(head.status, get.status) << target;
    EXPECT_EQ(head.body, "") << target;
    EXPECT_EQ(Header(head, "Content-Length"), std::to_string(get.body.size())) << target;
    EXPECT_EQ(Header(head, "Content-Type"), Header(get, "Content-Type")) << target;
  }
}

TEST(Router, SymbolNamesWhatItKnowsAndSkipsTheRest) {
  const std::string line = "0x401234 _ZN4demo13ReadWholeFileEv\n";
  const std::string none = "num_symbols: 1\n";
  EXPECT_EQ(Ask("POST", "/debug/pprof/symbol", "0x1+0x401234+0x0+junk++0x401234\n").body,
            none + line + line);
  EXPECT_EQ(Ask("POST", "/debug/pprof/symbol", "").body, none);
  EXPECT_EQ(Get("/debug/pprof/symbol").body, none);
  EXPECT_EQ(Get("/debug/pprof/symbol?0x401234+4198964").body, none + line + line);
  EXPECT_EQ(Get("/debug/pprof/symbol?%zz").body, none) << "addresses are not parameters";
  EXPECT_EQ(Get("/debug/pprof/symbol?0xfffffffffffffffffffff").body, none);
  EXPECT_EQ(Header(Get("/debug/pprof/symbol"), "Content-Type"), "text/plain; charset=utf-8");
}

TEST(Router, SymbolLooksAllAddressesUpAtOnce) {
  symbol_batches = 0;
  Ask("POST", "/debug/pprof/symbol", "0x401234+0x401235+0x401236+0x401234");
  EXPECT_EQ(symbol_batches, 1);
}

double CpuSeconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

TEST(Router, ALargeBodyOfAddressesOfThisProcessCostsLittle) {
  // Every fourth address from here on: no two alike, most of them in some function.
  const auto here = reinterpret_cast<std::uint64_t>(&CpuSeconds);
  std::ostringstream body;
  body << std::hex << "0x" << here;
  for (std::uint64_t i = 1; body.tellp() < (1 << 20) - 32; ++i) body << "+0x" << here + 4 * i;
  Request request;
  request.method = "POST";
  request.target = "/debug/pprof/symbol";
  request.body = body.str();
  const double before = CpuSeconds();
  const Response response = Router().Route(request);
  const double used = CpuSeconds() - before;
  EXPECT_EQ(response.status, 200);
  EXPECT_GT(std::ranges::count(response.body, '\n'), 10'000);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr double kMostSeconds = 60;  // thirty times as long, with neighbours
#else
  constexpr double kMostSeconds = 5;
#endif
  EXPECT_LT(used, kMostSeconds) << "one by one: 20 s; a batch: a fifth of a second";
  RecordProperty("cpu_ms", static_cast<int>(used * 1000));
}

TEST(Router, SymbolRefusesMoreThanItsLimit) {
  const Response most = Ask("POST", "/debug/pprof/symbol", std::string(1 << 20, '+'));
  EXPECT_EQ(most.status, 200);
  EXPECT_EQ(Ask("POST", "/debug/pprof/symbol", std::string((1 << 20) + 1, '+')).status, 413);
}

TEST(Router, SymbolAnswersUpToItsBoundAndCountsTheRest) {
  const auto long_names = [](const std::vector<std::uint64_t>& addresses) {
    return std::vector<std::string>(addresses.size(), std::string(64 << 10, 'n'));
  };
  Request request;
  request.method = "POST";
  request.target = "/debug/pprof/symbol";
  for (int i = 0; i < 1000; ++i) request.body += "0x401234+";
  const Response response = Router(SampleProfiles(), long_names).Route(request);
  EXPECT_EQ(response.status, 200);
  EXPECT_LE(response.body.size(), kMaxSymbolAnswerBytes + 100);
  EXPECT_GT(response.body.size(), kMaxSymbolAnswerBytes - (1 << 17));
  const auto lines = std::ranges::count(response.body, '\n');
  const std::string last =
      "# " + std::to_string(1000 - (lines - 2)) + " lines left out: more than 8388608 bytes\n";
  EXPECT_TRUE(response.body.ends_with(last)) << response.body.substr(response.body.size() - 99);
}

TEST(Router, SymbolHasNoMoreNamesInMemoryThanItsAnswerNeeds) {
  static std::size_t most = 0;
  static std::size_t all = 0;
  most = all = 0;
  const auto long_names = [](const std::vector<std::uint64_t>& addresses) {
    most = std::max(most, addresses.size());
    all += addresses.size();
    return std::vector<std::string>(addresses.size(), std::string(8 << 10, 'n'));
  };
  Request request;
  request.method = "POST";
  request.target = "/debug/pprof/symbol";
  for (int i = 0; i < 60'000; ++i) request.body += Concat("+", 1'000'000 + i);
  const Response response = Router(SampleProfiles(), long_names).Route(request);
  EXPECT_LE(most, kMaxSymbolsAtOnce);
  EXPECT_LE(all, 2 * kMaxSymbolsAtOnce) << "1,023 of them fill the answer";
  const auto lines = std::ranges::count(response.body, '\n') - 2;
  EXPECT_TRUE(response.body.ends_with(
      Concat("# ", 60'000 - lines, " lines left out: more than 8388608 bytes\n")))
      << response.body.substr(response.body.size() - 99);
}

TEST(Router, CommandLineSeparatesArgumentsByNulAndEndsWithout) {
  const Response response = Get("/debug/pprof/cmdline");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(Header(response, "Content-Type"), "text/plain; charset=utf-8");
  ASSERT_FALSE(response.body.empty());
  EXPECT_NE(response.body.back(), '\0');
  EXPECT_NE(response.body.find("http_test"), std::string::npos);
}

TEST(Router, EveryBuiltinProfileAnswers200WithGosTypes) {
  struct Expected {
    const char* name;
    std::vector<ValueType> types;
    ValueType period_type;
  };
  const std::vector<ValueType> heap = {{"alloc_objects", "count"},
                                       {"alloc_space", "bytes"},
                                       {"inuse_objects", "count"},
                                       {"inuse_space", "bytes"}};
  const std::vector<ValueType> contention = {{"contentions", "count"},
                                             {"delay", "nanoseconds"}};
  const Expected table[] = {
      {"allocs", heap, {"space", "bytes"}},
      {"block", contention, {"contentions", "count"}},
      {"goroutine", {{"goroutine", "count"}}, {"goroutine", "count"}},
      {"heap", heap, {"space", "bytes"}},
      {"mutex", contention, {"contentions", "count"}},
      {"threadcreate", {{"threadcreate", "count"}}, {"threadcreate", "count"}}};
  for (const Expected& expected : table) {
    Request request;
    request.target = std::string("/debug/pprof/") + expected.name;
    const Response response = Handle(request);
    ASSERT_EQ(response.status, 200) << expected.name << ": " << response.body;
    const auto profile = DecodePprof(response.body);
    ASSERT_TRUE(profile) << expected.name << ": " << profile.status().message();
    EXPECT_EQ(profile->sample_types, expected.types) << expected.name;
    EXPECT_EQ(profile->period_type, expected.period_type) << expected.name;
    EXPECT_GT(profile->period, 0) << expected.name;
    EXPECT_GT(profile->time_ns, 0) << expected.name;
    EXPECT_EQ(profile->duration_ns, 0) << expected.name;
    EXPECT_EQ(profile->default_sample_type,
              std::string_view(expected.name) == "allocs" ? "alloc_space" : "");

    request.target += "?debug=1";
    EXPECT_EQ(Handle(request).status, 200) << expected.name;
  }
}

TEST(Handle, ServesTheIndexOfThisProcess) {
  Request request;
  request.target = "/debug/pprof/";
  const Response response = Handle(request);
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(response.body.find("<a href='threadcreate?debug=1'>"), std::string::npos);
}

}  // namespace
}  // namespace heldby::http
