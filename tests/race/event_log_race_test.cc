#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/registry/event_log.h"

namespace heldby::core {
namespace {

constexpr int kThreads = 4;
constexpr int kTraces = 20;

// All fields are one number: an event that two threads wrote shows it.
Event Uniform(std::uint32_t number) {
  return {.kind = EventKind::kTaskPark, .id = number, .a = number, .b = number, .c = number};
}

bool IsUniform(const Event& event) {
  return event.kind == EventKind::kTaskPark && event.a == event.id && event.b == event.id &&
         event.c == event.id;
}

struct Seen {
  std::uint64_t whole = 0;
  std::uint64_t torn = 0;
};

Seen ReadAll(const EventLog& log, std::uint64_t* unfinished) {
  Seen seen;
  *unfinished = log.Visit(
      [](void* context, const Event& event) {
        Seen& all = *static_cast<Seen*>(context);
        ++(IsUniform(event) ? all.whole : all.torn);
      },
      &seen);
  return seen;
}

void SleepInTheMiddle(int) {
  const timespec pause{0, 50'000'000};  // Stop() waits for 20 ms
  nanosleep(&pause, nullptr);
}

// Writers are interrupted where it hurts: between their slot and their event, for longer than
// one trace, so that they go on in the next.
TEST(EventLogRace, WritersThatAreInterruptedNeverMixTwoEventsOrTwoTraces) {
  static EventLog log;
  struct sigaction action {};
  action.sa_handler = &SleepInTheMiddle;
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  std::atomic<bool> done{false};
  std::atomic<std::uint32_t> trace_number{0};
  std::atomic<std::uint64_t> written{0};
  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&] {
      while (!done.load(std::memory_order_relaxed)) {
        const std::uint32_t number = trace_number.load(std::memory_order_relaxed);
        if (!log.is_on()) continue;
        log.Record(Uniform(number));
        written.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  std::uint64_t whole = 0;
  for (std::uint32_t i = 1; i <= kTraces; ++i) {
    trace_number.store(i);
    ASSERT_EQ(log.Start(), EventLog::Started::kYes);
    // Until they have slept enough, ten seconds at most.
    const std::uint64_t before_this = written.load();
    for (int waited = 0; waited < 10'000 && written.load() == before_this; ++waited) {
      const timespec pause{0, 1'000'000};
      nanosleep(&pause, nullptr);
    }
    for (std::thread& writer : writers) pthread_kill(writer.native_handle(), SIGUSR1);
    const EventLog::Totals totals = log.Stop();
    std::uint64_t unfinished = 0;
    const Seen seen = ReadAll(log, &unfinished);
    ASSERT_EQ(seen.torn, 0u);
    ASSERT_EQ(seen.whole + unfinished, totals.recorded);
    whole += seen.whole;
    log.Release();
  }
  done.store(true);
  for (std::thread& writer : writers) writer.join();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_GT(whole, 0u);
}

// A full log is the common end of a trace of a busy program.
TEST(EventLogRace, AFullLogIsFullOfWholeEventsAndCountsTheRest) {
  static EventLog log;
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  constexpr std::uint32_t kEach = EventLog::kCapacity / kThreads + 1000;
  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([t] {
      for (std::uint32_t i = 0; i < kEach; ++i) log.Record(Uniform(i * kThreads + t));
    });
  }
  for (std::thread& writer : writers) writer.join();
  const EventLog::Totals totals = log.Stop();
  std::uint64_t unfinished = 0;
  const Seen seen = ReadAll(log, &unfinished);
  EXPECT_EQ(unfinished, 0u);
  EXPECT_EQ(seen.torn, 0u);
  EXPECT_EQ(seen.whole, EventLog::kCapacity);
  EXPECT_EQ(seen.whole + totals.dropped_total, std::uint64_t{kEach} * kThreads);
  log.Release();
}

}  // namespace
}  // namespace heldby::core
