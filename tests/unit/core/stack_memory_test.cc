// What a walk may load: everything of the thread's own stack, nothing that is not there now.
#include "core/stack/stack_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <csignal>
#include <thread>
#include <vector>

namespace heldby::core {
namespace {

constexpr std::size_t kPage = 4096;

std::uintptr_t Here() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) & ~15ul;
}

void ExpectSane() {
  const std::uintptr_t here = Here();
  std::uint64_t value = 0;
  StackMemory memory(here);
  EXPECT_TRUE(memory.Load(here, &value));
  for (const std::uintptr_t nowhere :
       {std::uintptr_t{0}, std::uintptr_t{7}, std::uintptr_t{8}, ~std::uintptr_t{0},
        ~std::uintptr_t{0} - 7, ~std::uintptr_t{0} - 15, std::uintptr_t{0xffffffff80000000},
        std::uintptr_t{0xdeadbeefdeadbee8}}) {
    EXPECT_FALSE(memory.Load(nowhere, &value)) << std::hex << nowhere;
  }
}

TEST(StackMemory, LoadsFromTheOwnStackAndNothingFromNowhere) {
  ExpectSane();
  std::thread(&ExpectSane).join();
}

TEST(StackMemory, KnowsTheOwnStackToItsEndWithoutAskingAgain) {
  const std::uintptr_t here = Here();
  StackMemory memory(here);
  EXPECT_GT(thread_slot.stack_reach, kPage / 2);
  EXPECT_GT(thread_slot.stack_high, here);
}

// A stack that is not the thread's own: a fiber's, here just memory.
TEST(StackMemory, AStackThatWasMappedAnewInAnotherSizeIsNotTrusted) {
  constexpr std::size_t kBytes = 16 * kPage;
  // Room around it, so that what the kernel maps beside it does not matter.
  auto* room = static_cast<char*>(
      mmap(nullptr, 3 * kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  char* stack = room + kBytes;
  const auto map = [&](std::size_t bytes) {
    ASSERT_EQ(mmap(stack, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              stack);
  };
  const auto sp = reinterpret_cast<std::uintptr_t>(stack) + kPage + 512;
  const auto last = reinterpret_cast<std::uintptr_t>(stack) + kBytes - 8;
  std::uint64_t value = 0;
  map(kBytes);
  {
    StackMemory memory(sp);
    for (std::uintptr_t at = sp; at <= last; at += 8) EXPECT_TRUE(memory.Load(at, &value));
    EXPECT_FALSE(memory.Load(last + 8, &value));
  }
  ASSERT_EQ(mprotect(stack, kBytes, PROT_NONE), 0);
  map(kBytes - kPage);
  {
    StackMemory memory(sp);
    EXPECT_TRUE(memory.Load(sp, &value));
    EXPECT_TRUE(memory.Load(last - kPage, &value));
    EXPECT_FALSE(memory.Load(last, &value));
    EXPECT_TRUE(memory.Load(sp + kPage, &value));
  }
  munmap(room, 3 * kBytes);
}

// Downwards and upwards, page by page, as frames and saved registers lie.
TEST(StackMemory, PagesAskedForJoinInBothDirections) {
  auto* pages = static_cast<char*>(
      mmap(nullptr, 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (int i = 0; i < 8; ++i) *reinterpret_cast<std::uint64_t*>(pages + i * kPage) = 100u + i;
  StackMemory memory(Here());
  std::uint64_t value = 0;
  for (const int page : {4, 5, 3, 6, 2, 7, 1, 0, 7, 4}) {
    ASSERT_TRUE(memory.Load(reinterpret_cast<std::uintptr_t>(pages) + page * kPage, &value));
    EXPECT_EQ(value, 100u + static_cast<unsigned>(page));
  }
  munmap(pages, 8 * kPage);
}

}  // namespace
}  // namespace heldby::core
