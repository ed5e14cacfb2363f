#include "core/registry/registry.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace heldby::core {
namespace {

struct Note {
  RecordHead head;
  std::atomic<int> number;
};

template <unsigned kSlotBits>
using Notes = RecordTable<Note, kSlotBits>;

template <typename Table>
std::uint32_t Write(Table* table, int number) {
  return table->Make(
      [number](Note& note) { note.number.store(number, std::memory_order_relaxed); });
}

template <typename Table>
std::vector<int> NumbersIn(Table* table) {
  std::vector<int> numbers;
  table->ForEach([&](std::uint32_t, Note& note) { numbers.push_back(note.number.load()); });
  return numbers;
}

TEST(RecordTable, EveryRecordHasAnIdOfItsOwnThatIsNotZero) {
  auto table = std::make_unique<Notes<8>>();
  std::set<std::uint32_t> ids;
  for (int round = 0; round < 1000; ++round) {
    const std::uint32_t id = Write(table.get(), round);
    ASSERT_NE(id, 0u);
    ASSERT_TRUE(ids.insert(id).second) << "an id came again in round " << round;
    if (round % 10 != 0) {
      ASSERT_TRUE(table->End(id));
    }
  }
  EXPECT_EQ(NumbersIn(table.get()).size(), 100u);
}

TEST(RecordTable, AnEndedRecordStaysWhileSomethingRefersToIt) {
  auto table = std::make_unique<Notes<8>>();
  const std::uint32_t id = Write(table.get(), 7);
  ASSERT_TRUE(table->Ref(id));
  EXPECT_TRUE(table->End(id));
  EXPECT_FALSE(table->End(id)) << "it has ended only once";
  EXPECT_EQ(table->Open(id), nullptr);
  EXPECT_EQ(NumbersIn(table.get()), std::vector<int>{7});
  EXPECT_TRUE(table->Ref(id)) << "a second sample of the same holder";
  table->Unref(id);
  EXPECT_EQ(NumbersIn(table.get()), std::vector<int>{7});
  table->Unref(id);
  EXPECT_TRUE(NumbersIn(table.get()).empty());
  EXPECT_FALSE(table->Ref(id)) << "it is gone";
}

TEST(RecordTable, AnIdOfTheOneBeforeNeverReachesTheNextInTheSameSlot) {
  auto table = std::make_unique<Notes<1>>();
  std::uint32_t before = Write(table.get(), 0);
  ASSERT_TRUE(table->End(before));
  for (int i = 1; i < 10'000; ++i) {
    const std::uint32_t now = Write(table.get(), i);
    ASSERT_EQ(table->Open(before), nullptr);
    ASSERT_FALSE(table->Ref(before));
    ASSERT_FALSE(table->End(before));
    ASSERT_FALSE(table->StillIs(before));
    ASSERT_EQ(table->Get(now).number.load(), i);
    ASSERT_TRUE(table->End(now));
    before = now;
  }
}

TEST(RecordTable, AFullTableCountsWhatItTurnsAwayAndServesAgainWhenOneLeaves) {
  auto table = std::make_unique<Notes<2>>();
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(Write(table.get(), i));
  EXPECT_EQ(Write(table.get(), 4), 0u);
  EXPECT_EQ(Write(table.get(), 5), 0u);
  EXPECT_EQ(table->dropped(), 2u);
  EXPECT_EQ(table->used_bytes(), 4 * sizeof(Note));
  EXPECT_TRUE(table->End(ids[2]));
  EXPECT_NE(Write(table.get(), 6), 0u);
  EXPECT_EQ(NumbersIn(table.get()), (std::vector<int>{0, 1, 6, 3}));
}

// 28 bits of slot leave 4 for the generation: it wraps every 16 records of a slot.
TEST(RecordTable, AGenerationThatWrapsGivesNoIdThatIsZero) {
  auto table = std::make_unique<Notes<28>>();
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t id = Write(table.get(), i);
    ASSERT_NE(id, 0u);
    ASSERT_EQ(NumbersIn(table.get()), std::vector<int>{i});
    ASSERT_TRUE(table->End(id));
  }
}

TEST(RecordTable, IdsOfNobodyAreNobody) {
  auto table = std::make_unique<Notes<8>>();
  EXPECT_EQ(table->Open(0), nullptr);
  EXPECT_FALSE(table->End(0));
  EXPECT_FALSE(table->Ref(12345));
  EXPECT_TRUE(NumbersIn(table.get()).empty()) << "nothing has been mapped yet";
  Write(table.get(), 1);
  EXPECT_FALSE(table->End(0));
  EXPECT_FALSE(table->Ref(0));
}

