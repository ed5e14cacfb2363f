// delta_heap and its siblings: what came since the last answer, once and never twice.
#include "exporters/http/delta_series.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "exporters/http/reply.h"
#include "exporters/http/router.h"
#include "profile/builder.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {
namespace {

using Values = std::vector<std::int64_t>;
using ByStack = std::map<std::uint64_t, Values>;  // a stack of one frame, by its address

Profile HeapOf(const ByStack& rows, std::vector<Label> labels = {}) {
  ProfileBuilder builder(std::vector<ValueType>{{"alloc_objects", "count"},
                                                {"alloc_space", "bytes"},
                                                {"inuse_objects", "count"},
                                                {"inuse_space", "bytes"}});
  builder.header().period_type = {"space", "bytes"};
  builder.header().period = 1;
  static std::atomic<std::int64_t> clock_ns{1'000'000'000};
  builder.header().time_ns = clock_ns += 1000;
  const MappingId app = builder.AddMapping({.start = 1, .limit = 1 << 20, .filename = "/app"});
  for (const auto& [address, values] : rows) {
    const FunctionId function = builder.AddFunction("f" + std::to_string(address));
    builder.AddSample({builder.AddLocation(app, address, {{function, 1}})}, values, labels);
  }
  return std::move(builder).Build();
}

struct Series {
  explicit Series(std::size_t max_stacks = kMaxDeltaStacks) : series(max_stacks) {}

  ByStack Next(const Profile& now) { return Read(series.Next(TakeOf(now), Keep())); }
  ByStack Peek(const Profile& now) { return Read(series.Peek(TakeOf(now), Keep())); }

  static DeltaSeries::Take TakeOf(const Profile& now) {
    return [now]() -> Result<Profile> { return now; };
  }
  DeltaSeries::Write Keep() {
    return [this](const Profile& delta) -> Result<std::string> {
      last = delta;
      return std::string("written");
    };
  }
  ByStack Read(const Result<std::string>& written) {
    EXPECT_TRUE(written.ok()) << written.status().message();
    ByStack rows;
    for (const Sample& sample : last.samples) {
      rows[last.locations[static_cast<std::size_t>(sample.stack[0]) - 1].address] =
          sample.values;
    }
    return rows;
  }

  DeltaSeries series;
  Profile last;
};

TEST(DeltaSeries, FirstAnswerCountsFromTheStartOfTheProcess) {
  Series series;
  const ByStack all = {{16, {3, 300, 1, 100}}, {32, {1, 8, 0, 0}}};
  EXPECT_EQ(series.Next(HeapOf(all)), all);
  EXPECT_GT(series.last.duration_ns, 1);
}

TEST(DeltaSeries, LaterAnswersHaveWhatIsNewAndTheLevelsAsTheyAre) {
  Series series;
  static_cast<void>(series.Next(HeapOf({{16, {3, 300, 1, 100}}, {32, {1, 8, 0, 0}}})));
  const std::int64_t before_ns = series.last.time_ns;
  EXPECT_EQ(
      series.Next(HeapOf({{16, {5, 500, 3, 300}}, {32, {1, 8, 0, 0}}, {48, {1, 2, 1, 2}}})),
      (ByStack{{16, {2, 200, 3, 300}}, {48, {1, 2, 1, 2}}}));
  EXPECT_EQ(series.last.duration_ns, series.last.time_ns - before_ns);
  EXPECT_EQ(series.last.locations.size(), 2u) << "what nothing uses goes";
  EXPECT_EQ(series.Next(HeapOf({{16, {5, 500, 3, 300}}, {32, {1, 8, 0, 0}}})),
            (ByStack{{16, {0, 0, 3, 300}}}))
      << "held memory is a level: it stays while it is held";
}

TEST(DeltaSeries, AContentionProfileIsDifferencedInBothColumns) {
  Series series;
  const auto take = [](std::int64_t count, std::int64_t delay_ns) {
    ProfileBuilder builder(
        std::vector<ValueType>{{"contentions", "count"}, {"delay", "nanoseconds"}});
    const MappingId app =
        builder.AddMapping({.start = 1, .limit = 1 << 20, .filename = "/app"});
    builder.AddSample({builder.AddLocation(app, 16)}, Values{count, delay_ns});
    return std::move(builder).Build();
  };
  EXPECT_EQ(series.Next(take(2, 700)), (ByStack{{16, {2, 700}}}));
  EXPECT_EQ(series.Next(take(3, 900)), (ByStack{{16, {1, 200}}}));
  EXPECT_EQ(series.Next(take(3, 900)), ByStack{});
}

TEST(DeltaSeries, ALookTakesNothing) {
  Series series;
  const Profile now = HeapOf({{16, {3, 300, 1, 100}}});
  const ByStack all = {{16, {3, 300, 1, 100}}};
  EXPECT_EQ(series.Peek(now), all);
  EXPECT_EQ(series.Peek(now), all);
  EXPECT_EQ(series.Next(now), all);
  EXPECT_EQ(series.Peek(now), (ByStack{{16, {0, 0, 1, 100}}}));
}

TEST(DeltaSeries, WhatCouldNotBeWrittenComesNextTime) {
  Series series;
  const Profile now = HeapOf({{16, {3, 300, 1, 100}}});
  const auto failed = series.series.Next(Series::TakeOf(now), [](const Profile&) {
    return Status(StatusCode::kUnavailable, "client left");
  });
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().message(), "client left");
  EXPECT_EQ(series.Next(now), (ByStack{{16, {3, 300, 1, 100}}}));
}

TEST(DeltaSeries, LabelsAreWhatTellsSamplesOfOneStackApart) {
  Series series;
  const std::vector<Label> a = {{.key = "route", .text = "/a"}, {.key = "bytes", .number = 16}};
  const std::vector<Label> b = {{.key = "route", .text = "/b"}, {.key = "bytes", .number = 16}};
  const std::vector<Label> reversed(a.rbegin(), a.rend());
  static_cast<void>(series.Next(HeapOf({{16, {3, 300, 1, 100}}}, a)));
  EXPECT_EQ(series.Next(HeapOf({{16, {3, 300, 1, 100}}}, b)),
            (ByStack{{16, {3, 300, 1, 100}}}));
  EXPECT_EQ(series.Next(HeapOf({{16, {4, 400, 1, 100}}}, reversed)),
            (ByStack{{16, {1, 100, 1, 100}}}));
}

TEST(DeltaSeries, ATotalThatFellIsNeitherNegativeNorCountedTwice) {
  Series series;
  static_cast<void>(series.Next(HeapOf({{16, {3, 300, 0, 0}}})));
  EXPECT_EQ(series.Next(HeapOf({{16, {1, 100, 1, 100}}})), (ByStack{{16, {0, 0, 1, 100}}}));
  EXPECT_EQ(series.Next(HeapOf({{16, {4, 400, 0, 0}}})), (ByStack{{16, {1, 100, 0, 0}}}));
}

TEST(DeltaSeries, StacksBeyondTheTableKeepTheirLevelsAndAreCounted) {
  Series series(/*max_stacks=*/2);
  const ByStack three = {{16, {1, 10, 1, 10}}, {32, {1, 10, 1, 10}}, {48, {1, 10, 1, 10}}};
  EXPECT_EQ(series.Next(HeapOf(three)),
            (ByStack{{16, {1, 10, 1, 10}}, {32, {1, 10, 1, 10}}, {48, {0, 0, 1, 10}}}));
  EXPECT_EQ(series.series.dropped_stacks_total(), 1u);
  ASSERT_EQ(series.last.comments.size(), 1u);
  EXPECT_NE(series.last.comments[0].find("1 stacks"), std::string::npos);
  EXPECT_EQ(series.Next(HeapOf({{16, {2, 20, 1, 10}}, {48, {5, 50, 1, 10}}})),
            (ByStack{{16, {1, 10, 1, 10}}, {48, {0, 0, 1, 10}}}));
  EXPECT_EQ(series.series.dropped_stacks_total(), 2u);
}

// Two scrapers steal from each other; together they get everything, once.
TEST(DeltaSeries, WhatConcurrentRequestsGetAddsUpToTheTotal) {
  DeltaSeries series;
  std::atomic<std::int64_t> allocated{0};
  std::atomic<std::int64_t> told{0};
  std::atomic<bool> is_negative{false};
  const auto scrape = [&] {
    for (int i = 0; i < 200; ++i) {
      const auto take = [&]() -> Result<Profile> {
        const std::int64_t n = ++allocated;
        return HeapOf({{16, {n, 10 * n, 0, 0}}});
      };
      const auto write = [&](const Profile& delta) -> Result<std::string> {
        for (const Sample& sample : delta.samples) {
          told += sample.values[0];
          if (sample.values[0] < 0) is_negative = true;
        }
        return std::string();
      };
      static_cast<void>(series.Next(take, write));
    }
  };
  std::vector<std::thread> scrapers;
  for (int i = 0; i < 4; ++i) scrapers.emplace_back(scrape);
  for (std::thread& scraper : scrapers) scraper.join();
  EXPECT_EQ(told, 800);
  EXPECT_FALSE(is_negative);
}

TEST(DeltaSeries, AForkedChildIsNotHeldUpByTheParentsRequest) {
  const std::shared_ptr<DeltaSeriesSet> parent = ProcessDeltaSeries();
  int status = -1;
  const auto take = [&]() -> Result<Profile> {  // runs under the lock of the parent's series
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      Series::TakeOf({});
      const auto written = ProcessDeltaSeries()->heap.Next(
          Series::TakeOf(HeapOf({{16, {1, 10, 1, 10}}})),
          [](const Profile&) -> Result<std::string> { return std::string(); });
      _exit(written.ok() && ProcessDeltaSeries() != nullptr ? 0 : 1);
    }
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return HeapOf({});
  };
  const auto ignore = [](const Profile&) -> Result<std::string> { return std::string(); };
  ASSERT_TRUE(parent->heap.Peek(take, ignore).ok());
  EXPECT_EQ(status, 0);
}

