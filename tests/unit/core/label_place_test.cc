#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/registry/label_table.h"
#include "core/registry/place_table.h"

namespace heldby::core {
namespace {

std::string TextOf(const LabelTable& table, std::uint32_t id) {
  std::string text;
  table.Visit(
      id,
      [](void* context, const char* key, const char* value) {
        *static_cast<std::string*>(context) += std::string(key) + "=" + value + ";";
      },
      &text);
  return text;
}

std::uint32_t Merge(LabelTable* table, std::uint32_t outer, const std::vector<Label>& labels) {
  return table->Merge(outer, labels.data(), static_cast<int>(labels.size()));
}

TEST(LabelTable, ASetIsSortedAndTheInnerValueWins) {
  auto table = std::make_unique<LabelTable>();
  const std::uint32_t outer = Merge(table.get(), 0, {{"route", "/a"}, {"app", "shop"}});
  EXPECT_EQ(TextOf(*table, outer), "app=shop;route=/a;");
  const std::uint32_t inner = Merge(table.get(), outer, {{"route", "/b"}, {"tenant", "x"}});
  EXPECT_EQ(TextOf(*table, inner), "app=shop;route=/b;tenant=x;");
  EXPECT_EQ(TextOf(*table, outer), "app=shop;route=/a;") << "the outer one is as it was";
}

TEST(LabelTable, TheSameSetHasTheSameIdHoweverItWasMade) {
  auto table = std::make_unique<LabelTable>();
  const std::uint32_t at_once = Merge(table.get(), 0, {{"a", "1"}, {"b", "2"}});
  const std::uint32_t by_steps =
      Merge(table.get(), Merge(table.get(), 0, {{"b", "2"}}), {{"a", "1"}});
  EXPECT_EQ(at_once, by_steps);
  EXPECT_NE(at_once, Merge(table.get(), 0, {{"a", "12"}, {"b", ""}}));
  EXPECT_EQ(Merge(table.get(), at_once, {}), at_once);
  EXPECT_EQ(Merge(table.get(), 0, {}), 0u);
  EXPECT_EQ(TextOf(*table, 0), "");
}

TEST(LabelTable, WhatIsTooLongOrTooMuchIsCut) {
  auto table = std::make_unique<LabelTable>();
  const std::string text(1000, 'x');
  const std::string cut(kMaxLabelBytes, 'x');
  EXPECT_EQ(TextOf(*table, Merge(table.get(), 0, {{text.c_str(), text.c_str()}})),
            cut + "=" + cut + ";");
  std::vector<std::string> keys;
  for (int i = 0; i < 20; ++i) keys.push_back("k" + std::to_string(10 + i));
  std::uint32_t id = 0;
  for (const std::string& key : keys) {
    id = Merge(table.get(), id, {{key.c_str(), text.c_str()}});
  }
  const std::string all = TextOf(*table, id);
  EXPECT_EQ(std::ranges::count(all, ';'), kMaxLabels);
  EXPECT_NE(all.find("k25="), std::string::npos);
  EXPECT_EQ(all.find("k26="), std::string::npos);
}

TEST(LabelTable, SetsBeyondItsCapacityAreOneThatSaysSo) {
  auto table = std::make_unique<LabelTable>();
  const std::uint32_t first = Merge(table.get(), 0, {{"route", "/first"}});
  EXPECT_NE(first, LabelTable::kOtherLabels);
  int sets = 0;
  for (; table->dropped() == 0 && sets < 1'000'000; ++sets) {
    Merge(table.get(), 0, {{"route", ("/" + std::to_string(sets)).c_str()}, {"tenant", "t"}});
  }
  EXPECT_GT(sets, 30'000);
  const std::uint32_t other = Merge(table.get(), 0, {{"route", std::string(100, 'x').c_str()}});
  EXPECT_EQ(other, LabelTable::kOtherLabels);
  EXPECT_EQ(TextOf(*table, other), "other=true;");
  EXPECT_EQ(Merge(table.get(), 0, {{"route", "/first"}}), first) << "what is there, stays";
}

TEST(PlaceTable, APlaceIsKeptOnceAndHasAnIdOfItsOwn) {
  auto table = std::make_unique<PlaceTable>();
  const Place first = {"name", "file.cc", "Function", 1};
  const std::uint32_t id = table->Intern(first);
  EXPECT_NE(id, 0u);
  EXPECT_EQ(table->Intern(first), id);
  EXPECT_EQ(table->Get(id), first);
  EXPECT_NE(table->Intern({"name", "file.cc", "Function", 2}), id);
  EXPECT_NE(table->Intern({"other", "file.cc", "Function", 1}), id);
  EXPECT_NE(table->Intern({"name", "other.cc", "Function", 1}), id);
  EXPECT_EQ(table->Get(0), Place{});
  EXPECT_EQ(table->Get(0xffffffff), Place{});
}

TEST(PlaceTable, OneBeyondTheLastIsNoneAndCountedAndTheOthersStay) {
  auto table = std::make_unique<PlaceTable>();
  std::uint32_t line = 0;
  std::set<std::uint32_t> ids;
  while (table->dropped() == 0 && line < 2 * PlaceTable::kCapacity) {
    ids.insert(table->Intern({"name", "file.cc", "Function", ++line}));
  }
  EXPECT_GT(line, PlaceTable::kCapacity / 2);
  EXPECT_TRUE(ids.contains(0)) << "the one that was dropped";
  EXPECT_EQ(table->Get(table->Intern({"name", "file.cc", "Function", 7})).line, 7u);
}

}  // namespace
}  // namespace heldby::core
