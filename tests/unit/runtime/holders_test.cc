// Connections, tasks and labels over the real core: who is charged, and what a profile says.
// Every allocation is a sample, so all figures are exact.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "heldby/connection.h"
#include "heldby/heap.h"
#include "heldby/labels.h"
#include "heldby/task.h"

namespace heldby {
namespace {

constexpr std::size_t kBlock = 100'000;

// Not optimised away, and found again by its size.
std::unique_ptr<char[]> Allocate(std::size_t bytes = kBlock) {
  std::unique_ptr<char[]> block(new char[bytes]);
  asm volatile("" : : "r"(block.get()) : "memory");
  return block;
}

template <typename Infos, typename Id>
auto Find(const Infos& infos, Id id) {
  const auto found = std::ranges::find(*infos, id, [](const auto& info) { return info.id; });
  return found == infos->end() ? typename std::decay_t<decltype(*infos)>::value_type{} : *found;
}
ConnectionInfo InfoOf(ConnectionId id) { return Find(SnapshotConnections(), id); }
TaskInfo InfoOf(TaskId id) { return Find(SnapshotTasks(), id); }

std::map<std::string, std::string> LabelsOf(const Sample& sample) {
  std::map<std::string, std::string> labels;
  for (const Label& label : sample.labels) {
    labels[label.key] = label.text.empty() ? std::to_string(label.number) : label.text;
  }
  return labels;
}

// The rows of blocks that only this test file makes: by size class. (72,704 bytes is the C++
// library's reserve for exceptions, which may have been sampled at the start.)
std::vector<Sample> RowsOf(std::size_t bytes, const HolderLabels& labels = {}) {
  const auto profile = SnapshotHeap({.labels = labels});
  EXPECT_TRUE(profile) << profile.status().message();
  std::vector<Sample> rows;
  for (const Sample& sample : profile->samples) {
    const auto size = std::ranges::find(sample.labels, "bytes", &Label::key);
    if (size == sample.labels.end() || sample.values[3] == 0) continue;
    const auto got = static_cast<std::size_t>(size->number);
    if (got >= bytes && got <= bytes + bytes / 8) rows.push_back(sample);
  }
  return rows;
}

// A thread takes a new distance over after at most 1 MiB.
void SampleEvery(std::int64_t bytes) {
  EXPECT_TRUE(SetHeapSampleBytes(bytes).ok());
  for (int i = 0; i < 4; ++i) Allocate(1 << 20);
}

class Holders : public testing::Test {
 protected:
  Holders() { SampleEvery(1); }
  ~Holders() override { EXPECT_TRUE(SetHeapSampleBytes(524288).ok()); }
};

TEST_F(Holders, WhatATaskAllocatesIsChargedToItAndToItsConnection) {
  Connection connection(-1, Direction::kInbound);
  std::unique_ptr<char[]> block;
  {
    const Task task("download", {.connection = connection.id()});
    EXPECT_EQ(InfoOf(connection.id()).held_bytes, 0);
    block = Allocate();
    EXPECT_EQ(InfoOf(connection.id()).held_bytes, static_cast<std::int64_t>(kBlock));
    EXPECT_EQ(InfoOf(task.id()).held_bytes, static_cast<std::int64_t>(kBlock));
    EXPECT_EQ(InfoOf(task.id()).connection, connection.id());
  }
  const auto of_nobody = Allocate();
  EXPECT_EQ(InfoOf(connection.id()).held_bytes, static_cast<std::int64_t>(kBlock));
  block.reset();
  EXPECT_EQ(InfoOf(connection.id()).held_bytes, 0);
}

TEST_F(Holders, AnInnerTaskIsAChildAndWorksForTheSameConnection) {
  const Connection connection(-1, Direction::kOutbound);
  const Task outer("outer", {.connection = connection.id()});
  {
    const Task inner("inner");
    const auto block = Allocate();
    EXPECT_EQ(InfoOf(inner.id()).parent, outer.id());
    EXPECT_EQ(InfoOf(inner.id()).connection, connection.id());
    EXPECT_EQ(InfoOf(inner.id()).held_bytes, static_cast<std::int64_t>(kBlock));
    EXPECT_EQ(InfoOf(outer.id()).held_bytes, 0) << "of its own, without its children's";
  }
  const auto block = Allocate();
  EXPECT_EQ(InfoOf(outer.id()).held_bytes, static_cast<std::int64_t>(kBlock));
}

TEST_F(Holders, AnAsyncTaskIsChargedForItsPiecesOnAnyThread) {
  const Connection connection(-1, Direction::kInbound);
  AsyncTask task("job", {.connection = connection.id()});
  EXPECT_EQ(CurrentTask(), TaskId::kNone) << "made, not entered";
  std::unique_ptr<char[]> first;
  std::unique_ptr<char[]> second;
  {
    const AsyncTask::Piece piece(task);
    EXPECT_EQ(CurrentTask(), task.id());
    EXPECT_TRUE(InfoOf(task.id()).running);
    first = Allocate();
  }
  EXPECT_EQ(CurrentTask(), TaskId::kNone);
  std::thread([&] {
    const AsyncTask::Piece piece(task);
    second = Allocate();
  }).join();
  task.SetState("waiting for a reply");
  const TaskInfo info = InfoOf(task.id());
  EXPECT_FALSE(info.running);
  EXPECT_EQ(info.held_bytes, 2 * static_cast<std::int64_t>(kBlock));
  EXPECT_EQ(info.state, "waiting for a reply");
  EXPECT_NE(info.state_at.find("holders_test.cc:"), std::string::npos);
  EXPECT_EQ(InfoOf(connection.id()).held_bytes, 2 * static_cast<std::int64_t>(kBlock));
  AsyncTask other = std::move(task);
  EXPECT_EQ(other.id(), info.id);
  other.End();
  EXPECT_TRUE(InfoOf(info.id).ended);
}

TEST_F(Holders, ATaskKnowsWhereItWasMadeAndWhatItSays) {
  Task task("with a place");
  task.SetState("waiting for a lock");
  const TaskInfo info = InfoOf(task.id());
  EXPECT_EQ(info.name, "with a place");
  EXPECT_EQ(info.state, "waiting for a lock");
  EXPECT_TRUE(info.file.ends_with("holders_test.cc")) << info.file;
  EXPECT_NE(info.function.find("TestBody"), std::string::npos) << info.function;
  EXPECT_GT(info.line, 0u);
}

TEST_F(Holders, AConnectionKnowsWhoOpenedItAndWhatItSays) {
  Connection connection(-1, Direction::kInbound);
  connection.SetState("reading request");
  connection.SetQueuedBytes(4711);
  const ConnectionInfo info = InfoOf(connection.id());
  EXPECT_EQ(info.state, "reading request");
  EXPECT_EQ(info.queued_bytes, 4711u);
  EXPECT_FALSE(info.opened_by.empty());
  Connection moved(std::move(connection));
  EXPECT_EQ(moved.id(), info.id);
  EXPECT_EQ(connection.id(), ConnectionId::kNone);  // NOLINT(bugprone-use-after-move)
  moved.Forget();
  moved.Forget();
  EXPECT_EQ(InfoOf(info.id).id, ConnectionId::kNone);
}

TEST_F(Holders, TheOneThatHoldsMostIsFirst) {
  const Connection small(-1, Direction::kInbound);
  const Connection large(-1, Direction::kInbound);
  std::vector<std::unique_ptr<char[]>> blocks;
  {
    const Task task("small", {.connection = small.id()});
    blocks.push_back(Allocate(1000));
  }
  {
    const Task task("large", {.connection = large.id()});
    blocks.push_back(Allocate());
  }
  const auto all = SnapshotConnections();
  ASSERT_GE(all->size(), 2u);
  EXPECT_EQ((*all)[0].id, large.id());
  EXPECT_EQ((*all)[1].id, small.id());
}

TEST_F(Holders, MemoryWhoseConnectionIsGoneSaysSoUntilItIsFreed) {
  std::unique_ptr<char[]> block;
  ConnectionId id{};
  {
    Connection connection(-1, Direction::kInbound);
    id = connection.id();
    const Task task("gone", {.connection = id});
    block = Allocate(55'001);
  }
  EXPECT_TRUE(InfoOf(id).ended);
  EXPECT_EQ(InfoOf(id).held_bytes, 55'001);
  const auto rows = RowsOf(55'001, {.connection = true, .task = true});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(LabelsOf(rows[0])["holder"], "ended");
  EXPECT_EQ(LabelsOf(rows[0])["task"], "gone");
  block.reset();
  EXPECT_EQ(InfoOf(id).id, ConnectionId::kNone) << "forgotten with its last byte";
}

TEST_F(Holders, UserLabelsAreInEveryProfileAndTheInnerOneWins) {
  const ScopedLabels outer({{"route", "/outer"}, {"app", "test"}, {"empty", ""}});
  std::unique_ptr<char[]> block;
  {
    const ScopedLabels inner({{"route", "/inner"}});
    block = Allocate(50'001);
  }
  const auto rows = RowsOf(50'001);
  ASSERT_EQ(rows.size(), 1u);
  const std::map<std::string, std::string> expected = {
      {"app", "test"}, {"bytes", "53248"}, {"route", "/inner"}};
  EXPECT_EQ(LabelsOf(rows[0]), expected);
}

TEST_F(Holders, UserLabelsCannotBreakAProfileByTheirNames) {
  const ScopedLabels labels({{"my-key", "1"}, {"my key", "2"}, {"bytes", "many"}, {"9", "x"}});
  const auto block = Allocate(45'001);
  const auto rows = RowsOf(45'001, {.connection = true});
  ASSERT_EQ(rows.size(), 1u);
  const std::map<std::string, std::string> expected = {{"my_key", "2"},
                                                       {"user_bytes", "many"},
                                                       {"user_9", "x"},
                                                       {"bytes", "45056"},
                                                       {"holder", "unattributed"}};
  EXPECT_EQ(LabelsOf(rows[0]), expected);
}

TEST_F(Holders, WithoutBeingAskedAProfileNamesNoHolder) {
  Connection connection(-1, Direction::kInbound);
  connection.SetState("busy");
  Task task("t", {.connection = connection.id()});
  task.SetState("working");
  const auto block = Allocate(40'001);
  const auto rows = RowsOf(40'001);
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_EQ(rows[0].labels.size(), 1u);
  EXPECT_EQ(rows[0].labels[0].key, "bytes");
}

TEST_F(Holders, WhoIsAskedForIsNamed) {
  Connection connection(-1, Direction::kOutbound);
  connection.SetState("busy");
  const Task task("t", {.connection = connection.id()});
  const auto block = Allocate(60'001);
  using Labels = std::map<std::string, std::string>;
  const auto labels_with = [](const HolderLabels& wanted) {
    const auto rows = RowsOf(60'001, wanted);
    EXPECT_EQ(rows.size(), 1u);
    Labels labels = rows.empty() ? Labels() : LabelsOf(rows[0]);
    labels.erase("bytes");
    return labels;
  };
  const std::string id = std::to_string(static_cast<std::uint32_t>(connection.id()));
  EXPECT_EQ(labels_with({.connection = true}),
            (Labels{{"connection", id}, {"direction", "outbound"}}));
  EXPECT_EQ(labels_with({.task = true}), (Labels{{"task", "t"}}));
  EXPECT_EQ(labels_with({.state = true}), (Labels{{"state", "busy"}}));
  const Labels aged = labels_with({.age = true});
  ASSERT_EQ(aged.count("age"), 1u);
  EXPECT_LT(std::stoi(aged.at("age")), 60) << "seconds, since the test began";
}

TEST_F(Holders, MemoryOfNobodyIsUnattributedWhenHoldersAreAskedFor) {
  const auto block = Allocate(30'001);
  const auto rows = RowsOf(30'001, {.connection = true});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(LabelsOf(rows[0])["holder"], "unattributed");
}

// By stack: what a profile adds up to must not depend on how it is split.
std::map<std::string, std::vector<std::int64_t>> TotalsByStack(const HolderLabels& labels) {
  const auto profile = SnapshotHeap({.labels = labels});
  EXPECT_TRUE(profile);
  std::map<std::string, std::vector<std::int64_t>> totals;
  for (const Sample& sample : profile->samples) {
    std::string key;
    for (const LocationId id : sample.stack) {
      const auto& location = profile->locations[static_cast<std::size_t>(id) - 1];
      key += std::to_string(location.address) + " ";
    }
    auto& values = totals[key];
    values.resize(sample.values.size());
    std::ranges::transform(values, sample.values, values.begin(), std::plus<>());
  }
  return totals;
}

TEST_F(Holders, RowsSplitByHolderAddUpToTheSameTotalsForEveryStack) {
  // Distances at which one sample stands for a broken number of objects.
  SampleEvery(5000);
  std::vector<std::unique_ptr<char[]>> blocks;
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < 20; ++i) {
    connections.push_back(std::make_unique<Connection>(-1, Direction::kInbound));
    const Task task("t", {.connection = connections.back()->id()});
    for (int k = 0; k < 500; ++k) blocks.push_back(Allocate(777));
    if (i % 3 == 0) blocks.resize(blocks.size() - 100);
  }
  SampleEvery(0);
  const auto plain = TotalsByStack({});
  EXPECT_EQ(TotalsByStack({.connection = true}), plain);
  EXPECT_EQ(TotalsByStack({.connection = true, .task = true, .state = true, .age = true}),
            plain);
  EXPECT_GT(RowsOf(777, {.connection = true}).size(), 10u);
}

TEST_F(Holders, PropagateCarriesTaskConnectionAndLabelsToAnotherThread) {
  const Connection connection(-1, Direction::kInbound);
  std::unique_ptr<char[]> there;
  std::unique_ptr<char[]> beside;
  std::function<void()> work;
  // Of a pool, say: it was there before, and has inherited nothing.
  std::promise<void> sent;
  std::thread worker([&] {
    sent.get_future().wait();
    work();
    beside = Allocate(25'001);
  });
  {
    const Task task("sender", {.connection = connection.id()});
    const ScopedLabels labels({{"route", "/far"}});
    work = Propagate([&there] { there = Allocate(20'001); });
    sent.set_value();
    worker.join();
    // The function itself is the sender's, too.
    EXPECT_NEAR(static_cast<double>(InfoOf(task.id()).held_bytes), 20'001, 2000);
  }
  EXPECT_GE(InfoOf(connection.id()).held_bytes, 20'001);
  const auto rows = RowsOf(20'001);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(LabelsOf(rows[0])["route"], "/far");
  const auto after = RowsOf(25'001);
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(LabelsOf(after[0]).count("route"), 0u) << "only while it runs";
}

TEST_F(Holders, PropagateGivesTheThreadItsOwnHolderBackWhenTheWorkThrows) {
  const auto work = Propagate([] { throw 1; });
  const Task task("mine");
  EXPECT_THROW(work(), int);
  const auto block = Allocate();
  EXPECT_EQ(InfoOf(task.id()).held_bytes, static_cast<std::int64_t>(kBlock));
}

TEST_F(Holders, ABlockThatMovesInReallocIsHeldByWhoMovedIt) {
  const Task first("first");
  void* block = std::malloc(1000);
  const Task second("second");
  block = std::realloc(block, 200'000);
  EXPECT_EQ(InfoOf(first.id()).held_bytes, 0);
  EXPECT_EQ(InfoOf(second.id()).held_bytes, 200'000);
  std::free(block);
  EXPECT_EQ(InfoOf(second.id()).held_bytes, 0);
}

TEST_F(Holders, AForkedChildBeginsWithoutThem) {
  const Connection connection(-1, Direction::kInbound);
  const Task task("parent's", {.connection = connection.id()});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // What the parent's still hold is held in the child, too: those that do have ended.
    const auto open = [] {
      return std::ranges::count(*SnapshotConnections(), false, &ConnectionInfo::ended);
    };
    const bool none = open() == 0;
    const bool no_task = std::ranges::count(*SnapshotTasks(), false, &TaskInfo::ended) == 0;
    const Connection own(-1, Direction::kInbound);
    _exit(none && no_task && open() == 1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(InfoOf(connection.id()).id, connection.id()) << "the parent's are as they were";
}

TEST_F(Holders, TheRegistryIsFlatHoweverManyComeAndGo) {
  for (int i = 0; i < 1000; ++i) {
    const Connection connection(-1, Direction::kInbound);
    const Task task("churn", {.connection = connection.id()});
  }
  const std::int64_t before = ReadHeapCounters().registry_bytes;
  for (int i = 0; i < 100'000; ++i) {
    const Connection connection(-1, Direction::kInbound);
    const Task task("churn", {.connection = connection.id()});
  }
  EXPECT_EQ(ReadHeapCounters().registry_bytes, before);
  EXPECT_EQ(ReadHeapCounters().dropped_connections_total, 0);
  EXPECT_EQ(ReadHeapCounters().dropped_tasks_total, 0);
}

}  // namespace
}  // namespace heldby
