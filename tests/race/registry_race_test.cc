#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/registry/registry.h"

namespace heldby::core {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 20'000;

template <typename Body>
void OnThreads(Body body) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&body, t] { body(t); });
  for (std::thread& thread : threads) thread.join();
}

// All fields of a record are one number: a copy that mixes two records up shows it.
struct Twin {
  RecordHead head;
  std::atomic<int> one;
  std::atomic<int> two;
};
using Twins = RecordTable<Twin, 4>;

std::uint32_t Make(Twins* table, int number) {
  return table->Make([number](Twin& twin) {
    twin.one.store(number, std::memory_order_relaxed);
    twin.two.store(number, std::memory_order_relaxed);
  });
}

TEST(RecordTableRace, AReaderNeverSeesHalfOfOneRecordAndHalfOfAnother) {
  auto table = std::make_unique<Twins>();
  std::atomic<bool> done{false};
  std::atomic<long> seen{0};
  std::thread reader([&] {
    while (!done.load()) {
      table->ForEach([&](std::uint32_t id, Twin& twin) {
        const int one = twin.one.load(std::memory_order_relaxed);
        const int two = twin.two.load(std::memory_order_relaxed);
        if (!table->StillIs(id)) return;
        ASSERT_EQ(one, two);
        seen.fetch_add(1, std::memory_order_relaxed);
      });
    }
  });
  OnThreads([&](int t) {
    for (int i = 0; i < kRounds; ++i) {
      const std::uint32_t id = Make(table.get(), i * kThreads + t);
      ASSERT_NE(id, 0u);
      ASSERT_TRUE(table->End(id));
    }
  });
  done = true;
  reader.join();
  EXPECT_LE(table->used_bytes(), kThreads * sizeof(Twin));
}

// Many refer to a record while its owner ends it: it is freed once, by the last of them.
TEST(RecordTableRace, TheLastReferenceFreesTheRecordAndOnlyOnce) {
  auto table = std::make_unique<Twins>();
  std::atomic<std::uint32_t> current{0};
  std::atomic<bool> done{false};
  std::thread owner([&] {
    for (int i = 0; i < kRounds; ++i) {
      const std::uint32_t id = Make(table.get(), i);
      current.store(id);
      if (i % 16 == 0) std::this_thread::yield();
      ASSERT_TRUE(table->End(id));
    }
    done = true;
  });
  OnThreads([&](int) {
    while (!done.load()) {
      const std::uint32_t id = current.load();
      if (!table->Ref(id)) continue;
      Twin& twin = table->Get(id);
      const int one = twin.one.load(std::memory_order_relaxed);
      ASSERT_TRUE(table->StillIs(id)) << "it is kept while referred to";
      ASSERT_EQ(one, twin.two.load(std::memory_order_relaxed));
      table->Unref(id);
    }
  });
  owner.join();
  int left = 0;
  table->ForEach([&](std::uint32_t, Twin&) { ++left; });
  EXPECT_EQ(left, 0);
  EXPECT_EQ(table->dropped(), 0u);
  std::vector<std::uint32_t> all;
  for (std::uint32_t i = 0; i < Twins::kSlots; ++i) all.push_back(Make(table.get(), 1));
  for (const std::uint32_t id : all) EXPECT_NE(id, 0u) << "a slot was lost";
  EXPECT_EQ(Make(table.get(), 1), 0u) << "a slot was on the free list twice";
}

TEST(RecordTableRace, OfManyEndsExactlyOneIsTheEnd) {
  auto table = std::make_unique<Twins>();
  for (int i = 0; i < 2000; ++i) {
    const std::uint32_t id = Make(table.get(), i);
    std::atomic<int> winners{0};
    OnThreads([&](int) {
      if (table->End(id)) winners.fetch_add(1);
    });
    ASSERT_EQ(winners.load(), 1);
  }
  EXPECT_EQ(table->used_bytes(), sizeof(Twin));
}

TEST(LabelTableRace, ASetHasOneIdHoweverManyThreadsBringIt) {
  auto table = std::make_unique<LabelTable>();
  std::vector<std::vector<std::uint32_t>> ids(kThreads);
  OnThreads([&](int t) {
    for (int i = 0; i < 3000; ++i) {
      const std::string value = std::to_string(i);
      const Label label = {"route", value.c_str()};
      ids[static_cast<std::size_t>(t)].push_back(table->Merge(0, &label, 1));
    }
  });
  for (int t = 1; t < kThreads; ++t) EXPECT_EQ(ids[static_cast<std::size_t>(t)], ids[0]);
}

TEST(RegistryRace, WhatIsHeldIsExactWhileHoldersComeAndGo) {
  auto registry = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  std::atomic<std::uint32_t> shared{registry->BeginTask({}, stacks.get())};
  OnThreads([&](int t) {
    for (int i = 0; i < kRounds; ++i) {
      Holder holder = {0, shared.load(), 0};
      registry->Hold(&holder, 64);
      if (i % 64 == t) {  // the next one takes over
        const std::uint32_t next = registry->BeginTask({}, stacks.get());
        registry->EndTask(shared.exchange(next));
      }
      registry->Release(holder, 64);
    }
  });
  EXPECT_EQ(registry->tasks.Get(shared.load()).held_bytes.load(), 0);
  int left = 0;
  registry->tasks.ForEach([&](std::uint32_t, TaskRecord&) { ++left; });
  EXPECT_EQ(left, 1) << "the one that is current";
}

// A piece ends on one thread while another ends the task and begins the next one in its slot.
TEST(RegistryRace, APieceThatEndsLateLeavesNothingToTheNextTask) {
  auto registry = std::make_unique<Registry>();
  auto stacks = std::make_unique<StackTable>();
  std::atomic<std::uint32_t> shared{registry->BeginTask({}, stacks.get())};
  OnThreads([&](int t) {
    for (int i = 0; i < kRounds; ++i) {
      const std::uint32_t task = shared.load();
      const Holder before = registry->EnterTask(task);
      registry->ParkTask(task, 0, nullptr);
      if (i % 16 == t)
        registry->EndTask(shared.exchange(registry->BeginTask({}, stacks.get())));
      registry->LeaveTask(task, before);
    }
  });
  registry->tasks.ForEach([&](std::uint32_t, TaskRecord& record) {
    EXPECT_FALSE(RunsOf::IsRunning(record.runs.load())) << "nobody is in it";
  });
}

}  // namespace
}  // namespace heldby::core
