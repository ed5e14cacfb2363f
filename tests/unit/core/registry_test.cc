#include "core/registry/registry.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
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

TEST(RecordTable, PartsOfAWalkMeetEveryRecordOnce) {
  const auto table = std::make_unique<Notes<8>>();
  for (int i = 0; i < 10; ++i) Write(table.get(), i);
  for (const std::uint32_t part : {1u, 3u, 10u, 1000u, 0xffffffffu}) {
    std::vector<std::uint32_t> met;
    std::uint32_t next = 0;
    do {
      next = table->ForEachIn(next, part, [&](std::uint32_t id, Note&) { met.push_back(id); });
    } while (next != 0);
    EXPECT_EQ(met.size(), 10u) << part;
    EXPECT_EQ(std::set<std::uint32_t>(met.begin(), met.end()).size(), 10u) << part;
  }
  EXPECT_EQ(table->ForEachIn(500, 10, [](std::uint32_t, Note&) { FAIL(); }), 0u);
}

std::uint32_t OpenOne(Registry* registry, StackTable* stacks, int fd = -1) {
  return registry->OpenConnection(fd, /*outbound=*/false, /*implicit=*/false, 0, stacks);
}

TEST(RegistryTest, HeldBytesAreGivenBackToTheByteAndTheRecordWithThem) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  const std::uint32_t connection = OpenOne(mine.get(), stacks.get());
  const std::uint32_t task = mine->BeginTask({}, stacks.get());
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

TEST(ThreadTable, ReadsTheSlotOfALivingThreadAndOfNoOther) {
  auto table = std::make_unique<ThreadTable>();
  const Holder kept = std::exchange(thread_slot.holder, {3, 5, 7});
  thread_slot.tid = 0;
  table->ListSelf();
  ThreadSlot slot{};
  ASSERT_TRUE(table->Read(gettid(), &slot));
  EXPECT_EQ(slot.holder.task, 5u);
  EXPECT_FALSE(table->Read(gettid() + 1, &slot));
  thread_slot.holder = kept;

  std::int32_t ended = 0;
  std::thread([&] {
    table->ListSelf();
    ended = gettid();
    EXPECT_TRUE(table->Read(ended, &slot));
    thread_slot.tid = -1;  // its memory may serve another one
  }).join();
  EXPECT_FALSE(table->Read(ended, &slot));
}

TEST(ThreadTable, TenThousandShortThreadsLeaveRoomForTheNext) {
  auto table = std::make_unique<ThreadTable>();
  for (std::uint32_t i = 0; i < ThreadTable::kCapacity + 2000; ++i) {
    std::thread([&] {
      table->ListSelf();
      if (i % 1000 == 0) {
        ThreadSlot slot;
        EXPECT_TRUE(table->Read(gettid(), &slot)) << i;
      }
    }).join();
  }
  EXPECT_EQ(table->dropped(), 0u);
}

TEST(RegistryTest, ATaskComesToThreadsInPiecesAndBringsWhatItInherited) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  const Holder kept = std::exchange(thread_slot.holder, {11, 12, 13});
  const std::uint32_t task = mine->BeginTask({}, stacks.get());
  thread_slot.holder = {21, 22, 23};
  const Holder before = mine->EnterTask(task);
  EXPECT_EQ(thread_slot.holder.connection, 11u);
  EXPECT_EQ(thread_slot.holder.task, task);
  EXPECT_EQ(thread_slot.holder.labels, 13u);
  const auto runs = [&] { return mine->tasks.Get(task).runs.load(); };
  const std::uint32_t first = runs();
  EXPECT_TRUE(RunsOf::IsRunning(first));
  mine->LeaveTask(task, before);
  EXPECT_EQ(thread_slot.holder.task, 22u);
  EXPECT_FALSE(RunsOf::IsRunning(runs()));
  // One thread starts an operation; another completes it before the first has left.
  const Holder outer = mine->EnterTask(task);
  const Holder inner = mine->EnterTask(task);
  mine->LeaveTask(task, inner);
  EXPECT_TRUE(RunsOf::IsRunning(runs())) << "it is still on one of the two";
  mine->LeaveTask(task, outer);
  EXPECT_FALSE(RunsOf::IsRunning(runs()));
  EXPECT_GT(runs(), first) << "a reader is told that it ran meanwhile";
  EXPECT_EQ(mine->tasks.Get(task).parent.load(), 12u);

  mine->EndTask(task);
  const Holder still = mine->EnterTask(task);
  EXPECT_EQ(thread_slot.holder.task, 22u) << "one that has ended comes to no thread";
  mine->LeaveTask(task, still);
  thread_slot.holder = kept;
}

TEST(RegistryTest, OneTaskInSoManyHasTheStackThatMadeIt) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  thread_slot.tasks_begun = 0;
  int with_stack = 0;
  for (int i = 0; i < 640; ++i) {
    const std::uint32_t task = mine->BeginTask({.caller = 1}, stacks.get());
    if (mine->tasks.Get(task).stack.load() != 0) ++with_stack;
    if (i == 0) {
      EXPECT_EQ(with_stack, 1) << "the first of a thread";
    }
  }
  EXPECT_EQ(with_stack, 10);
}

TEST(RegistryTest, TenMillionThatCameAndWentLeaveNothingBehind) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  for (int i = 0; i < 10'000'000; ++i) mine->EndTask(mine->BeginTask({}, stacks.get()));
  for (int i = 0; i < 100'000; ++i) mine->EndConnection(OpenOne(mine.get(), stacks.get()));
  EXPECT_EQ(mine->tasks.used_bytes(), sizeof(TaskRecord)) << "one slot, again and again";
  EXPECT_EQ(mine->connections.used_bytes(), sizeof(ConnectionRecord));
  EXPECT_EQ(mine->tasks.dropped() + mine->connections.dropped(), 0u);
  int left = 0;
  mine->tasks.ForEach([&](std::uint32_t, TaskRecord&) { ++left; });
  mine->connections.ForEach([&](std::uint32_t, ConnectionRecord&) { ++left; });
  EXPECT_EQ(left, 0);
}

TEST(RegistryTest, AChildBeginsWithoutConnectionsTasksAndHolder) {
  auto mine = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  const std::uint32_t id = OpenOne(mine.get(), stacks.get());
  const std::uint32_t task = mine->BeginTask({}, stacks.get());
  thread_slot.holder = {id, task, 3};
  mine->BeginAnewInChild();
  EXPECT_EQ(mine->connections.Open(id), nullptr);
  EXPECT_EQ(mine->tasks.Open(task), nullptr);
  EXPECT_EQ(thread_slot.holder.connection, 0u);
  EXPECT_EQ(thread_slot.holder.labels, 0u);
}

}  // namespace
}  // namespace heldby::core
