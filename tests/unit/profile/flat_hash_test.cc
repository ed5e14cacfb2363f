#include "profile/flat_hash.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace heldby {
namespace {

bool memory_is_out = false;

template <typename T>
struct Scarce {
  using value_type = T;
  Scarce() = default;
  template <typename U>
  explicit Scarce(const Scarce<U>&) {}
  T* allocate(std::size_t count) {
    if (memory_is_out) throw std::bad_alloc();
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* at, std::size_t count) { std::allocator<T>().deallocate(at, count); }
  bool operator==(const Scarce&) const { return true; }
};

using Table = GrowsAside<absl::flat_hash_map<int, std::string, std::hash<int>, std::equal_to<>,
                                             Scarce<std::pair<const int, std::string>>>>;

std::string TextOf(int key) {
  return "a text that is not kept inside the string " + std::to_string(key);
}

TEST(FlatHash, ATableThatCannotGrowIsWhatItWas) {
  int failures = 0;
  Table table;
  for (int key = 0; key < 10'000; ++key) {
    memory_is_out = true;
    bool is_in = false;
    try {
      is_in = table.try_emplace(key, TextOf(key)).second;
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    memory_is_out = false;
    ASSERT_EQ(table.size(), static_cast<std::size_t>(key + is_in));
    if (!is_in) table[key] = TextOf(key);
  }
  EXPECT_GT(failures, 5);
  for (int key = 0; key < 10'000; ++key) ASSERT_EQ(table.at(key), TextOf(key));
}

TEST(FlatHash, AnEmptyTableThatCannotGrowEndsWell) {
  memory_is_out = true;
  for (int way = 0; way < 4; ++way) {
    Table table;
    EXPECT_THROW(
        {
          if (way == 0) table.reserve(100);
          if (way == 1) table[1] = "one";
          if (way == 2) table.insert({1, "one"});
          if (way == 3) table.emplace(1, "one");
        },
        std::bad_alloc);
    EXPECT_TRUE(table.empty());
  }
  memory_is_out = false;
}

TEST(FlatHash, ATableThatLosesAsManyAsItGetsNeedsNoMemory) {
  Table table;
  for (int key = 0; key < 15; ++key) table[key] = TextOf(key);
  memory_is_out = true;
  for (int key = 15; key < 5'000; ++key) {
    table.erase(key - 15);
    ASSERT_NO_THROW(table[key] = "short") << key;
  }
  memory_is_out = false;
  EXPECT_EQ(table.size(), 15u);
}

}  // namespace
}  // namespace heldby
