#include "core/base/loader_gate.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
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

bool CanEnter() {
  const bool is_inside = EnterLoaderNow();
  if (is_inside) LeaveLoader();
  return is_inside;
}

constexpr int kIsWell = 1;   // it can enter, and fork without waiting in vain
constexpr int kWasVain = 2;  // its own fork had waited in vain

// What a child finds, in its first moment. Safe in a handler of a signal.
int Fork() {
  const pid_t child = fork();
  if (child == 0) {
    const int was_vain = VainForksOfParent() != 0 ? kWasVain : 0;
    const bool is_out = CanEnter() && !IsForking();
    const pid_t grandchild = fork();
    if (grandchild == 0) _exit(VainForksOfParent() == 0 && CanEnter() ? 0 : 1);
    int status = -1;
    waitpid(grandchild, &status, 0);
    _exit((is_out && status == 0 ? kIsWell : 0) | was_vain);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

// Where a machine that is full stops a thread of the test for a second, a fork was in vain:
// that shows nothing either way.
TEST_F(LoaderGate, AForkWaitsUntilWeAreOutside) {
  int waited = 0;
  for (int i = 0; i < 100; ++i) {
    std::atomic<bool> is_leaving{false};
    std::atomic<bool> is_over{false};
    ASSERT_TRUE(EnterLoaderNow());
    std::thread forks([&] {
      const int child = Fork();
      const bool has_waited = is_leaving.load();
      EXPECT_TRUE(has_waited || (child & kWasVain) != 0);
      EXPECT_TRUE(child & kIsWell);
      waited += has_waited ? 1 : 0;
      is_over.store(true);
    });
    while (CanEnter() && !is_over.load()) std::this_thread::yield();
    is_leaving.store(true);
    LeaveLoader();
    forks.join();
  }
  EXPECT_GT(waited, 50);
}

TEST_F(LoaderGate, WeWaitUntilAForkIsOver) {
  int entered = 0;
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
      } else if (!EnterLoaderBriefly()) {
        return;
      }
      EXPECT_TRUE(is_over.load());
      ++entered;
      LeaveLoader();
    });
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
    enters.join();
    EXPECT_FALSE(IsForking());
  }
  EXPECT_GT(entered, 90);
}

TEST_F(LoaderGate, AForkThatHasWaitedInVainGoesOnAndTheNextOnesDoNotWait) {
  ASSERT_TRUE(EnterLoaderNow());
  // Each of them a second would be longer than this test may take.
  for (int i = 0; i < 500; ++i) EXPECT_EQ(Fork(), kIsWell | kWasVain);
  LeaveLoader();
  EXPECT_EQ(Fork(), kIsWell);
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
  const bool is_good =
      Fork() == kIsWell && was_forking_to_its_end && !IsForking() && CanEnter();
  if (is_inner_child) _exit(is_good ? 0 : 1);
  EXPECT_TRUE(is_good);
  enters.join();
}

std::atomic<bool> may_fork{false};
std::atomic<int> child_of_handler{0};
std::atomic<bool> handler_was_early{false};

void ForkInHandler(int) {
  handler_was_early.store(!may_fork.load());
  const pid_t child = fork();
  if (child == 0) _exit(7);
  int status = 0;
  waitpid(child, &status, 0);
  child_of_handler.store(status);
}

TEST_F(LoaderGate, AHandlerThatForksWhileAForkWaitsComesAfterIt) {
  struct sigaction action {};
  action.sa_handler = &ForkInHandler;
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  may_fork.store(false);
  child_of_handler.store(0);
  ASSERT_TRUE(EnterLoaderNow());
  std::atomic<bool> is_over{false};
  int child = 0;
  std::thread forks([&] {
    child = Fork();
    is_over.store(true);
  });
  while (CanEnter() && !is_over.load()) std::this_thread::yield();
  pthread_kill(forks.native_handle(), SIGUSR1);
  for (int i = 0; i < 20; ++i) usleep(1000);  // the handler would have come
  may_fork.store(true);
  LeaveLoader();
  forks.join();
  EXPECT_TRUE(child & kIsWell);
  EXPECT_EQ(child_of_handler.load(), 7 << 8);
  EXPECT_TRUE(!handler_was_early.load() || (child & kWasVain) != 0);
  EXPECT_TRUE(CanEnter());
}

TEST_F(LoaderGate, AForkThatAHandlerHasJumpedOutOfIsForgottenByTheNext) {
  static sigjmp_buf outside;
  volatile int tries = 0;
  before_fork = [&] {
    if (tries == 1) siglongjmp(outside, 1);
  };
  sigsetjmp(outside, 1);
  tries = tries + 1;
  EXPECT_EQ(IsForking(), tries == 2);
  const int child = Fork();
  EXPECT_EQ(tries, 2);
  EXPECT_EQ(child, kIsWell);
  EXPECT_FALSE(IsForking());
  EXPECT_TRUE(CanEnter());
}

TEST_F(LoaderGate, ManyForksAtOnceLetUsInAndWeLetThemThrough) {
  std::atomic<bool> stop{false};
  std::atomic<int> forks{0};
  std::vector<std::thread> others;
  for (int i = 0; i < 4; ++i) {
    others.emplace_back([&] {
      for (; !stop.load(); ++forks) EXPECT_TRUE(Fork() & kIsWell);
    });
  }
  for (int i = 0; i < 30 || forks.load() < 300; ++i) {
    EnterLoader();
    LeaveLoader();
  }
  stop.store(true);
  for (std::thread& other : others) other.join();
}

}  // namespace
}  // namespace heldby::core
