// Timers of threads, as the kernel keeps them: every count below is of processor time, which a
// busy machine does not change.
#include "core/sampler/cpu_sampler.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>
#include <vector>

namespace heldby::core {
namespace {

constexpr std::uint64_t kPeriodNs = 10'000'000;

std::int32_t Tid() { return static_cast<std::int32_t>(syscall(SYS_gettid)); }

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

struct Drained {
  std::uint64_t weight = 0;
  int samples = 0;
  int with_stack = 0;
  std::vector<std::uint32_t> labels{};
};

void Drain(Drained* sum) {
  cpu_sampler.Drain(
      [](void* context, const CpuSample& sample) {
        auto* drained = static_cast<Drained*>(context);
        drained->weight += sample.weight;
        ++drained->samples;
        drained->with_stack += sample.stack.depth > 1 ? 1 : 0;
        drained->labels.push_back(sample.holder.labels);
      },
      sum);
}

void Stop() {
  cpu_sampler.Stop([](void*, const CpuSample&) {}, nullptr);
}

class CpuSamplerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(cpu_sampler.Start(kPeriodNs), CpuStart::kStarted); }
  void TearDown() override {
    Stop();
    Drained rest;
    Drain(&rest);
  }
};

// The first interval is random and shorter than a period, the kernel looks once a tick: of
// 500 ms, 50 samples, give or take one at each end and two ticks of 10 ms.
TEST_F(CpuSamplerTest, AThreadIsSampledInProportionToItsOwnProcessorTime) {
  Drained drained;
  std::thread worker([&drained] {
    cpu_sampler.timers().Watch(Tid());
    thread_slot.holder.labels = 77;
    for (int i = 0; i < 50; ++i) {
      Burn(10'000'000);
      Drain(&drained);
    }
    thread_slot.holder.labels = 0;
  });
  worker.join();
  EXPECT_GE(drained.weight, 46u);
  EXPECT_LE(drained.weight, 54u);
  EXPECT_EQ(drained.with_stack, drained.samples);
  EXPECT_EQ(std::count(drained.labels.begin(), drained.labels.end(), 77u), drained.samples);
}

TEST_F(CpuSamplerTest, AThreadThatWaitsIsNotSampled) {
  std::atomic<bool> done{false};
  std::atomic<bool> begun{false};
  std::thread waiting([&] {
    cpu_sampler.timers().Watch(Tid());
    begun = true;
    done.wait(false);
  });
  while (!begun) std::this_thread::yield();
  std::thread worker([] { Burn(100'000'000); });
  worker.join();
  done = true;
  done.notify_all();
  waiting.join();
  Drained drained;
  Drain(&drained);
  EXPECT_EQ(drained.samples, 0);
}

TEST_F(CpuSamplerTest, OneAtATime) {
  EXPECT_EQ(cpu_sampler.Start(kPeriodNs), CpuStart::kInUse);
}

TEST_F(CpuSamplerTest, AThreadHasOneTimerHoweverOftenItIsFound) {
  Drained drained;
  std::thread worker([&drained] {
    for (int i = 0; i < 5; ++i) cpu_sampler.timers().Watch(Tid());
    cpu_sampler.timers().BeginThread(Tid());
    for (int i = 0; i < 20; ++i) {
      Burn(10'000'000);
      Drain(&drained);
    }
  });
  worker.join();
  EXPECT_GE(drained.weight, 17u);
  EXPECT_LE(drained.weight, 23u);
}

