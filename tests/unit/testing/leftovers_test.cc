// heldby/leftovers.h over the real core.
#include "heldby/leftovers.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "heldby/connection.h"
#include "heldby/heap.h"
#include "heldby/labels.h"
#include "heldby/task.h"

namespace heldby {
namespace {

Leftovers Since(const Checkpoint& before, const LeftoverOptions& options = {}) {
  auto left = LeftoversSince(before, options);
  EXPECT_TRUE(left) << left.status().message();
  return left ? *std::move(left) : Leftovers();
}

TEST(Leftovers, AreWhatIsThereNowAndWasNotThen) {
  const AsyncTask old("old");
  const Checkpoint before;
  EXPECT_TRUE(Since(before).items.empty());
  {
    const AsyncTask fresh("fresh");
    const Leftovers left = Since(before);
    ASSERT_EQ(left.items.size(), 1u) << left.Text();
    EXPECT_EQ(left.items[0].kind, LeftoverKind::kTask);
    EXPECT_EQ(left.items[0].name, "fresh");
  }
  EXPECT_TRUE(Since(before).items.empty());
  EXPECT_EQ(Since(before).Text(), "");
}

TEST(Leftovers, OfEachKindAreLeftOutWhenAsked) {
  const Checkpoint before;
  const AsyncTask task("fresh");
  const Connection connection(-1, Direction::kInbound);
  EXPECT_EQ(Since(before).items.size(), 2u);
  EXPECT_EQ(Since(before, {.connections = false}).items.size(), 1u);
  EXPECT_EQ(Since(before, {.connections = false, .tasks = false}).items.size(), 0u);
}

TEST(Leftovers, EveryTaskHasItsWholeStackWhileACheckpointLives) {
  const Checkpoint before;
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < 10; ++i) tasks.emplace_back("fresh");
  const Leftovers left = Since(before);
  ASSERT_EQ(left.items.size(), 1u) << left.Text();
  EXPECT_EQ(left.items[0].count, 10);
  EXPECT_GT(left.items[0].stack.size(), 2u) << left.Text();
}

TEST(Leftovers, StacksEndAtTheOutermostRunOfRootFunctions) {
  const Checkpoint before;
  const AsyncTask task("fresh");
  const Leftovers left = Since(before, {.root_functions = {"testing::*"}});
  ASSERT_EQ(left.items.size(), 1u);
  EXPECT_NE(left.items[0].stack.back().function.find("TestBody"), std::string::npos)
      << left.Text();
}

TEST(Leftovers, WhatGoesWhileItWaitsIsNone) {
  const Checkpoint before;
  std::optional<AsyncTask> task(std::in_place, "fresh");
  std::thread ends([&task] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    task.reset();
  });
  EXPECT_TRUE(Since(before, {.wait_ns = 60'000'000'000}).items.empty());
  ends.join();
}

TEST(Leftovers, ATextNamesTwentyAndCountsTheRest) {
  const Checkpoint before;
  static const char* const kNames[] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                       "i", "j", "k", "l", "m", "n", "o", "p",
                                       "q", "r", "s", "t", "u", "v", "w"};
  std::vector<AsyncTask> tasks;
  for (const char* name : kNames) tasks.emplace_back(name);
  EXPECT_NE(Since(before).Text().find("  and 3 more\n"), std::string::npos)
      << Since(before).Text();
}

TEST(Leftovers, ACheckpointIsOfItsOwnProcess) {
  const Checkpoint before;
  const pid_t child = fork();
  if (child == 0) {
    const auto left = LeftoversSince(before);
    _exit(left.status().code() == StatusCode::kFailedPrecondition ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Leftovers, ThreadsThatComeAndGoMeanwhileAreNoTrouble) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&stop] {
      while (!stop) {
        const Connection connection(-1, Direction::kInbound);
        const Task task("busy", {.connection = connection.id()});
        const ScopedLabels labels({{"route", "/busy"}});
        const auto block = std::make_unique<char[]>(1000);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const Checkpoint before;
    (void)Since(before, {.ignore_names = {"busy", "inbound"}, .ignore_labels = {"route=*"}});
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(Leftovers, ATextsAdviceCanBeCopiedIntoAProgram) {
  const Checkpoint before;
  const AsyncTask task("say \"hi\" \\\n");
  EXPECT_NE(Since(before).Text().find(R"(.ignore_names = {"say \"hi\" \\\n"})"),
            std::string::npos)
      << Since(before).Text();
}

class EveryBlockIsSeen : public testing::Test {
 protected:
  void SetUp() override {
    if (!DescribeHeapHooks().active) GTEST_SKIP() << "the hooks stand down under a sanitizer";
    ASSERT_TRUE(SetHeapSampleBytes(1).ok());
    // A thread takes a new distance over after at most 1 MiB.
    for (int i = 0; i < 4; ++i) {
      const auto block = std::make_unique<char[]>(1 << 20);
      asm volatile("" : : "r"(block.get()) : "memory");
    }
  }
  void TearDown() override { EXPECT_TRUE(SetHeapSampleBytes(524288).ok()); }
};

// A stack may have lost the test's own frame: the root functions are then all that is known.
TEST_F(EveryBlockIsSeen, BytesInNothingButRootFunctionsAreLeftovers) {
  const LeftoverOptions options{.root_functions = {"*"}};
  const ScopedLabels labels({{"route", "/download"}});
  const Checkpoint before;
  const auto block = std::make_unique<char[]>(5000);
  EXPECT_EQ(Since(before, options).items.size(), 1u);
}

// Each with each, these would be compared for half a minute.
TEST_F(EveryBlockIsSeen, ManyThatDifferAreEachTold) {
  std::vector<std::unique_ptr<char[]>> blocks;
  blocks.reserve(40'000);
  const Checkpoint before;
  for (int i = 0; i < 40'000; ++i) {
    const ScopedLabels labels({{"session", std::to_string(i)}});
    blocks.push_back(std::make_unique<char[]>(100));
  }
  EXPECT_EQ(Since(before).items.size(), 40'000u);
}

TEST_F(EveryBlockIsSeen, OfBytesBornInTheTickOfTheCheckpointAreTheNewOnesAlone) {
  const ScopedLabels labels({{"route", "/download"}});
  // Dozens of rounds a tick: what is from before is alike in all but the order.
  std::vector<std::unique_ptr<char[]>> kept;
  for (int i = 0; i < 100; ++i) {
    kept.push_back(std::make_unique<char[]>(5000));
    const Checkpoint before;
    ASSERT_TRUE(Since(before).items.empty()) << Since(before).Text();
  }
  kept.reserve(200);
  for (int i = 0; i < 100; ++i) {
    const Checkpoint before;
    kept.push_back(std::make_unique<char[]>(5000));
    const Leftovers left = Since(before);
    ASSERT_EQ(left.items.size(), 1u) << left.Text();
    EXPECT_EQ(left.items[0].count, 1);
    EXPECT_EQ(left.items[0].bytes, 5000);
  }
}

}  // namespace
}  // namespace heldby