TEST(Router, ADeltaIsTakenByAGetAloneAndShownToOthers) {
  const Router router(SampleProfiles(), SampleSymbolNames);
  const auto ask = [&router](std::string method, std::string target) {
    Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    return router.Route(request);
  };
  const auto allocated = [](const Response& response) {
    const auto profile = DecodePprof(response.body);
    EXPECT_TRUE(profile.ok()) << profile.status().message();
    std::int64_t bytes = 0;
    for (const Sample& sample : profile->samples) bytes += sample.values[1];
    return bytes;
  };
  g_sample_heap_bytes = 4096;
  EXPECT_EQ(ask("HEAD", "/debug/pprof/delta_heap").status, 200);
  EXPECT_EQ(ask("GET", "/debug/pprof/delta_heap?debug=1").body, "text of 1 samples\n");
  const Response first = ask("GET", "/debug/pprof/delta_heap?seconds=5&seconds=9&gc=1");
  EXPECT_EQ(allocated(first), 4096) << "it comes at once, and whole";
  EXPECT_EQ(*FindHeader(first, "Content-Type"), "application/octet-stream");
  EXPECT_EQ(*FindHeader(first, "Content-Disposition"), "attachment; filename=\"delta_heap\"");
  g_sample_heap_bytes = 5000;
  EXPECT_EQ(allocated(ask("GET", "/debug/pprof/delta_heap")), 904);
  EXPECT_EQ(allocated(ask("GET", "/debug/pprof/delta_heap")), 0);
  g_sample_heap_bytes = 4096;

  EXPECT_EQ(ask("GET", "/debug/pprof/delta_files").status, 404) << "no series of that";
  EXPECT_EQ(ask("GET", "/debug/pprof/delta_mutex").status, 404) << "no such profile here";
  EXPECT_EQ(ask("POST", "/debug/pprof/delta_heap").status, 405);
  EXPECT_NE(
      ask("GET", "/debug/pprof/").body.find("<a href='delta_heap?debug=1'>delta_heap</a>"),
      std::string::npos);
}

}  // namespace
}  // namespace heldby::http
