// The promise of the sampler, kept by the real hooks over the real allocator: estimates of
// total and live bytes and objects against exact counts.
//
// An allocation of s bytes is seen with p = 1 - exp(-(s+1)/T) and stands for s/p bytes, 1/p
// objects: variance s^2 (1-p)/p and (1-p)/p. Tolerance 5 sigma (false alarm 6e-7 a comparison);
// seeds are fixed, so what passes once passes always.
#include <gtest/gtest.h>
#include <malloc.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "tests/hooks/totals.h"

namespace heldby::core {
namespace {

constexpr double kSigmas = 5;
constexpr std::uint64_t kMean = 64 * 1024;

// Exact counts, with the variance that sampling gives them.
struct Truth {
  double bytes = 0;
  double objects = 0;
  double variance_bytes = 0;
  double variance_objects = 0;

  void Add(std::size_t size, double sign = 1) {
    const double s = static_cast<double>(size);
    const double p = -std::expm1(-(s + 1) / static_cast<double>(kMean));
    bytes += sign * s;
    objects += sign;
    variance_bytes += sign * s * s * (1 - p) / p;
    variance_objects += sign * (1 - p) / p;
  }
};

struct Block {
  void* address = nullptr;
  std::size_t size = 0;
  std::function<void(void*, std::size_t)> release;
};

class Workload {
 public:
  // Preallocated, so that bookkeeping allocates nothing while it counts.
  Workload() { blocks_.reserve(200'000); }

  void Add(void* address, std::size_t size, std::function<void(void*, std::size_t)> release) {
    if (address == nullptr) return;
    total_.Add(size);
    live_.Add(size);
    blocks_.push_back({address, size, std::move(release)});
  }
  void Reallocated(Block& block, void* moved, std::size_t size) {
    total_.Add(size);
    live_.Add(block.size, -1);
    live_.Add(size);
    block.address = moved;
    block.size = size;
  }
  void ReleaseFrom(std::size_t first, std::size_t step) {
    for (std::size_t i = first; i < blocks_.size(); i += step) {
      Block& block = blocks_[i];
      if (block.address == nullptr) continue;
      block.release(block.address, block.size);
      live_.Add(block.size, -1);
      block.address = nullptr;
    }
  }
  std::vector<Block>& blocks() { return blocks_; }
  const Truth& total() const { return total_; }
  const Truth& live() const { return live_; }

 private:
  std::vector<Block> blocks_;
  Truth total_;
  Truth live_;
};

void ExpectWithinSigmas(const Totals& seen, const Workload& work) {
  const auto near = [](double estimate, double truth, double variance, const char* what) {
    EXPECT_NEAR(estimate, truth, kSigmas * std::sqrt(std::max(variance, 0.0)) + 1) << what;
  };
  near(seen.allocated_bytes, work.total().bytes, work.total().variance_bytes, "total bytes");
  near(seen.allocated_objects, work.total().objects, work.total().variance_objects,
       "total objects");
  near(seen.live_bytes, work.live().bytes, work.live().variance_bytes, "live bytes");
  near(seen.live_objects, work.live().objects, work.live().variance_objects, "live objects");
}

class Unbiased : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(heldby_core_v1()->describe_hooks().active)
        << HOOKS_WAY << ": " << heldby_core_v1()->describe_hooks().reason;
    ASSERT_TRUE(heldby_core_v1()->set_sample_bytes(kMean));
  }
  void TearDown() override { heldby_core_v1()->set_sample_bytes(512 * 1024); }

