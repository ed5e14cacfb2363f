#include "core/stack/stack_table.h"

#include <gtest/gtest.h>

#include <memory>

namespace heldby::core {
namespace {

Stack StackOf(std::initializer_list<std::uintptr_t> frames) {
  Stack stack{};
  for (std::uintptr_t frame : frames) stack.frames[stack.depth++] = frame;
  return stack;
}

TEST(StackTable, EqualStacksShareAnIdAndOthersDoNot) {
  auto table = std::make_unique<StackTable>();
  const StackId id = table->Intern(StackOf({1, 2, 3}));
  EXPECT_NE(id, StackId::kNoStack);
  EXPECT_EQ(table->Intern(StackOf({1, 2, 3})), id);
  EXPECT_NE(table->Intern(StackOf({1, 2})), id);
  EXPECT_NE(table->Intern(StackOf({3, 2, 1})), id);
  Stack cut = StackOf({1, 2, 3});
  cut.truncated = true;
  EXPECT_NE(table->Intern(cut), id) << "a truncated stack is another stack";
}

TEST(StackTable, EqualAddressesInDifferentModulesAreDifferentStacks) {
  auto table = std::make_unique<StackTable>();
  Stack stack = StackOf({1, 2});
  const StackId id = table->Intern(stack);
  stack.modules[1] = 77;
  const StackId other = table->Intern(stack);
  EXPECT_NE(other, id);
  EXPECT_EQ(table->Get(other).modules()[1], 77);
}

TEST(StackTable, GivesBackTheFramesItWasGiven) {
  auto table = std::make_unique<StackTable>();
  const StackId id = table->Intern(StackOf({0x10, 0x20, 0x30}));
  const StackRecord& record = table->Get(id);
  ASSERT_EQ(record.depth, 3);
  EXPECT_EQ(record.frames[0], 0x10u);
  EXPECT_EQ(record.frames[2], 0x30u);
  EXPECT_FALSE(record.truncated);
}

TEST(StackTable, FullTableDropsCountsAndStillFindsOldStacks) {
  auto table = std::make_unique<StackTable>();
  Stack stack{};
  stack.depth = kMaxStackDepth;
  for (int i = 0; i < kMaxStackDepth; ++i) stack.frames[i] = 0x1000u + i;
  const StackId first = table->Intern(stack);
  std::uint64_t interned = 1;
  for (; table->dropped() == 0; ++interned) {
    stack.frames[0] = 0x100000 + interned;
    table->Intern(stack);
  }
  EXPECT_GT(interned, 25'000u);
  EXPECT_EQ(table->Intern(stack), StackId::kNoStack);
  stack.frames[0] = 0x1000;
  EXPECT_EQ(table->Intern(stack), first);
}

}  // namespace
}  // namespace heldby::core
