#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "core/sampler/live_table.h"
#include "core/sampler/site_table.h"
#include "core/stack/stack_table.h"

namespace heldby::core {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 20'000;

template <typename Body>
void OnThreads(Body body) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&body, t] { body(t); });
  for (std::thread& thread : threads) thread.join();
}

// A record seen by a reader belongs to the key it was found under: size says which one.
TEST(LiveTableRace, AReaderNeverSeesARecordOfAnotherBlock) {
  LiveTable table;
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done.load()) {
      table.Visit(
          [](void*, std::uintptr_t address, const LiveSample& sample) {
            ASSERT_EQ(sample.size_bytes, address * 3);
            ASSERT_EQ(sample.weight_bytes, address * 5);
          },
          nullptr);
    }
  });
  OnThreads([&](int t) {
    for (int i = 0; i < kRounds; ++i) {
      // Few buckets and own addresses: slots change hands between threads all the time.
      const std::uintptr_t address =
          0x10000u + 0x1000u * static_cast<unsigned>(i % 40 * kThreads + t);
      LiveSample sample;
      sample.size_bytes = address * 3;
      sample.weight_bytes = address * 5;
      ASSERT_TRUE(table.Insert(address, sample));
      LiveSample out;
      ASSERT_TRUE(table.Erase(address, &out));
      ASSERT_EQ(out.size_bytes, address * 3);
    }
  });
  done = true;
  reader.join();
  EXPECT_EQ(table.live(), 0u);
  EXPECT_EQ(table.dropped(), 0u);
}

TEST(LiveTableRace, OfManyErasersExactlyOneGetsTheSample) {
  LiveTable table;
  for (int i = 0; i < 2000; ++i) {
    LiveSample sample;
    ASSERT_TRUE(table.Insert(0x2000, sample));
    std::atomic<int> winners{0};
    OnThreads([&](int) {
      LiveSample out;
      if (table.Erase(0x2000, &out)) winners.fetch_add(1);
    });
    ASSERT_EQ(winners.load(), 1);
  }
}

TEST(StackTableRace, AStackHasOneIdHoweverManyThreadsBringIt) {
  auto table = std::make_unique<StackTable>();
  std::vector<std::vector<StackId>> ids(kThreads);
  OnThreads([&](int t) {
    for (int i = 0; i < kRounds; ++i) {
      Stack stack{};
      stack.depth = 2;
      stack.frames[0] = static_cast<std::uintptr_t>(i / 2);
      stack.frames[1] = 7;
      ids[static_cast<unsigned>(t)].push_back(table->Intern(stack));
    }
  });
  for (int t = 1; t < kThreads; ++t) EXPECT_EQ(ids[static_cast<unsigned>(t)], ids[0]);
}

TEST(SiteTableRace, NoAdditionIsLostAndInUseIsNeverNegative) {
  auto table = std::make_unique<SiteTable>();
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done.load()) {
      table->Visit(
          [](void*, SiteId, const SiteTable::Key&, const SiteTotals& totals) {
            ASSERT_GE(totals.allocated_bytes, totals.freed_bytes);
            ASSERT_GE(totals.allocated_objects, totals.freed_objects);
          },
          nullptr);
    }
  });
  OnThreads([&](int) {
    for (int i = 0; i < kRounds; ++i) {
      const SiteId site = table->Find(StackId{static_cast<std::uint32_t>(i % 100 + 1)}, 64, 0);
      table->AddAllocated(site, 64, 1);
      table->AddFreed(site, 64, 1);
    }
  });
  done = true;
  reader.join();
  std::uint64_t sum = 0;
  table->Visit(
      [](void* context, SiteId, const SiteTable::Key&, const SiteTotals& totals) {
        *static_cast<std::uint64_t*>(context) += totals.allocated_bytes;
        EXPECT_EQ(totals.allocated_bytes, totals.freed_bytes);
      },
      &sum);
  EXPECT_EQ(sum, 64ull * kThreads * kRounds);
}

}  // namespace
}  // namespace heldby::core
