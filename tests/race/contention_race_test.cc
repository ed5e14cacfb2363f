#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "core/sampler/contention.h"

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

SiteTotals SumOf(const SiteTable& table) {
  SiteTotals sum;
  table.Visit(
      [](void* context, SiteId, const SiteTable::Key&, const SiteTotals& totals) {
        auto& all = *static_cast<SiteTotals*>(context);
        all.allocated_objects += totals.allocated_objects;
        all.allocated_bytes += totals.allocated_bytes;
      },
      &sum);
  return sum;
}

// Locks of one bucket, so that entries are taken, shared and given back without pause.
TEST(LockWaitersRace, AWordGoesToNobodyWhoWaitsForAnotherLock) {
  auto waiters = std::make_unique<LockWaiters>();
  std::vector<const void*> locks;
  for (std::uintptr_t at = 8; locks.size() < kThreads + 2; at += 8) {
    const auto* lock = reinterpret_cast<const void*>(at);
    if (LockWaiters::BucketOf(lock) == 0) locks.push_back(lock);
  }
  // Each thread joins its own lock, whose words are its number, and one that all share.
  std::atomic<int> wrong{0};
  OnThreads([&](int t) {
    const void* mine = locks[static_cast<std::size_t>(t)];
    const auto number = static_cast<std::uint64_t>(t) + 1;
    for (int i = 0; i < kRounds; ++i) {
      const std::uint32_t shared = waiters->Join(locks[kThreads]);
      const std::uint32_t entry = waiters->Join(mine);
      // There is room: each thread is in two entries at most.
      ASSERT_TRUE(entry != 0 && shared != 0);
      waiters->LeaveWord(mine, number);
      if (waiters->WordOf(entry) != number) wrong.fetch_add(1);
      waiters->Leave(shared);
      waiters->Leave(entry);
    }
  });
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_FALSE(waiters->Any());
  for (const void* lock : locks) EXPECT_FALSE(waiters->IsWaitedFor(lock));
}

// The rule by which a profile adds waits under way to the totals: nothing is counted twice, and
// nothing is missing in between.
TEST(ContentionRace, WaitsUnderWayAndTotalsTogetherNeverFallAndNeverExceedWhatBegan) {
  auto contention = std::make_unique<Contention>();
  auto stacks = std::make_unique<StackTable>();
  contention->set_block_rate_ns(1);
  std::atomic<bool> done{false};
  std::atomic<long> snapshots{0};
  std::thread reader([&] {
    std::uint64_t least = 0;
    while (!done.load()) {
      // Every wait has one site here, as they are begun without a stack of their own.
      std::vector<std::uint32_t> waits;
      contention->ForEachWait(
          [&](std::uint32_t id, const WaitRecord&) { waits.push_back(id); });
      std::uint64_t counted = 0;
      for (bool settled = false; !settled;) {
        std::erase_if(waits, [&](std::uint32_t id) {
          return contention->PhaseOf(id) == WaitPhase::kGone;
        });
        counted = SumOf(contention->block()).allocated_objects / kObjectUnit;
        settled = true;
        for (const std::uint32_t id : waits) {
          settled = settled && contention->PhaseOf(id) == WaitPhase::kWaiting;
        }
        if (!settled) std::this_thread::yield();
      }
      const std::uint64_t all = counted + waits.size();
      ASSERT_GE(all, least);
      // waits() is read last: whatever was seen had begun.
      ASSERT_LE(all, contention->waits());
      least = all;
      snapshots.fetch_add(1);
    }
  });
  // Until the reader has looked often enough, however late its thread comes to run.
  constexpr long kEnough = 100;
  constexpr int kMost = 5'000'000;
  std::atomic<std::uint64_t> all{0};
  OnThreads([&](int t) {
    int object = t;
    for (int i = 0; i < kMost && (i < kRounds / 4 || snapshots.load() < kEnough); ++i) {
      const std::uint32_t wait =
          contention->Begin(WaitKind::kSemaphore, &object, {}, stacks.get());
      ASSERT_NE(wait, 0u);
      contention->End(wait, true);
      all.fetch_add(1);
    }
  });
  done = true;
  reader.join();
  EXPECT_GE(snapshots.load(), kEnough);
  EXPECT_EQ(SumOf(contention->block()).allocated_objects / kObjectUnit, all.load());
}

TEST(ContentionRace, UnlockersAndWaitersComeAndGoAndNoWaiterIsLeft) {
  auto contention = std::make_unique<Contention>();
  auto stacks = std::make_unique<StackTable>();
  contention->set_mutex_fraction(1);
  std::atomic<std::uint64_t> ended{0};
  int locks[3] = {};
  OnThreads([&](int t) {
    for (int i = 0; i < kRounds / 4; ++i) {
      const void* lock = &locks[(i + t) % 3];
      const std::uint32_t wait = contention->Begin(WaitKind::kMutex, lock, {}, stacks.get());
      if (contention->AnyLockIsWaitedFor() && contention->MayBeWaitedFor(&locks[i % 3])) {
        contention->Unlocking(&locks[i % 3], 0, stacks.get());
      }
      contention->End(wait, i % 2 == 0);
      ended.fetch_add(1);
    }
  });
  EXPECT_FALSE(contention->AnyLockIsWaitedFor());
  EXPECT_LE(SumOf(contention->mutex()).allocated_objects / kObjectUnit, ended.load());
  EXPECT_GT(SumOf(contention->mutex()).allocated_objects, 0u);
}

}  // namespace
}  // namespace heldby::core
