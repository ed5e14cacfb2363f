// The malloc family keeps its contract while every allocation is a sample (distance 1).
#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/hooks/totals.h"

extern "C" {
__attribute__((weak)) void* mallocx(std::size_t, int);
__attribute__((weak)) void sdallocx(void*, std::size_t, int);
}

namespace heldby::core {
namespace {

class Entries : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(heldby_core_v1()->set_sample_bytes(1));
    heldby_core_v1()->seed_thread(1);
  }
  void TearDown() override { heldby_core_v1()->set_sample_bytes(512 * 1024); }

  static constexpr std::size_t kTooMuch = PTRDIFF_MAX - 100;
};

TEST_F(Entries, ImpossibleSizesFailAsEverAndLeaveNoSample) {
  const Totals before = ReadTotals();
  volatile std::size_t much = kTooMuch;
  errno = 0;
  EXPECT_EQ(malloc(much), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(calloc(much, 16),
            nullptr);  // errno: tcmalloc and mimalloc leave it, glibc does not
  void* block = malloc(10);
  errno = 0;
  EXPECT_EQ(reallocarray(block, much, 16), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(realloc(block, much), nullptr);
  void* out = nullptr;
  EXPECT_EQ(posix_memalign(&out, 64, much), ENOMEM);
  EXPECT_EQ((ReadTotals() - before).live_bytes, 10) << "the block that realloc left alone";
  free(block);
  EXPECT_EQ((ReadTotals() - before).live_bytes, 0);
}

TEST_F(Entries, PosixMemalignRejectsABadAlignmentAsEver) {
  void* out = nullptr;
  EXPECT_EQ(posix_memalign(&out, 3, 100), EINVAL);
  EXPECT_EQ(posix_memalign(&out, 24, 100), EINVAL);
}

TEST_F(Entries, AlignmentIsKept) {
  for (std::size_t align = 16; align <= (1u << 20); align *= 2) {
    void* blocks[3] = {aligned_alloc(align, align), memalign(align, 100), nullptr};
    ASSERT_EQ(posix_memalign(&blocks[2], align, 10), 0);
    for (void* block : blocks) {
      ASSERT_NE(block, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % align, 0u);
      free(block);
    }
  }
}

TEST_F(Entries, CallocIsZeroedWhateverTheBlockHeldBefore) {
  for (const std::size_t size : {1ul, 100ul, 5000ul, 300'000ul, 2'000'000ul, 40'000'000ul}) {
    for (int i = 0; i < 3; ++i) {
      auto* dirty = static_cast<unsigned char*>(malloc(size));
      memset(dirty, 0xab, size);
      free(dirty);
      auto* block = static_cast<unsigned char*>(calloc(1, size));
      ASSERT_NE(block, nullptr);
      for (std::size_t at = 0; at < size; ++at) ASSERT_EQ(block[at], 0) << size;
      free(block);
    }
  }
}

TEST_F(Entries, ReallocKeepsTheContents) {
  auto* block = static_cast<unsigned char*>(malloc(1));
  block[0] = 0;
  std::size_t size = 1;
  for (const std::size_t next_size :
       {10ul, 100ul, 5000ul, 4096ul, 200'000ul, 3'000'000ul, 50'000'000ul, 1000ul, 7ul}) {
    block = static_cast<unsigned char*>(realloc(block, next_size));
    ASSERT_NE(block, nullptr);
    for (std::size_t at = 0; at < std::min(size, next_size); ++at) {
      ASSERT_EQ(block[at], static_cast<unsigned char>(at % 251));
    }
    for (std::size_t at = 0; at < next_size; ++at)
      block[at] = static_cast<unsigned char>(at % 251);
    size = next_size;
  }
  free(block);
}

TEST_F(Entries, UsableSizeIsAtLeastWhatWasAskedFor) {
  for (std::size_t size = 0; size < 10'000; size += 37) {
    void* block = malloc(size);
    EXPECT_GE(malloc_usable_size(block), size);
    memset(block, 1, malloc_usable_size(block));
    free(block);
  }
}

TEST_F(Entries, NullAndZeroAreHandledAsEver) {
  free(nullptr);
  EXPECT_EQ(malloc_usable_size(nullptr), 0u);
  void* zero = malloc(0);
  EXPECT_NE(zero, nullptr);
  free(zero);
  void* fresh = realloc(nullptr, 10);
  EXPECT_NE(fresh, nullptr);
  free(fresh);
}

TEST_F(Entries, FreeKeepsErrno) {
  void* block = malloc(100);
  errno = 4711;
  free(block);
  EXPECT_EQ(errno, 4711);
}

// jemalloc's sized free on a block that malloc placed at a page boundary for the sampler.
TEST_F(Entries, ASizedFreeOfASampleIsAPlainFree) {
  const Totals before = ReadTotals();
  if (mallocx == nullptr)
    return;  // only jemalloc has the call; the other ways have no such risk
  for (int i = 0; i < 100'000; ++i) sdallocx(malloc(16), 16, 0);
  EXPECT_EQ((ReadTotals() - before).live_bytes, 0);
}

TEST_F(Entries, ThreadsAllocatingInTheirLastMomentsAreCounted) {
  struct Last {
    ~Last() { free(malloc(100)); }
  };
  const Totals before = ReadTotals();
  for (int i = 0; i < 1000; ++i) {
    heldby_core_v1()->enter_self();
    std::thread thread([] {
      heldby_core_v1()->seed_thread(9);
      static thread_local Last last;
      (void)last;
    });
    thread.join();
    heldby_core_v1()->leave_self();
  }
  EXPECT_GE((ReadTotals() - before).allocated_objects, 1000);
}

// Threads allocate without pause; the children allocate, free what the parent made, and exit.
TEST_F(Entries, ForkUnderLoadLeavesBothSidesWorking) {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!done.load()) free(malloc(1000));
    });
  }
  for (int i = 0; i < 300; ++i) {
    std::vector<void*> inherited;
    for (int k = 0; k < 10; ++k) inherited.push_back(malloc(100));
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (void* block : inherited) free(block);
      for (int k = 0; k < 100; ++k) free(malloc(static_cast<std::size_t>(k) * 50));
      _exit(0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    for (void* block : inherited) free(block);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace heldby::core
