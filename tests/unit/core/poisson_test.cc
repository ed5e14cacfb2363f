#include "core/sampler/poisson.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/countdown.h"

namespace heldby::core {
namespace {

// Every test starts a "thread" of its own: a slot with a fixed seed. With 5 sigma on each side
// the false-alarm rate of one comparison is 6e-7; about 100 comparisons: 6e-5 in all - and as
// seeds are fixed, a test that passes once passes always.
constexpr double kSigmas = 5;

class Thread {
 public:
  Thread(const PoissonClock& clock, std::uint64_t seed) : clock_(clock) {
    slot_.random = seed;
    thread_slot = slot_;
  }
  // The mean to weigh by, 0 if not sampled: what the hooks do, without an allocation.
  std::uint64_t Allocate(std::uint64_t size) {
    return CountDown(size) ? clock_.Tick(thread_slot, ChargedBytes(size)) : 0;
  }

 private:
  const PoissonClock& clock_;
  ThreadSlot slot_{};
};

TEST(PoissonClock, AnAllocationIsSeenWithProbabilityOneMinusExp) {
  for (const std::uint64_t mean : {512ull, 65536ull, 524288ull, 8ull << 20}) {
    const PoissonClock clock(mean);
    Thread thread(clock, 42 + mean);
    for (const std::uint64_t size :
         {0ull, 1ull, 100ull, 4096ull, 100'000ull, 1ull << 20, 64ull << 20}) {
      const double p = -std::expm1(-static_cast<double>(size + 1) / static_cast<double>(mean));
      const int trials = p < 1e-3 ? 4'000'000 : 200'000;
      int seen = 0;
      for (int i = 0; i < trials; ++i) seen += thread.Allocate(size) != 0;
      const double sigma = std::sqrt(trials * p * (1 - p));
      EXPECT_NEAR(seen, trials * p, kSigmas * sigma + 1) << "mean " << mean << " size " << size;
    }
  }
}

// The first allocation of a thread must be as likely to be seen as any other.
TEST(PoissonClock, ThreadsThatAllocateOnceAreNotOverlooked) {
  const PoissonClock clock(1000);
  constexpr int kThreads = 100'000;
  int seen = 0;
  for (int i = 0; i < kThreads; ++i) {
    Thread thread(clock, 1 + 7919ull * i);
    seen += thread.Allocate(999) != 0;
  }
  const double p = -std::expm1(-1.0);
  EXPECT_NEAR(seen, kThreads * p, kSigmas * std::sqrt(kThreads * p * (1 - p)));
}

TEST(PoissonClock, MeanOfOneSeesEveryAllocationAndWeighsItAsItself) {
  const PoissonClock clock(1);
  Thread thread(clock, 3);
  for (const std::uint64_t size : {0ull, 1ull, 77ull, 5'000'000ull}) {
    for (int i = 0; i < 100; ++i) ASSERT_EQ(thread.Allocate(size), 1u);
    EXPECT_EQ(WeightOf(size, 1).bytes, size);
    EXPECT_EQ(WeightOf(size, 1).objects, kObjectUnit);
  }
}

TEST(PoissonClock, MeanOfZeroSeesNothing) {
  const PoissonClock clock(0);
  Thread thread(clock, 3);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(thread.Allocate(100'000), 0u);
}

// An absurd size is about to fail; it must not wind the countdown up so far that it never ends.
TEST(PoissonClock, AnAbsurdSizeDoesNotSilenceTheThread) {
  PoissonClock clock(4096);
  Thread thread(clock, 5);
  thread.Allocate(~std::uint64_t{0} - 8);
  thread.Allocate(std::uint64_t{1} << 63);
  thread.Allocate(std::uint64_t{3} << 62);
  int seen = 0;
  for (int i = 0; i < 10'000; ++i) seen += thread.Allocate(4095) != 0;
  EXPECT_GT(seen, 6000);
}

// Estimated bytes and objects of a stream of mixed sizes, while the mean is changed under way.
TEST(PoissonClock, EstimatesStayUnbiasedWhileTheMeanChanges) {
  PoissonClock clock(1 << 16);
  Thread thread(clock, 99);
  const std::uint64_t means[] = {1 << 16, 1 << 20, 0, 1 << 12, 1, 1 << 19};
  const std::uint64_t sizes[] = {1, 16, 24, 100, 1000, 5000, 70'000, 1 << 20, 3 << 20};
  double true_bytes = 0;
  double estimated_bytes = 0;
  double estimated_objects = 0;
  double true_objects = 0;
  double variance_bytes = 0;
  double variance_objects = 0;
  for (int round = 0; round < 600; ++round) {
    const std::uint64_t mean = means[round % 6];
    clock.set_mean_bytes(mean);
    for (int i = 0; i < 4000; ++i) {
      const std::uint64_t size = sizes[(i * 7 + round) % (i % 50 == 0 ? 9 : 6)];
      const std::uint64_t used = thread.Allocate(size);
      // What a thread does between a change and its next check is decided by the old mean: such
      // allocations are sampled, or not, by that one, and counted as truth only if it was on.
      const std::uint64_t in_force = thread_slot.mean_bytes;
      if (used == 0 && in_force == 0) continue;
      if (mean == 0) continue;
      const Weight weight = used != 0 ? WeightOf(size, used) : Weight{0, 0};
      true_bytes += static_cast<double>(size);
      true_objects += 1;
      estimated_bytes += static_cast<double>(weight.bytes);
      estimated_objects += static_cast<double>(weight.objects) / kObjectUnit;
      const double m = static_cast<double>(std::max<std::uint64_t>(in_force, mean));
      const double q = std::exp(-static_cast<double>(size + 1) / m);
      variance_bytes += static_cast<double>(size) * static_cast<double>(size) * q / (1 - q);
      variance_objects += q / (1 - q);
    }
  }
  EXPECT_NEAR(estimated_bytes, true_bytes, kSigmas * std::sqrt(variance_bytes));
  EXPECT_NEAR(estimated_objects, true_objects, kSigmas * std::sqrt(variance_objects));
}

TEST(WeightOf, IsTheReciprocalOfTheProbability) {
  // S = T: charged T + 1; 1 / (1 - exp(-1)) = 1.58198 by hand.
  EXPECT_NEAR(static_cast<double>(WeightOf(524288, 524288).objects) / kObjectUnit, 1.58198,
              1e-3);
  EXPECT_NEAR(static_cast<double>(WeightOf(524288, 524288).bytes), 829412, 2);
  EXPECT_NEAR(static_cast<double>(WeightOf(64 << 20, 524288).bytes), 64 << 20, 1);
  EXPECT_NEAR(static_cast<double>(WeightOf(16, 524288).bytes), 16 * 524288.0 / 17, 16);
}

}  // namespace
}  // namespace heldby::core