TEST(RecordTable, EndAllLeavesOnlyWhatIsReferredTo) {
  auto table = std::make_unique<Notes<8>>();
  Write(table.get(), 1);
  const std::uint32_t held = Write(table.get(), 2);
  Write(table.get(), 3);
  ASSERT_TRUE(table->Ref(held));
  table->EndAll();
  EXPECT_EQ(NumbersIn(table.get()), std::vector<int>{2});
  EXPECT_EQ(table->Open(held), nullptr);
  table->Unref(held);
  EXPECT_TRUE(NumbersIn(table.get()).empty());
}

TEST(RecordTable, ChurnUsesOneSlotHoweverLongItGoesOn) {
  auto table = std::make_unique<Notes<20>>();
  for (int i = 0; i < 1'000'000; ++i) ASSERT_TRUE(table->End(Write(table.get(), i)));
  EXPECT_EQ(table->used_bytes(), sizeof(Note));
  EXPECT_EQ(table->dropped(), 0u);
}

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

std::uint32_t OpenOne(Registry* registry, StackTable* stacks, int fd = -1) {
  return registry->OpenConnection(fd, /*outbound=*/false, /*implicit=*/false, 0, stacks);
}

TEST(RegistryTest, HeldBytesAreGivenBackToTheByteAndTheRecordWithThem) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  const std::uint32_t connection = OpenOne(mine.get(), stacks.get());
  const std::uint32_t task = mine->BeginTask({.name = "t"});
  std::vector<Holder> held;
  for (std::uint64_t bytes = 1; bytes <= 100; ++bytes) {
    Holder holder = {connection, task, 0};
    mine->Hold(&holder, bytes);
    EXPECT_EQ(holder.connection, connection);
    held.push_back(holder);
  }
  EXPECT_EQ(mine->connections.Get(connection).held_bytes.load(), 5050);
  EXPECT_EQ(mine->tasks.Get(task).held_bytes.load(), 5050);
  mine->EndConnection(connection);
  mine->EndTask(task);
  for (std::uint64_t bytes = 1; bytes <= 100; ++bytes) {
    EXPECT_TRUE(mine->connections.StillIs(connection));
    EXPECT_EQ(mine->connections.Get(connection).head.phase.load(), Phase::kEnded);
    mine->Release(held[bytes - 1], bytes);
  }
  EXPECT_EQ(mine->connections.Get(connection).held_bytes.load(), 0);
  EXPECT_EQ(mine->connections.Get(connection).head.phase.load(), Phase::kFree);
  EXPECT_EQ(mine->tasks.Get(task).head.phase.load(), Phase::kFree);
}

TEST(RegistryTest, AHolderThatIsGoneHoldsNothing) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  const std::uint32_t gone = OpenOne(mine.get(), stacks.get());
  mine->EndConnection(gone);
  const std::uint32_t next = OpenOne(mine.get(), stacks.get());
  Holder holder = {gone, 0, 5};
  mine->Hold(&holder, 1000);
  EXPECT_EQ(holder.connection, 0u);
  EXPECT_EQ(holder.labels, 5u) << "labels do not end";
  EXPECT_EQ(mine->connections.Get(next).held_bytes.load(), 0) << "the next in its slot";
}

TEST(RegistryTest, AnEndedConnectionThatHoldsMemoryKeepsItsPeer) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const std::uint32_t id = OpenOne(mine.get(), stacks.get(), ends[0]);
  EXPECT_NE(mine->connections.Get(id).cookie.load(), 0u);
  Holder holder = {id, 0, 0};
  mine->Hold(&holder, 10);
  mine->EndConnection(id);
  EXPECT_NE(mine->connections.Get(id).peer[0].load(), 0u);
  mine->Release(holder, 10);
  close(ends[0]);
  close(ends[1]);
}

TEST(RegistryTest, AChildBeginsWithoutConnectionsTasksAndHolder) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  const std::uint32_t id = OpenOne(mine.get(), stacks.get());
  const std::uint32_t task = mine->BeginTask({.name = "t"});
  thread_slot.holder = {id, task, 3};
  mine->BeginAnewInChild();
  EXPECT_EQ(mine->connections.Open(id), nullptr);
  EXPECT_EQ(mine->tasks.Open(task), nullptr);
  EXPECT_EQ(thread_slot.holder.connection, 0u);
  EXPECT_EQ(thread_slot.holder.labels, 0u);
}

}  // namespace
}  // namespace heldby::core
