#include "core/base/page_arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

namespace heldby::core {
namespace {

TEST(PageArena, BlocksAreZeroedDistinctAndStayWhereTheyAre) {
  PageArena<1 << 16> arena;
  std::set<std::uint32_t> offsets;
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t at = arena.Allocate(24);
    ASSERT_NE(at, 0u);
    EXPECT_TRUE(offsets.insert(at).second);
    auto* block = static_cast<unsigned char*>(arena.At(at));
    for (int byte = 0; byte < 24; ++byte) ASSERT_EQ(block[byte], 0);
    std::memset(block, 0xff, 24);
  }
}

TEST(PageArena, RefusesPastItsCapacityAndGoesOnServingWhatStillFits) {
  PageArena<4096> arena;
  EXPECT_NE(arena.Allocate(4000), 0u);
  EXPECT_EQ(arena.Allocate(200), 0u);
  EXPECT_NE(arena.Allocate(64), 0u);
}

}  // namespace
}  // namespace heldby::core
