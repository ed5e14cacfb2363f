#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "core/registry/descriptors.h"

namespace heldby::core {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 1'000;

struct World {
  Registry registry;
  Descriptors descriptors{&registry};
  StackTable stacks;

  int Open() {
    int count = 0;
    registry.connections.ForEach([&](std::uint32_t, const ConnectionRecord& record) {
      count += record.head.phase.load() == Phase::kOpen;
    });
    return count;
  }
  void Close(int fd) {
    if (const std::uint32_t id = descriptors.Take(fd)) descriptors.Drop(fd, id);
    close(fd);
  }
};

// Opens, shares and closes, in an order that ends on another descriptor each time.
void OpenAndClose(World* world, int round) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const std::uint32_t id = world->descriptors.Open(ends[0], false, 0, &world->stacks);
  ASSERT_NE(id, 0u);
  const int copy = dup(ends[0]);
  world->descriptors.Share(id, copy);
  EXPECT_EQ(world->descriptors.Received(copy, id, 1), 1);
  EXPECT_EQ(thread_slot.guess.connection, id);
  world->Close(round % 2 == 0 ? ends[0] : copy);
  EXPECT_TRUE(world->descriptors.IsStill(round % 2 == 0 ? copy : ends[0], id));
  world->Close(round % 2 == 0 ? copy : ends[0]);
  EXPECT_EQ(thread_slot.guess.connection, 0u);
  close(ends[1]);
}

TEST(DescriptorsRace, WhatIsOpenedAndClosedByManyWhileSomebodyLooksEndsExactlyOnce) {
  auto world = std::make_unique<World>();
  ASSERT_TRUE(world->descriptors.Watch());
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      world->registry.connections.ForEach(
          [&](std::uint32_t id, const ConnectionRecord&) { world->descriptors.Reconcile(id); });
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) OpenAndClose(world.get(), round);
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  reader.join();
  EXPECT_EQ(world->Open(), 0);
  EXPECT_EQ(world->descriptors.dropped(), 0u);
}

TEST(Descriptors, ANumberBeyondTheTableIsCountedAndNotWatched) {
  auto world = std::make_unique<World>();
  ASSERT_TRUE(world->descriptors.Watch());
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const std::uint32_t id = world->descriptors.Open(ends[0], true, 0, &world->stacks);
  // No process here may have so many: the number alone says enough.
  world->descriptors.Share(id, Descriptors::kCount);
  EXPECT_EQ(world->descriptors.dropped(), 1u);
  EXPECT_EQ(world->descriptors.Look(Descriptors::kCount), 0u);
  EXPECT_EQ(world->descriptors.Look(-1), 0u);
  world->Close(ends[0]);
  EXPECT_EQ(world->Open(), 0);
  close(ends[1]);
}

}  // namespace
}  // namespace heldby::core