TEST_F(CpuSamplerTest, ThePlaceOfAThreadThatEndedIsGivenUp) {
  std::int32_t tid = 0;
  std::thread worker([&tid] {
    tid = Tid();
    cpu_sampler.timers().Watch(tid);
  });
  worker.join();
  EXPECT_TRUE(cpu_sampler.timers().Knows(tid));
  // The kernel may take a moment to forget a thread that was joined.
  for (int i = 0; i < 1000 && cpu_sampler.timers().Knows(tid); ++i) {
    cpu_sampler.timers().Sweep();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_FALSE(cpu_sampler.timers().Knows(tid));
  EXPECT_EQ(cpu_sampler.timers().unwatched_total(), 0u);
}

// A thread that was listed a moment ago and is gone is no limit that was reached.
TEST_F(CpuSamplerTest, AThreadThatIsGoneIsNotCountedAsOneWithoutATimer) {
  std::int32_t tid = 0;
  std::thread worker([&tid] { tid = Tid(); });
  worker.join();
  for (int i = 0; i < 1000 && syscall(SYS_tgkill, getpid(), tid, 0) == 0; ++i) usleep(1000);
  cpu_sampler.timers().Watch(tid);
  EXPECT_FALSE(cpu_sampler.timers().Knows(tid));
  EXPECT_EQ(cpu_sampler.timers().unwatched_total(), 0u);
}

TEST_F(CpuSamplerTest, WhatNobodyDrainsIsDroppedAndCounted) {
  Stop();
  const std::uint64_t before = cpu_sampler.dropped_samples_total();
  // A tick of the machine is 1 to 10 ms, and a sample may stand for many periods: what counts
  // are signals.
  ASSERT_EQ(cpu_sampler.Start(1'000'000), CpuStart::kStarted);
  std::thread worker([before] {
    cpu_sampler.timers().Watch(Tid());
    for (int i = 0; i < 300 && cpu_sampler.dropped_samples_total() == before; ++i) {
      Burn(10'000'000);
    }
  });
  worker.join();
  EXPECT_GT(cpu_sampler.dropped_samples_total(), before);
  Drained drained;
  Drain(&drained);
  EXPECT_EQ(drained.samples, CpuSampler::kSlots);
}

TEST_F(CpuSamplerTest, AfterItsEndNothingIsSampled) {
  std::thread worker([] {
    cpu_sampler.timers().Watch(Tid());
    Stop();
    Drained drained;
    Drain(&drained);
    Burn(100'000'000);
    Drained after;
    Drain(&after);
    EXPECT_EQ(after.samples, 0);
  });
  worker.join();
}

// A profile that began in between would take the samples of this one, and this one its first.
TEST_F(CpuSamplerTest, TheLastSamplesAreHandedOverBeforeAnotherProfileCanStart) {
  std::thread worker([] {
    cpu_sampler.timers().Watch(Tid());
    Burn(100'000'000);
  });
  worker.join();
  struct Last {
    int samples = 0;
    int in_use = 0;
  } last;
  cpu_sampler.Stop(
      [](void* context, const CpuSample&) {
        auto* seen = static_cast<Last*>(context);
        ++seen->samples;
        seen->in_use += cpu_sampler.Start(kPeriodNs) == CpuStart::kInUse ? 1 : 0;
      },
      &last);
  EXPECT_GT(last.samples, 0);
  EXPECT_EQ(last.in_use, last.samples);
  Drained rest;
  Drain(&rest);
  EXPECT_EQ(rest.samples, 0);
}

// Its owner may take it with sigwait(), and would not know what it is.
TEST_F(CpuSamplerTest, AThreadThatIsBornWithTheSignalBlockedIsSentNone) {
  std::thread worker([] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    thread_slot.tid = Tid();
    cpu_sampler.BeginThread();
    EXPECT_FALSE(cpu_sampler.timers().Knows(Tid()));
    Burn(100'000'000);
    sigset_t pending;
    sigpending(&pending);
    EXPECT_EQ(sigismember(&pending, cpu_sampler.timers().signal()), 0);
  });
  worker.join();
}

TEST_F(CpuSamplerTest, ErrnoIsKept) {
  Drained drained;
  std::thread worker([&drained] {
    cpu_sampler.timers().Watch(Tid());
    // One sample stands for many periods while others have the processors.
    for (int turn = 0; turn < 50 && drained.samples <= 5; ++turn) {
      errno = 4711;
      const std::int64_t end = CpuNs() + 200'000'000;
      while (CpuNs() < end) ASSERT_EQ(errno, 4711);
      Drain(&drained);
    }
  });
  worker.join();
  EXPECT_GT(drained.samples, 5);
}

TEST_F(CpuSamplerTest, AForkedChildRunsNoProfileAndCanStartItsOwn) {
  cpu_sampler.timers().Watch(Tid());
  const pid_t child = fork();
  if (child == 0) {
    cpu_sampler.ForgetInChild();
    Burn(50'000'000);
    Drained none;
    Drain(&none);
    if (none.samples != 0) _exit(1);
    if (cpu_sampler.Start(kPeriodNs) != CpuStart::kStarted) _exit(2);
    cpu_sampler.timers().Watch(Tid());
    Burn(100'000'000);
    Drained own;
    Drain(&own);
    _exit(own.samples > 0 ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// With timers that fire all the time, threads that are born and end, and starts and stops.
TEST(CpuSampler, ThreadsComeAndGoWhileProfilesStartAndStop) {
  std::atomic<bool> done{false};
  std::thread births([&done] {
    while (!done) {
      std::vector<std::thread> threads;
      for (int i = 0; i < 8; ++i) {
        threads.emplace_back([] {
          thread_slot.tid = Tid();
          cpu_sampler.BeginThread();
          Burn(2'000'000);
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
  });
  Drained drained;
  for (int run = 0; run < 20; ++run) {
    ASSERT_EQ(cpu_sampler.Start(1'000'000), CpuStart::kStarted);
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      Drain(&drained);
      cpu_sampler.timers().Sweep();
    }
    Stop();
  }
  done = true;
  births.join();
  EXPECT_GT(drained.weight, 0u);
  // No timer is left behind: the kernel lists them.
  FILE* timers = fopen("/proc/self/timers", "r");
  if (timers != nullptr) {
    EXPECT_EQ(fgetc(timers), EOF);
    fclose(timers);
  }
}

}  // namespace
}  // namespace heldby::core
