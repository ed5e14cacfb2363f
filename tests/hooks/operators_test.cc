// operator new and delete, as the language promises them, while every allocation is a sample.
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/hooks/totals.h"

namespace heldby::core {
namespace {

class Operators : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(heldby_core_v1()->set_sample_bytes(1)); }
  void TearDown() override { heldby_core_v1()->set_sample_bytes(512 * 1024); }
};

volatile std::size_t impossible = PTRDIFF_MAX - 4096;

// Debian's mimalloc is compiled as C: its operator new aborts where others throw. So it does
// without us, and so it must with us.
bool AllocatorCannotThrow() { return std::string_view(HOOKS_WAY) == "mimalloc"; }

TEST_F(Operators, ImpossibleNewThrowsBadAlloc) {
  if (AllocatorCannotThrow()) {
    EXPECT_DEATH((void)operator new(impossible), "");
    return;
  }
  EXPECT_THROW((void)operator new(impossible), std::bad_alloc);
  EXPECT_THROW((void)operator new[](impossible), std::bad_alloc);
  EXPECT_THROW((void)operator new (impossible, std::align_val_t{64}), std::bad_alloc);
}

TEST_F(Operators, ImpossibleNothrowNewReturnsNull) {
  EXPECT_EQ(operator new(impossible, std::nothrow), nullptr);
  EXPECT_EQ(operator new[](impossible, std::nothrow), nullptr);
  EXPECT_EQ(operator new (impossible, std::align_val_t{64}, std::nothrow), nullptr);
}

int handler_calls = 0;

TEST_F(Operators, TheNewHandlerIsAskedBeforeGivingUp) {
  if (AllocatorCannotThrow()) {
    EXPECT_DEATH((void)operator new[](impossible), "");
    return;
  }
  handler_calls = 0;
  std::set_new_handler([] {
    if (++handler_calls == 3) std::set_new_handler(nullptr);
  });
  EXPECT_THROW((void)operator new(impossible), std::bad_alloc);
  EXPECT_EQ(handler_calls, 3);
}

TEST_F(Operators, ZeroBytesHaveAnAddress) {
  void* a = operator new(0);
  void* b = operator new(0);
  EXPECT_NE(a, nullptr);
  EXPECT_NE(a, b);
  operator delete (a, std::size_t{0});
  operator delete(b);
}

// Sized deletes are the trap of page-aligned samples: the size class the host names is not the
// one the block is of. Blocks must come back clean to the allocator.
TEST_F(Operators, SizedDeletesOfSamplesDoNotCorruptTheAllocator) {
  std::vector<std::pair<char*, std::size_t>> blocks;
  for (int round = 0; round < 50; ++round) {
    for (std::size_t size = 1; size < 3000; size += 61) {
      auto* block = static_cast<char*>(operator new(size));
      for (std::size_t i = 0; i < size; ++i) block[i] = static_cast<char>(size);
      blocks.emplace_back(block, size);
    }
    for (auto& [block, size] : blocks) {
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(block[i], static_cast<char>(size));
    }
    for (std::size_t i = round % 2; i < blocks.size(); i += 2) {
      operator delete(blocks[i].first, blocks[i].second);
      blocks[i] = blocks.back();
      blocks.pop_back();
    }
  }
  for (auto& [block, size] : blocks) operator delete(block, size);
}

int Thrower(int depth) {
  std::string ballast(static_cast<std::size_t>(depth) * 10, 'x');
  if (depth == 0)
    throw std::runtime_error("a message long enough to be on the heap, not inside");
  return Thrower(depth - 1) + static_cast<int>(ballast.size());
}

TEST_F(Operators, AHundredThousandExceptionsAreThrownAndCaughtUnderDistanceOne) {
  int caught = 0;
  for (int i = 0; i < 100'000; ++i) {
    try {
      Thrower(i % 5);
    } catch (const std::runtime_error&) {
      ++caught;
    }
  }
  EXPECT_EQ(caught, 100'000);
}

}  // namespace
}  // namespace heldby::core
