#include "core/sampler/live_table.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

namespace heldby::core {
namespace {

LiveSample SampleOf(std::uint64_t size_bytes) {
  LiveSample sample;
  sample.size_bytes = size_bytes;
  sample.weight_bytes = size_bytes * 3;
  return sample;
}

TEST(LiveTable, EraseReturnsTheInsertedSampleExactlyOnce) {
  LiveTable table;
  ASSERT_TRUE(table.Insert(0x1000, SampleOf(7)));

  LiveSample sample;
  ASSERT_TRUE(table.Erase(0x1000, &sample));
  EXPECT_EQ(sample.size_bytes, 7u);
  EXPECT_EQ(sample.weight_bytes, 21u);
  EXPECT_FALSE(table.Erase(0x1000, &sample)) << "double free";
  EXPECT_EQ(table.live(), 0u);
}

// A service frees for months; slots must come back, not silt up.
TEST(LiveTable, ErasedSlotsAreReusedForever) {
  LiveTable table;
  LiveSample sample;
  for (std::uintptr_t address = 0x1000; address < 0x1000 + (std::uintptr_t{1} << 32);
       address += 0x1000) {
    ASSERT_TRUE(table.Insert(address, SampleOf(1)));
    ASSERT_TRUE(table.Erase(address, &sample));
  }
  EXPECT_EQ(table.dropped(), 0u);
  EXPECT_EQ(table.mapped_bytes(), 256u * 512) << "one level was enough";
}

TEST(LiveTable, AgreesWithAMapOverAMillionRandomSteps) {
  LiveTable table;
  std::map<std::uintptr_t, std::uint64_t> model;
  std::mt19937_64 random(20221);
  LiveSample sample;
  for (int step = 0; step < 1'000'000; ++step) {
    const std::uintptr_t address = (random() % 20'000 + 1) * 4096;
    if (const auto it = model.find(address); it != model.end()) {
      ASSERT_TRUE(table.Erase(address, &sample));
      ASSERT_EQ(sample.size_bytes, it->second);
      model.erase(it);
    } else {
      ASSERT_FALSE(table.Erase(address, &sample));
      const std::uint64_t size = random() % 1000;
      ASSERT_TRUE(table.Insert(address, SampleOf(size)));
      model[address] = size;
    }
  }
  std::map<std::uintptr_t, std::uint64_t> seen;
  table.Visit(
      [](void* context, std::uintptr_t address, const LiveSample& live) {
        (*static_cast<std::map<std::uintptr_t, std::uint64_t>*>(context))[address] =
            live.size_bytes;
      },
      &seen);
  EXPECT_EQ(seen, model);
}

// 200 bytes is the budget; addresses are page-aligned, as the hooks place them.
TEST(LiveTable, MemoryPerLiveSampleStaysWithinItsBudget) {
  LiveTable table;
  constexpr std::uint64_t kSamples = 500'000;
  for (std::uintptr_t i = 1; i <= kSamples; ++i) {
    ASSERT_TRUE(table.Insert(0x7f0000000000 + i * 4096, SampleOf(1)));
  }
  EXPECT_LE(table.mapped_bytes() / kSamples, 200u);
}

TEST(LiveTable, FullTableDropsCountsAndKeepsWhatItHas) {
  LiveTable table;
  std::uintptr_t address = 0x1000;
  std::uint64_t inserted = 0;
  for (; table.dropped() < 1000; address += 4096)
    inserted += table.Insert(address, SampleOf(1));
  EXPECT_GT(inserted, 1'500'000u);
  EXPECT_EQ(table.live(), inserted);

  LiveSample sample;
  std::uint64_t erased = 0;
  for (std::uintptr_t at = 0x1000; at < address; at += 4096) erased += table.Erase(at, &sample);
  EXPECT_EQ(erased, inserted);
  EXPECT_EQ(table.live(), 0u);
}

}  // namespace
}  // namespace heldby::core
