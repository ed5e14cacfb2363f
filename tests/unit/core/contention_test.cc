#include "core/sampler/contention.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/base/self_guard.h"

namespace heldby::core {
namespace {

TEST(BlockWeight, AWaitAsLongAsTheRateIsItselfWhateverTheDraw) {
  for (const std::uint64_t random : {0ull, 1ull << 63, ~0ull}) {
    const BlockWeight weight = BlockWeightOf(1000, 1000, random);
    EXPECT_EQ(weight.contentions, kObjectUnit);
    EXPECT_EQ(weight.delay_ns, 1000u);
  }
}

TEST(BlockWeight, AtRateOneEveryWaitCountsEvenOneOfNoLength) {
  const BlockWeight weight = BlockWeightOf(0, 1, ~0ull);
  EXPECT_EQ(weight.contentions, kObjectUnit);
  EXPECT_EQ(weight.delay_ns, 1u);
}

TEST(BlockWeight, AShorterWaitStandsForRateOverLengthOfThem) {
  const BlockWeight weight = BlockWeightOf(250, 1000, 0);
  EXPECT_EQ(weight.contentions, 4 * kObjectUnit);
  EXPECT_EQ(weight.delay_ns, 1000u);
  EXPECT_EQ(BlockWeightOf(250, 1000, (1ull << 62) - 1).delay_ns, 1000u) << "just below 1/4";
  EXPECT_EQ(BlockWeightOf(250, 1000, 1ull << 62).delay_ns, 0u) << "1/4: not below it";
}

TEST(BlockWeight, TheLargestRateAndTheShortestWaitDoNotOverflow) {
  const BlockWeight weight = BlockWeightOf(1, kMaxBlockRateNs, 0);
  EXPECT_EQ(weight.contentions, kObjectUnit * kMaxBlockRateNs);
  EXPECT_EQ(weight.delay_ns, kMaxBlockRateNs);
}

// n waits of length d at rate r are counted k times, k binomial(n, d/r); the estimate k r/d has
// the relative deviation sqrt((1 - p) / (n p)). Fixed seed; 5 sigma would fail for one seed in
// 1.7 million.
TEST(BlockWeight, SamplesAddUpToAllWaitsWithinFiveSigma) {
  constexpr int kCount = 200'000;
  for (const std::uint64_t delay : {10u, 333u, 900u}) {
    ThreadSlot slot{};
    slot.random = 42;
    double contentions = 0;
    double delay_ns = 0;
    for (int i = 0; i < kCount; ++i) {
      const BlockWeight weight = BlockWeightOf(delay, 1000, NextRandom(slot));
      contentions += static_cast<double>(weight.contentions) / kObjectUnit;
      delay_ns += static_cast<double>(weight.delay_ns);
    }
    const double p = static_cast<double>(delay) / 1000;
    const double sigma = std::sqrt((1 - p) / (kCount * p));
    EXPECT_NEAR(contentions / kCount, 1, 5 * sigma + 0.0002) << "rounding to 1/4096 included";
    EXPECT_NEAR(delay_ns / (kCount * static_cast<double>(delay)), 1, 5 * sigma);
  }
}

class ContentionTest : public testing::Test {
 protected:
  std::uint32_t Begin(WaitKind kind, const void* object, std::uintptr_t frame = 10'000) {
    return contention_->Begin(kind, object, {.caller = 0, .frame = frame}, stacks_.get());
  }
  SiteTotals BlockTotals() { return TotalsOf(contention_->block()); }
  SiteTotals MutexTotals() { return TotalsOf(contention_->mutex()); }
  int UnderWay() {
    int count = 0;
    contention_->ForEachWait([&](std::uint32_t, const WaitRecord&) { ++count; });
    return count;
  }

