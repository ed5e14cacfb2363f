// A new thread works for whom its creator works: in a program that links heldby, without a word
// from it. Every allocation is a sample, so all figures are exact.
#include <execinfo.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
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

void SampleEvery(std::int64_t bytes) {
  EXPECT_TRUE(SetHeapSampleBytes(bytes).ok());
  for (int i = 0; i < 4; ++i) {
    const std::unique_ptr<char[]> block(new char[1 << 20]);
    asm volatile("" : : "r"(block.get()) : "memory");
  }
}

class Inheritance : public testing::Test {
 protected:
  Inheritance() { SampleEvery(1); }
  ~Inheritance() override { EXPECT_TRUE(SetHeapSampleBytes(524288).ok()); }
};

std::int64_t HeldBy(ConnectionId id) {
  const auto connections = SnapshotConnections();
  const auto found = std::ranges::find(*connections, id, &ConnectionInfo::id);
  return found == connections->end() ? -1 : found->held_bytes;
}

TEST_F(Inheritance, AThreadAllocatesForItsCreatorsConnectionTaskAndLabels) {
  const Connection connection(-1, Direction::kInbound);
  std::unique_ptr<char[]> block;
  {
    const ScopedLabels labels({{"route", "/inherited"}});
    const Task task("parent", {.connection = connection.id()});
    std::thread([&] { block.reset(new char[kBlock]); }).join();
    EXPECT_GE(HeldBy(connection.id()), static_cast<std::int64_t>(kBlock));
  }
  const auto profile = SnapshotHeap({.labels = {.task = true}});
  std::string route;
  std::string task;
  for (const Sample& sample : profile->samples) {
    for (const Label& label : sample.labels) {
      if (label.key == "route") route = label.text;
      if (label.key == "task" && sample.values[3] != 0) task = label.text;
    }
  }
  EXPECT_EQ(route, "/inherited");
  EXPECT_EQ(task, "parent");
}

TEST_F(Inheritance, AThreadOfOneThatWorksForNobodyWorksForNobody) {
  std::unique_ptr<char[]> block;
  const Connection connection(-1, Direction::kInbound);
  { const Task over("over before the thread begins", {.connection = connection.id()}); }
  std::thread([&] { block.reset(new char[kBlock]); }).join();
  EXPECT_EQ(HeldBy(connection.id()), 0);
}

TEST_F(Inheritance, ANestedThreadInheritsToo) {
  const Connection connection(-1, Direction::kInbound);
  const Task task("root", {.connection = connection.id()});
  std::unique_ptr<char[]> block;
  std::thread([&] { std::thread([&] { block.reset(new char[kBlock]); }).join(); }).join();
  EXPECT_GE(HeldBy(connection.id()), static_cast<std::int64_t>(kBlock));
}

// ---- The thread itself is as it would be without us ----------------------------------------

void* Depth(void* depth) {
  void* frames[64];
  *static_cast<int*>(depth) = backtrace(frames, 64);
  return depth;
}

int DepthOfAThread() {
  int depth = 0;
  pthread_t thread;
  EXPECT_EQ(pthread_create(&thread, nullptr, &Depth, &depth), 0);
  void* result = nullptr;
  EXPECT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, &depth);
  return depth;
}

TEST_F(Inheritance, NoFrameOfOursIsOnAThreadsStack) {
  const int without = DepthOfAThread();
  const Task task("inherited");
  EXPECT_EQ(DepthOfAThread(), without);
}

TEST_F(Inheritance, AttributesErrorsAndErrnoAreTheRealOnes) {
  const Task task("inherited");
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 1 << 20);
  pthread_t thread;
  const auto stack_bytes = [](void* bytes) -> void* {
    pthread_attr_t mine;
    pthread_getattr_np(pthread_self(), &mine);
    pthread_attr_getstacksize(&mine, static_cast<std::size_t*>(bytes));
    pthread_attr_destroy(&mine);
    pthread_exit(bytes);
  };
  std::size_t bytes = 0;
  errno = 1234;
  ASSERT_EQ(pthread_create(&thread, &attributes, stack_bytes, &bytes), 0);
  EXPECT_EQ(errno, 1234);
  void* result = nullptr;
  ASSERT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, &bytes) << "pthread_exit";
  EXPECT_EQ(bytes, std::size_t{1} << 20);
  // More stack than there is address space: more failures than the table of starts has room.
  pthread_attr_setstacksize(&attributes, std::size_t{1} << 47);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(pthread_create(&thread, &attributes, stack_bytes, &bytes), EAGAIN);
  }
  pthread_attr_destroy(&attributes);
  EXPECT_EQ(ReadHeapCounters().dropped_inheritances_total, 0);
}

TEST_F(Inheritance, AThreadCanBeCancelledBeforeItsFirstStep) {
  const Task task("inherited");
  for (int i = 0; i < 200; ++i) {
    pthread_t thread;
    const auto waits = [](void*) -> void* {
      pause();
      return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, nullptr, waits, nullptr), 0);
    ASSERT_EQ(pthread_cancel(thread), 0);
    void* result = nullptr;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
  }
}

TEST_F(Inheritance, ManyThreadsAtOnceEachBeginWithTheirOwn) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> creators;
  for (int c = 0; c < 4; ++c) {
    creators.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        const Connection connection(-1, Direction::kInbound);
        const Task task("mine", {.connection = connection.id()});
        std::unique_ptr<char[]> block;
        std::thread([&] { block.reset(new char[kBlock]); }).join();
        wrong += HeldBy(connection.id()) < static_cast<std::int64_t>(kBlock);
      }
    });
  }
  for (std::thread& creator : creators) creator.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Inheritance, AForkedChildsThreadsInheritFromTheChild) {
  const Connection of_parent(-1, Direction::kInbound);
  const Task task("of the parent", {.connection = of_parent.id()});
  const pid_t child = fork();
  if (child == 0) {
    const Connection mine(-1, Direction::kInbound);
    const Task work("of the child", {.connection = mine.id()});
    std::unique_ptr<char[]> block;
    std::thread([&] { block.reset(new char[kBlock]); }).join();
    _exit(HeldBy(mine.id()) >= static_cast<std::int64_t>(kBlock) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Only a preloaded program's sockets are watched: one that links heldby makes its own known.
TEST_F(Inheritance, SocketsOfAProgramThatLinksUsAreItsOwnToMakeKnown) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  // A stack that the C library keeps for the next thread may still be an ended one's.
  EXPECT_TRUE(std::ranges::all_of(*SnapshotConnections(), &ConnectionInfo::ended));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace heldby
