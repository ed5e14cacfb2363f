#include "core/base/loader_gate.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace heldby::core {
namespace {

// What the handlers of a host's library do, after our own before the fork, and before our own
// after it.
std::function<void()> before_fork;
std::function<void()> after_fork;

class LoaderGate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    pthread_atfork([] { before_fork(); }, [] { after_fork(); }, nullptr);
    WatchForks();
  }
  LoaderGate() { TearDown(); }
  void TearDown() override {
    before_fork = [] {};
    after_fork = [] {};
  }
};

// The child's answer to `question`, in its first moment.
bool AskChild(bool (*question)()) {
  const pid_t child = fork();
  if (child == 0) _exit(question() ? 1 : 0);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

bool CanEnter() {
  const bool is_inside = EnterLoaderNow();
  if (is_inside) LeaveLoader();
  return is_inside;
}

// In a child, whose parent may be inside.
bool CanEnterAndFork() {
  TakeVainForks();
  return CanEnter() && AskChild([] { return true; }) && TakeVainForks() == 0;
}

TEST_F(LoaderGate, AForkWaitsUntilWeAreOutside) {
  for (int i = 0; i < 100; ++i) {
    std::atomic<bool> is_leaving{false};
    std::atomic<bool> is_over{false};
    ASSERT_TRUE(EnterLoaderNow());
    std::thread forks([&] {
      EXPECT_TRUE(AskChild(&CanEnter));
      EXPECT_TRUE(is_leaving.load());
      is_over.store(true);
    });
    while (CanEnter() && !is_over.load()) std::this_thread::yield();
    is_leaving.store(true);
    LeaveLoader();
    forks.join();
    EXPECT_EQ(TakeVainForks(), 0u);
  }
}

TEST_F(LoaderGate, WeWaitUntilAForkIsOver) {
  for (int i = 0; i < 100; ++i) {
    std::atomic<bool> is_forking{false};
    std::atomic<bool> is_over{false};
    before_fork = [&] {
      EXPECT_TRUE(IsForking());
      EXPECT_FALSE(EnterLoaderNow());
      is_forking.store(true);
    };
    after_fork = [&] { is_over.store(true); };
    std::thread enters([&] {
      while (!is_forking.load()) std::this_thread::yield();
      if (i % 2 == 0) {
        EnterLoader();
      } else {
        EXPECT_TRUE(EnterLoaderBriefly());
      }
      EXPECT_TRUE(is_over.load());
      LeaveLoader();
    });
    EXPECT_TRUE(AskChild(&CanEnter));
    enters.join();
    EXPECT_FALSE(IsForking());
  }
}

TEST_F(LoaderGate, AForkThatHasWaitedInVainGoesOnAndTheNextOnesDoNotWait) {
  ASSERT_TRUE(EnterLoaderNow());
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(AskChild(&CanEnterAndFork));
  EXPECT_EQ(TakeVainForks(), 50u);
  LeaveLoader();
  EXPECT_TRUE(CanEnter());
}

TEST_F(LoaderGate, AForkInAHandlerOfForkIsOneForkWithIt) {
  std::thread enters;
  bool is_first = true;
  bool is_inner_child = false;
  before_fork = [&] {
    if (!is_first) return;
    is_first = false;
    enters = std::thread([] {
      EnterLoader();
      LeaveLoader();
    });
    const pid_t child = fork();
    is_inner_child = child == 0;
    if (is_inner_child) return;  // and goes on as the outer fork's parent
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  };
  bool was_forking_to_its_end = true;
  after_fork = [&] { was_forking_to_its_end = was_forking_to_its_end && IsForking(); };
  const bool can_child_enter = AskChild(&CanEnter);
  const bool is_good = can_child_enter && was_forking_to_its_end && !IsForking() && CanEnter();
  if (is_inner_child) _exit(is_good ? 0 : 1);
  EXPECT_TRUE(is_good);
  enters.join();
  EXPECT_EQ(TakeVainForks(), 0u);
}

TEST_F(LoaderGate, ManyForksAtOnceLetUsInAndWeLetThemThrough) {
  std::atomic<bool> stop{false};
  std::atomic<int> forks{0};
  std::vector<std::thread> others;
  for (int i = 0; i < 4; ++i) {
    others.emplace_back([&] {
      for (; !stop.load(); ++forks) EXPECT_TRUE(AskChild(&CanEnter));
    });
  }
  for (int i = 0; i < 30 || forks.load() < 300; ++i) {
    EnterLoader();
    LeaveLoader();
  }
  stop.store(true);
  for (std::thread& other : others) other.join();
  EXPECT_EQ(TakeVainForks(), 0u);
}

}  // namespace
}  // namespace heldby::core
