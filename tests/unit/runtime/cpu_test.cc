// CPU profiles through the public headers, over the real core.
#include "heldby/cpu.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "heldby/labels.h"
#include "heldby/task.h"

namespace heldby {
namespace {

using std::chrono::milliseconds;

std::int64_t CpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

__attribute__((noinline)) void Burn(std::int64_t ns) {
  const std::int64_t end = CpuNs() + ns;
  while (CpuNs() < end) {
    for (int i = 0; i < 20'000; ++i) {
      asm volatile("" ::: "memory");
    }
  }
}

// Works beside a profile until it has had so much processor time, which on a busy machine takes
// as long as it takes.
template <typename Work>
Profile ProfileOf(const Work& work, std::int64_t cpu_ns, CpuOptions options = {}) {
  std::atomic<bool> done{false};
  std::atomic<std::int64_t> worked_ns{0};
  std::thread worker([&] {
    while (!done) {
      work();
      worked_ns = CpuNs();
    }
  });
  options.duration = std::chrono::minutes(2);
  options.cancelled = [&] { return worked_ns >= cpu_ns; };
  auto profile = ProfileCpu(options);
  done = true;
  worker.join();
  EXPECT_TRUE(profile) << profile.status().message();
  return profile ? *std::move(profile) : Profile{};
}

std::map<std::string, std::int64_t> SamplesBy(const Profile& profile, const std::string& key) {
  std::map<std::string, std::int64_t> by;
  for (const Sample& sample : profile.samples) {
    const auto label = std::ranges::find(sample.labels, key, &Label::key);
    by[label == sample.labels.end() ? "" : label->text] += sample.values[0];
  }
  return by;
}

TEST(CpuProfile, SamplesHaveTheLabelsThatTheirThreadHadThen) {
  const Profile profile = ProfileOf(
      [] {
        {
          ScopedLabels labels({{"route", "/slow"}});
          Burn(33'300'000);
        }
        ScopedLabels labels({{"route", "/fast"}});
        Burn(11'100'000);
      },
      2'000'000'000);
  // 44.4 ms a round against a sample every 10 ms: the phase moves by 4.4 ms a round, so that no
  // run has all its samples on one side (rounds of 40 ms would: a sample is taken at the first
  // tick after it is due, and the ticks keep step with the rounds). 150 and 50 are expected.
  auto by = SamplesBy(profile, "route");
  EXPECT_GT(by["/slow"], by["/fast"]);
  EXPECT_GT(by["/fast"], 0);
  // Between the two scopes there are some 100 ns of each 44.4 ms.
  EXPECT_LE(by[""], 1);
}

void WorkForATask() {
  Task task("short");
  Burn(3'000'000);
}

TEST(CpuProfile, TheTaskIsNamedThoughItIsOverWhenTheProfileIsWritten) {
  const auto by =
      SamplesBy(ProfileOf(WorkForATask, 500'000'000, {.labels = {.task = true}}), "task");
  EXPECT_GT(by.at("short"), 0);
}

TEST(CpuProfile, TasksAreNotNamedUnlessTheyAreAskedFor) {
  EXPECT_EQ(SamplesBy(ProfileOf(WorkForATask, 300'000'000), "task").count("short"), 0u);
}

TEST(CpuProfile, TheValueOfASampleIsItsCountInPeriods) {
  const Profile profile = ProfileOf([] { Burn(10'000'000); }, 300'000'000, {.hz = 250});
  EXPECT_EQ(profile.period, 4'000'000);
  ASSERT_FALSE(profile.samples.empty());
  for (const Sample& sample : profile.samples) {
    EXPECT_EQ(sample.values[1], sample.values[0] * 4'000'000);
  }
}

// A signal to a thread that waits would end each of these: a hundred a second. What is left is
// the microsecond on the way into the wait, and this thread is there for one in a thousand.
TEST(CpuProfile, WaitsBetweenBurstsOfWorkAreNotInterrupted) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::atomic<int> interrupted{0};
  const Profile profile = ProfileOf(
      [&] {
        Burn(300'000);
        epoll_event event;
        const timespec moment{0, 300'000};
        if (poll(nullptr, 0, 1) < 0 && errno == EINTR) ++interrupted;
        if (epoll_wait(epoll, &event, 1, 1) < 0 && errno == EINTR) ++interrupted;
        if (nanosleep(&moment, nullptr) != 0) ++interrupted;
      },
      500'000'000, {.hz = 1000});
  close(epoll);
  std::int64_t samples = 0;
  for (const Sample& sample : profile.samples) samples += sample.values[0];
  EXPECT_GT(samples, 10);
  EXPECT_LE(interrupted, 5);
}

TEST(CpuProfile, ItEndsWhenNobodyWantsItAnyMore) {
  const auto start = std::chrono::steady_clock::now();
  const auto profile =
      ProfileCpu({.duration = std::chrono::hours(1), .cancelled = [] { return true; }});
  EXPECT_TRUE(profile);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(1));
}

TEST(CpuProfile, BadOptionsAreNamed) {
  EXPECT_EQ(ProfileCpu({.hz = 0}).status().message(), "hz is 0; accepted: 1 to 1000");
  EXPECT_EQ(ProfileCpu({.hz = 1001}).status().message(), "hz is 1001; accepted: 1 to 1000");
  EXPECT_EQ(ProfileCpu({.duration = milliseconds(0)}).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace heldby