  // Runs `body`, compares; frees every other block, compares; frees the rest: exactly nothing.
  void Check(std::uint64_t seed, const std::function<void(Workload&)>& body) {
    auto work = std::make_unique<Workload>();
    std::thread worker([&] {
      heldby_core_v1()->seed_thread(seed);
      const Totals before = ReadTotals();
      body(*work);
      ExpectWithinSigmas(ReadTotals() - before, *work);
      work->ReleaseFrom(0, 2);
      ExpectWithinSigmas(ReadTotals() - before, *work);
      work->ReleaseFrom(1, 2);
      const Totals after = ReadTotals() - before;
      EXPECT_EQ(after.live_bytes, 0);
      EXPECT_EQ(after.live_objects, 0);
    });
    worker.join();
  }
};

const auto kFree = [](void* block, std::size_t) { free(block); };

TEST_F(Unbiased, MallocOfOneByteToSixtyFourMegabytes) {
  Check(1, [](Workload& work) {
    std::mt19937_64 random(11);
    for (int i = 0; i < 150'000; ++i) {
      const std::size_t size = 1 + random() % (i % 100 == 0 ? 40'000 : 600);
      work.Add(malloc(size), size, kFree);
    }
    for (std::size_t size = 1; size <= (64u << 20); size *= 2) {
      for (int i = 0; i < 4; ++i) work.Add(malloc(size), size, kFree);
    }
  });
}

TEST_F(Unbiased, CallocSmallAndLarge) {
  Check(2, [](Workload& work) {
    std::mt19937_64 random(12);
    for (int i = 0; i < 60'000; ++i) {
      const std::size_t count = 1 + random() % 50;
      const std::size_t size = 1 + random() % (i % 200 == 0 ? 20'000 : 30);
      work.Add(calloc(count, size), count * size, kFree);
    }
    for (int i = 0; i < 8; ++i) work.Add(calloc(1, 20 << 20), 20 << 20, kFree);
  });
}

TEST_F(Unbiased, ReallocChainsThatGrowAndShrink) {
  Check(3, [](Workload& work) {
    std::mt19937_64 random(13);
    for (int i = 0; i < 3000; ++i) work.Add(malloc(10), 10, kFree);
    for (int round = 0; round < 30; ++round) {
      for (Block& block : work.blocks()) {
        const std::size_t size = 1 + random() % (std::size_t{1} << (4 + round % 12));
        work.Reallocated(block, realloc(block.address, size), size);
      }
    }
    for (int i = 0; i < 200; ++i) {
      const std::size_t size = 1 + random() % (4u << 20);
      work.Reallocated(work.blocks()[static_cast<unsigned>(i)],
                       realloc(work.blocks()[static_cast<unsigned>(i)].address, size), size);
    }
  });
}

TEST_F(Unbiased, EveryAlignedForm) {
  Check(4, [](Workload& work) {
    std::mt19937_64 random(14);
    for (int i = 0; i < 30'000; ++i) {
      const std::size_t align = std::size_t{16} << (random() % 6);
      const std::size_t size = align * (1 + random() % 8);
      void* block = nullptr;
      work.Add(aligned_alloc(align, size), size, kFree);
      work.Add(memalign(align, size), size, kFree);
      if (posix_memalign(&block, align, size) == 0) work.Add(block, size, kFree);
    }
    for (int i = 0; i < 300; ++i) {
      const std::size_t size = 1 + random() % 20'000;
      work.Add(valloc(size), size, kFree);
    }
  });
}

TEST_F(Unbiased, EveryFormOfNewAndDelete) {
  Check(5, [](Workload& work) {
    std::mt19937_64 random(15);
    constexpr std::align_val_t kAlign{64};
    for (int i = 0; i < 10'000; ++i) {
      const std::size_t size = 1 + random() % (i % 100 == 0 ? 30'000 : 300);
      work.Add(operator new(size), size, [](void* p, std::size_t) { operator delete(p); });
      work.Add(operator new(size), size, [](void* p, std::size_t n) { operator delete(p, n); });
      work.Add(operator new[](size), size, [](void* p, std::size_t) { operator delete[](p); });
      work.Add(operator new[](size), size,
               [](void* p, std::size_t n) { operator delete[](p, n); });
      work.Add(operator new(size, std::nothrow), size,
               [](void* p, std::size_t) { operator delete(p, std::nothrow); });
      work.Add(operator new[](size, std::nothrow), size,
               [](void* p, std::size_t) { operator delete[](p, std::nothrow); });
      work.Add(operator new(size, kAlign), size,
               [](void* p, std::size_t) { operator delete(p, kAlign); });
      work.Add(operator new(size, kAlign), size,
               [](void* p, std::size_t n) { operator delete(p, n, kAlign); });
      work.Add(operator new[](size, kAlign), size,
               [](void* p, std::size_t n) { operator delete[](p, n, kAlign); });
      work.Add(operator new[](size, kAlign), size,
               [](void* p, std::size_t) { operator delete[](p, kAlign); });
      work.Add(operator new(size, kAlign, std::nothrow), size,
               [](void* p, std::size_t) { operator delete(p, kAlign, std::nothrow); });
      work.Add(operator new[](size, kAlign, std::nothrow), size,
               [](void* p, std::size_t) { operator delete[](p, kAlign, std::nothrow); });
    }
  });
}

// Ten thousand threads, one counted allocation each, freed by another thread.
TEST_F(Unbiased, ThreadsThatAllocateOnceAndAreFreedElsewhere) {
  constexpr int kThreads = 5000;
  constexpr std::size_t kSize = 32 * 1024;
  std::vector<void*> blocks(kThreads);
  Truth truth;
  const Totals before = ReadTotals();
  for (int i = 0; i < kThreads; ++i) {
    heldby_core_v1()->enter_self();  // std::thread's own state is not what is being counted
    std::thread thread([&, i] {
      heldby_core_v1()->seed_thread(1000 + static_cast<unsigned>(i));
      blocks[static_cast<unsigned>(i)] = malloc(kSize);
    });
    thread.join();
    heldby_core_v1()->leave_self();
    truth.Add(kSize);
  }
  const Totals seen = ReadTotals() - before;
  EXPECT_NEAR(seen.live_bytes, truth.bytes, kSigmas * std::sqrt(truth.variance_bytes));
  EXPECT_NEAR(seen.live_objects, truth.objects, kSigmas * std::sqrt(truth.variance_objects));
  std::thread([&] {
    for (void* block : blocks) free(block);
  }).join();
  EXPECT_EQ((ReadTotals() - before).live_bytes, 0);
}

TEST_F(Unbiased, ChangingTheDistanceLeavesWhatIsSampledAsItIs) {
  std::thread([] {
    heldby_core_v1()->seed_thread(77);
    std::array<void*, 2000> blocks;
    const Totals before = ReadTotals();
    for (void*& block : blocks) block = malloc(8192);
    const Totals sampled = ReadTotals() - before;
    heldby_core_v1()->set_sample_bytes(1 << 20);
    EXPECT_EQ((ReadTotals() - before).live_bytes, sampled.live_bytes);
    heldby_core_v1()->set_sample_bytes(0);
    for (void* block : blocks) free(block);
    EXPECT_EQ((ReadTotals() - before).live_bytes, 0);
    EXPECT_EQ((ReadTotals() - before).live_objects, 0);
  }).join();
}

}  // namespace
}  // namespace heldby::core
