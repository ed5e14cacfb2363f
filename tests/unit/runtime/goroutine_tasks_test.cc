// Parked tasks beside threads, and what of both a profile shows.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "heldby/goroutine.h"
#include "heldby/labels.h"
#include "heldby/task.h"
#include "tests/unit/runtime/goroutine_view.h"

namespace heldby {
namespace {

TEST(Goroutines, ByDefaultThereAreOnlyTheLabelsOfTheProgram) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the core is not instrumented: its atomics are not seen, its mmap is";
#endif
  const Pipe pipe;
  const Thread thread(
      [&] {
        const ScopedLabels labels({{"route", "/slow"}});
        const Task task("download");
        char byte;
        EXPECT_EQ(::read(pipe.reader(), &byte, 1), 1);
      },
      [&] { pipe.Wake(); });
  const Row row = thread.Parked("read");
  EXPECT_EQ(row.labels.at("task"), "download");
  EXPECT_EQ(row.labels.at("route"), "/slow");

  const auto profile = SnapshotGoroutines();
  ASSERT_TRUE(profile);
  ASSERT_EQ(profile->sample_types.size(), 1u);
  EXPECT_EQ(profile->sample_types[0], (ValueType{"goroutine", "count"}));
  EXPECT_EQ(profile->period, 1);
  int with_route = 0;
  for (const Sample& sample : profile->samples) {
    for (const Label& label : sample.labels) {
      EXPECT_EQ(label.key, "route");
      ++with_route;
    }
  }
  EXPECT_EQ(with_route, 1);

  const auto named = SnapshotGoroutines({.labels = {.task = true, .state = true}});
  ASSERT_TRUE(named);
  const auto found = std::ranges::any_of(named->samples, [](const Sample& sample) {
    const auto labels = LabelsOf(sample);
    return labels.contains("task") && labels.at("task") == "download" &&
           labels.at("state") == "read";
  });
  EXPECT_TRUE(found);
}

TEST(Goroutines, ParkedTasksOfOnePlaceAreOneSampleAndRunningOnesAreNot) {
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < 100; ++i) {
    tasks.emplace_back("job");
    tasks.back().SetState("chan receive");
  }
  const AsyncTask::Piece running(tasks[7]);
  const auto profile = SnapshotGoroutines();
  ASSERT_TRUE(profile);
  std::int64_t parked = 0;
  for (const Sample& sample : profile->samples) {
    const Location& leaf = profile->locations[static_cast<std::size_t>(sample.stack[0]) - 1];
    const Function& function =
        profile->functions[static_cast<std::size_t>(leaf.lines.at(0).function) - 1];
    if (function.filename.find("goroutine_tasks_test.cc") == std::string::npos) continue;
    if (sample.stack.size() == 1) parked = sample.values[0];
  }
  EXPECT_EQ(parked, 99);
}

__attribute__((noinline)) void InnerCoroutine() { asm volatile("nop"); }
__attribute__((noinline)) void OuterCoroutine() { asm volatile("nop\n\tnop"); }

TEST(Goroutines, ACoroutinesTaskShowsTheChainOfThoseThatWaitForIt) {
  const AwaitFrame outer = {.awaiter = nullptr,
                            .code = reinterpret_cast<const void*>(&OuterCoroutine),
                            .place = PlaceId::kNone};
  AwaitFrame inner = {.awaiter = &outer,
                      .code = reinterpret_cast<const void*>(&InnerCoroutine),
                      .place = PlaceId::kNone};
  AsyncTask task("read loop");
  Park(task.id(), InternPlace("IO wait: read", SourcePlace::Here()), &inner);
  const auto row_of = [&] {
    for (Row& row : Each()) {
      if (row.labels["task"] == "read loop") return row;
    }
    return Row{};
  };
  Row row = row_of();
  EXPECT_EQ(row.labels["state"], "IO wait: read");
  EXPECT_NE(row.labels["created_by"].find("goroutine_tasks_test.cc:"), std::string::npos);
  EXPECT_NE(row.stack.find("InnerCoroutine() < "), std::string::npos) << row.stack;
  EXPECT_NE(row.stack.find("OuterCoroutine()"), std::string::npos) << row.stack;

  inner.place = InternPlace("await", {"somewhere.cc", "Named", 42});
  EXPECT_TRUE(row_of().stack.starts_with("Named < ")) << "the place is more exact";

  // A chain that is gone, or never was readable, harms nobody.
  Park(task.id(), InternPlace("broken", SourcePlace::Here()),
       reinterpret_cast<const AwaitFrame*>(8));
  EXPECT_NE(row_of().stack.find("TestBody"), std::string::npos);
  AwaitFrame cycle;
  cycle.awaiter = &cycle;
  Park(task.id(), InternPlace("cycle", SourcePlace::Here()), &cycle);
  EXPECT_FALSE(row_of().stack.empty());
}

TEST(Goroutines, CountsWhatTheProfileHolds) {
  const std::size_t before = CountGoroutines();
  EXPECT_GE(before, 1u);
  const AsyncTask task("one more");
  EXPECT_EQ(CountGoroutines(), before + 1);
}

TEST(Goroutines, OfManyTheLongestWaitingAreShownAndTheOthersCounted) {
  std::vector<AsyncTask> tasks;
  AsyncTask first("first");
  usleep(20'000);
  for (int i = 0; i < 100; ++i) tasks.emplace_back("later");
  const auto profile = SnapshotGoroutines({.each = true, .most = 10});
  ASSERT_TRUE(profile);
  int later = 0;
  int firsts = 0;
  for (const Sample& sample : profile->samples) {
    const auto labels = LabelsOf(sample);
    if (labels.contains("task") && labels.at("task") == "later") ++later;
    if (labels.contains("task") && labels.at("task") == "first") ++firsts;
  }
  EXPECT_EQ(firsts, 1);
  EXPECT_EQ(later, 9);
  const auto& comments = profile->comments;
  EXPECT_TRUE(std::ranges::any_of(comments, [](const std::string& comment) {
    return comment.find("91 more parked tasks") != std::string::npos;
  }));
}

TEST(Goroutines, AChildHasItsOwnThreadAndNoTask) {
  const AsyncTask task("of the parent");
  const Pipe pipe;
  const Thread thread(
      [&] {
        char byte;
        EXPECT_EQ(::read(pipe.reader(), &byte, 1), 1);
      },
      [&] { pipe.Wake(); });
  const pid_t child = ::fork();
  if (child == 0) ::_exit(CountGoroutines() == 1 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace heldby
