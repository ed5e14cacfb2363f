#include "core/sampler/site_table.h"

#include <gtest/gtest.h>

#include <memory>

namespace heldby::core {
namespace {

TEST(SizeClassBytes, MatchesTheNumbersOfItsComment) {
  EXPECT_EQ(SizeClassBytes(0), 16u);
  EXPECT_EQ(SizeClassBytes(16), 16u);
  EXPECT_EQ(SizeClassBytes(100), 104u);
  EXPECT_EQ(SizeClassBytes(129), 144u);
  EXPECT_EQ(SizeClassBytes(1000), 1024u);
  EXPECT_EQ(SizeClassBytes(1100), 1152u);
}

TEST(SizeClassBytes, IsNeverBelowAndAtMostAnEighthAboveTheSize) {
  for (std::uint64_t size = 17; size < (std::uint64_t{1} << 40); size += 1 + size / 97) {
    const std::uint64_t size_class = SizeClassBytes(size);
    ASSERT_GE(size_class, size);
    ASSERT_LE(size_class, size + std::max<std::uint64_t>(8, size / 8 + 1)) << size;
    ASSERT_EQ(SizeClassBytes(size_class), size_class) << "a class is its own class";
  }
}

TEST(SiteTable, TotalsOfASiteAreWhatWasAddedAndFreed) {
  auto table = std::make_unique<SiteTable>();
  const SiteId site = table->Find(StackId{5}, 100, 0);
  EXPECT_EQ(table->Find(StackId{5}, 104, 0), site) << "same size class";
  EXPECT_NE(table->Find(StackId{5}, 105, 0), site);
  EXPECT_NE(table->Find(StackId{6}, 100, 0), site);
  EXPECT_NE(table->Find(StackId{5}, 100, 9), site) << "other labels";

  table->AddAllocated(site, 1000, 10);
  table->AddAllocated(site, 500, 5);
  table->AddFreed(site, 1000, 10);

  SiteTotals found;
  table->Visit(
      [](void* context, SiteId, const SiteTable::Key& key, const SiteTotals& totals) {
        EXPECT_EQ(key.stack, StackId{5});
        EXPECT_EQ(key.size_class_bytes, 104u);
        *static_cast<SiteTotals*>(context) = totals;
      },
      &found);
  EXPECT_EQ(found.allocated_bytes, 1500u);
  EXPECT_EQ(found.freed_bytes, 1000u);
  EXPECT_EQ(found.allocated_objects, 15u);
  EXPECT_EQ(found.freed_objects, 10u);
}

TEST(SiteTable, SitesBeyondItsCapacityAreCountedTogetherUnderNoStack) {
  auto table = std::make_unique<SiteTable>();
  std::uint32_t stack = 1;
  for (; table->dropped() == 0; ++stack) table->Find(StackId{stack}, 16, 0);
  EXPECT_GT(stack, 250'000u);
  const SiteId other = table->Find(StackId{stack + 1}, 16, 0);
  EXPECT_EQ(other, SiteId{0});
  table->AddAllocated(other, 64, 4096);
  std::uint64_t without_stack = 0;
  table->Visit(
      [](void* context, SiteId, const SiteTable::Key& key, const SiteTotals& totals) {
        if (key.stack == StackId::kNoStack)
          *static_cast<std::uint64_t*>(context) = totals.allocated_bytes;
      },
      &without_stack);
  EXPECT_EQ(without_stack, 64u);
}

}  // namespace
}  // namespace heldby::core