  static SiteTotals TotalsOf(const SiteTable& table) {
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

  std::unique_ptr<Contention> contention_ = std::make_unique<Contention>();
  std::unique_ptr<StackTable> stacks_ = std::make_unique<StackTable>();
  int lock_ = 0;
};

TEST_F(ContentionTest, NothingIsRecordedWhileBothProfilesAreOff) {
  EXPECT_EQ(Begin(WaitKind::kMutex, &lock_), 0u);
  contention_->set_mutex_fraction(1);
  EXPECT_EQ(Begin(WaitKind::kCondition, &lock_), 0u) << "the mutex profile has locks alone";
  EXPECT_EQ(UnderWay(), 0);
}

TEST_F(ContentionTest, AWaitIsUnderWayUntilItEndsAndCountedFromThen) {
  EXPECT_EQ(contention_->set_block_rate_ns(1), 0u);
  const std::uint64_t before = NowNs();
  const std::uint32_t wait = Begin(WaitKind::kSemaphore, &lock_);
  ASSERT_NE(wait, 0u);
  EXPECT_EQ(UnderWay(), 1);
  EXPECT_EQ(contention_->PhaseOf(wait), WaitPhase::kWaiting);
  EXPECT_EQ(BlockTotals().allocated_objects, 0u);
  contention_->End(wait, true);
  EXPECT_EQ(UnderWay(), 0);
  EXPECT_EQ(contention_->PhaseOf(wait), WaitPhase::kGone);
  EXPECT_EQ(BlockTotals().allocated_objects, kObjectUnit);
  EXPECT_GT(BlockTotals().allocated_bytes, 0u);
  EXPECT_LE(BlockTotals().allocated_bytes, NowNs() - before);
}

TEST_F(ContentionTest, TheRateOfAWaitIsTheOneItBeganWith) {
  contention_->set_block_rate_ns(1);
  const std::uint32_t wait = Begin(WaitKind::kMutex, &lock_);
  EXPECT_EQ(contention_->set_block_rate_ns(kMaxBlockRateNs), 1u);
  contention_->End(wait, true);
  EXPECT_EQ(BlockTotals().allocated_objects, kObjectUnit);
  contention_->set_block_rate_ns(0);
  EXPECT_EQ(BlockTotals().allocated_objects, kObjectUnit) << "what was counted stays";
}

TEST_F(ContentionTest, WhoUnlockedIsCountedByWhoGotTheLock) {
  contention_->set_mutex_fraction(1);
  int other = 0;
  const std::uint32_t wait = Begin(WaitKind::kMutex, &lock_);
  EXPECT_TRUE(contention_->MayBeWaitedFor(&lock_));
  contention_->Unlocking(&other, 0, stacks_.get());
  contention_->Unlocking(&lock_, 0, stacks_.get());
  EXPECT_EQ(MutexTotals().allocated_objects, 0u) << "nobody has it yet";
  contention_->End(wait, true);
  EXPECT_EQ(MutexTotals().allocated_objects, kObjectUnit);
  EXPECT_FALSE(contention_->MayBeWaitedFor(&lock_));
  EXPECT_EQ(BlockTotals().allocated_objects, 0u) << "that one is off";
}

TEST_F(ContentionTest, WhoGaveUpWaitingOrFoundNoUnlockerCountsForNobody) {
  contention_->set_mutex_fraction(1);
  std::uint32_t wait = Begin(WaitKind::kWriteLock, &lock_);
  contention_->Unlocking(&lock_, 0, stacks_.get());
  contention_->End(wait, /*acquired=*/false);
  wait = Begin(WaitKind::kWriteLock, &lock_);
  contention_->End(wait, /*acquired=*/true);
  EXPECT_EQ(MutexTotals().allocated_objects, 0u);
}

TEST_F(ContentionTest, AFractionScalesByTheValueOfItsTime) {
  contention_->set_mutex_fraction(7);
  thread_slot.random = 1;  // draws until one of seven is taken
  std::uint64_t taken = 0;
  for (int i = 0; i < 1000 && taken == 0; ++i) {
    const std::uint32_t wait = Begin(WaitKind::kMutex, &lock_);
    contention_->Unlocking(&lock_, 0, stacks_.get());
    contention_->set_mutex_fraction(100);
    contention_->End(wait, true);
    contention_->set_mutex_fraction(7);
    taken = MutexTotals().allocated_objects;
  }
  EXPECT_EQ(taken, 7 * kObjectUnit);
}

// k of n are taken, k binomial(n, 1/7): the deviation of the estimate 7k/n is sqrt(6/n) = 1.1 %
// of it here. Fixed seed.
TEST_F(ContentionTest, OneContentionInSevenAddsUpToAllWithinFiveSigma) {
  constexpr int kCount = 50'000;
  contention_->set_mutex_fraction(7);
  thread_slot.random = 4711;
  for (int i = 0; i < kCount; ++i) contention_->RecordUnlock(100, 0, stacks_.get());
  const double sigma = std::sqrt(6.0 / kCount);
  const SiteTotals totals = MutexTotals();
  EXPECT_NEAR(static_cast<double>(totals.allocated_objects) / kObjectUnit / kCount, 1,
              5 * sigma);
  EXPECT_EQ(totals.allocated_bytes, totals.allocated_objects / kObjectUnit * 100);
}

TEST_F(ContentionTest, TheProfilersOwnWaitsAreNotRecorded) {
  contention_->set_block_rate_ns(1);
  contention_->set_mutex_fraction(1);
  SelfGuard self;
  EXPECT_EQ(Begin(WaitKind::kMutex, &lock_), 0u);
}

TEST_F(ContentionTest, MoreWaitsThanThereIsRoomForAreDroppedAndCounted) {
  contention_->set_block_rate_ns(1);
  contention_->set_mutex_fraction(1);
  constexpr std::uint32_t kRoom = 1 << 14;
  std::vector<std::uint32_t> waits;
  for (std::uint32_t i = 0; i < kRoom; ++i) {
    waits.push_back(Begin(WaitKind::kMutex, &lock_));
    ASSERT_NE(waits.back(), 0u);
    thread_slot.wait = 0;  // as if each were another thread's
  }
  EXPECT_EQ(Begin(WaitKind::kMutex, &lock_), 0u);
  EXPECT_EQ(contention_->dropped_waits(), 1u);
  for (const std::uint32_t wait : waits) contention_->End(wait, false);
  EXPECT_FALSE(contention_->MayBeWaitedFor(&lock_)) << "the one without room has left as well";
  EXPECT_NE(Begin(WaitKind::kMutex, &lock_), 0u);
  thread_slot.wait = 0;
}

TEST_F(ContentionTest, AWaitWhoseThreadIsGoneEndsWhenItIsLookedAt) {
  contention_->set_block_rate_ns(1);
  std::thread([this] { Begin(WaitKind::kMutex, &lock_); }).join();
  // The kernel forgets a thread a moment after join() has seen its end.
  for (int i = 0; i < 10'000 && UnderWay() != 0; ++i) usleep(1000);
  EXPECT_EQ(UnderWay(), 0);
  EXPECT_EQ(BlockTotals().allocated_objects, kObjectUnit);
}

TEST_F(ContentionTest, AWaitThatWasJumpedOutOfEndsWithTheNextOne) {
  contention_->set_block_rate_ns(1);
  const std::uint32_t left = Begin(WaitKind::kSemaphore, &lock_);
  const std::uint32_t next = Begin(WaitKind::kSemaphore, &lock_, /*frame=*/9'900);
  EXPECT_EQ(contention_->PhaseOf(left), WaitPhase::kGone);
  EXPECT_EQ(UnderWay(), 1);
  contention_->End(left, false);  // comes back all the same
  contention_->End(next, true);
  EXPECT_EQ(UnderWay(), 0);
  EXPECT_EQ(BlockTotals().allocated_objects, 2 * kObjectUnit);
}

TEST_F(ContentionTest, ASignalHandlersWaitLeavesTheOneAroundItAlone) {
  contention_->set_block_rate_ns(1);
  const std::uint32_t outer = Begin(WaitKind::kSemaphore, &lock_);
  const std::uint32_t inner = Begin(WaitKind::kMutex, &lock_, /*frame=*/8'000);
  EXPECT_EQ(UnderWay(), 2);
  contention_->End(inner, true);
  EXPECT_EQ(contention_->PhaseOf(outer), WaitPhase::kWaiting);
  EXPECT_EQ(thread_slot.wait, outer);
  contention_->End(outer, true);
  EXPECT_EQ(BlockTotals().allocated_objects, 2 * kObjectUnit);
}

TEST_F(ContentionTest, AChildBeginsWithNothingCountedAndNobodyWaiting) {
  contention_->set_block_rate_ns(1);
  contention_->set_mutex_fraction(1);
  contention_->End(Begin(WaitKind::kMutex, &lock_), true);
  const std::uint32_t wait = Begin(WaitKind::kMutex, &lock_);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    contention_->BeginAnewInChild();
    bool good = BlockTotals().allocated_objects == 0 && UnderWay() == 0 &&
                !contention_->MayBeWaitedFor(&lock_) && thread_slot.wait == 0;
    contention_->End(wait, true);  // the wait in which a signal handler forked
    good = good && BlockTotals().allocated_objects == 0;
    contention_->End(Begin(WaitKind::kMutex, &lock_), true);
    _exit(good && BlockTotals().allocated_objects == kObjectUnit ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  contention_->End(wait, true);
  EXPECT_EQ(BlockTotals().allocated_objects, 2 * kObjectUnit);
}

TEST(LockWaiters, AWordReachesThoseWhoWaitForThatLock) {
  auto waiters = std::make_unique<LockWaiters>();
  alignas(8) char locks[2][8];
  const std::uint32_t a = waiters->Join(locks[0]);
  const std::uint32_t same = waiters->Join(locks[0]);
  const std::uint32_t b = waiters->Join(locks[1]);
  EXPECT_EQ(a, same);
  waiters->LeaveWord(locks[0], 5);
  EXPECT_EQ(waiters->WordOf(a), 5u);
  EXPECT_EQ(waiters->WordOf(b), 0u);
  waiters->Leave(a);
  EXPECT_TRUE(waiters->IsWaitedFor(locks[0]));
  waiters->Leave(same);
  EXPECT_FALSE(waiters->IsWaitedFor(locks[0]));
  EXPECT_EQ(waiters->WordOf(waiters->Join(locks[0])), 0u) << "an old word";
  waiters->Leave(b);
}

TEST(LockWaiters, AFullBucketDropsAndCountsAndHasRoomAgain) {
  auto waiters = std::make_unique<LockWaiters>();
  std::vector<const void*> locks;
  for (std::uintptr_t at = 8; locks.size() <= LockWaiters::kEntries; at += 8) {
    const auto* lock = reinterpret_cast<const void*>(at);
    if (LockWaiters::BucketOf(lock) == 0) locks.push_back(lock);
  }
  std::vector<std::uint32_t> joined;
  for (std::uint32_t i = 0; i < LockWaiters::kEntries; ++i) {
    joined.push_back(waiters->Join(locks[i]));
    ASSERT_NE(joined.back(), 0u);
  }
  EXPECT_EQ(waiters->Join(locks.back()), 0u);
  EXPECT_EQ(waiters->dropped(), 1u);
  for (const std::uint32_t entry : joined) waiters->Leave(entry);
  EXPECT_FALSE(waiters->MayBeWaitedFor(locks[0]));
  EXPECT_NE(waiters->Join(locks.back()), 0u);
}

}  // namespace
}  // namespace heldby::core
