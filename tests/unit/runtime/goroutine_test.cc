// Threads and tasks of this very program, as the goroutine profile shows them.
#include "heldby/goroutine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "heldby/labels.h"
#include "heldby/self.h"
#include "heldby/task.h"
#include "tests/unit/runtime/goroutine_view.h"

namespace heldby {
namespace {

TEST(Goroutines, AThreadIsShownWhereItWaitsWithoutKnowingOfIt) {
  const Pipe pipe;
  const Thread thread(
      [&] {
        char byte;
        EXPECT_EQ(::read(pipe.reader(), &byte, 1), 1);
      },
      [&] { pipe.Wake(); });
  const Row row = thread.Parked("read");
  EXPECT_EQ(row.labels.at("state"), "read, fd " + std::to_string(pipe.reader()));
  EXPECT_NE(row.stack.find("WaitsInHere"), std::string::npos) << row.stack;
  EXPECT_NE(row.stack.find("start_thread"), std::string::npos) << "to the root: " << row.stack;
  EXPECT_FALSE(row.labels.contains("problem"));
}

__attribute__((noinline)) int Below(int depth, const std::function<void()>& wait) {
  if (depth == 0) {
    wait();
    return 0;
  }
  const int below = Below(depth - 1, wait);
  asm volatile("");
  return below + 1;
}

TEST(Goroutines, AStackThatIsTooDeepIsCutWithoutAnotherReason) {
  const Pipe pipe;
  const Thread thread(
      [&] {
        Below(200, [&] {
          char byte;
          EXPECT_EQ(::read(pipe.reader(), &byte, 1), 1);
        });
      },
      [&] { pipe.Wake(); });
  const Row row = thread.Parked("read");
  EXPECT_TRUE(row.stack.ends_with("[heldby: deeper frames cut]")) << row.stack;
  EXPECT_FALSE(row.labels.contains("problem")) << row.labels.at("problem");
}

TEST(Goroutines, AFutexIsCalledByWhatItServes) {
  std::mutex mutex;
  std::condition_variable changed;
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  bool done = false;
  std::mutex held;
  held.lock();
  const Thread on_condition(
      [&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return done; });
      },
      [&] {
        {
          const std::lock_guard lock(mutex);
          done = true;
        }
        changed.notify_all();
      });
  const Thread on_mutex([&] { const std::lock_guard lock(held); }, [&] { held.unlock(); });
  const Thread on_semaphore([&] { sem_wait(&semaphore); }, [&] { sem_post(&semaphore); });
  EXPECT_EQ(on_condition.Parked("condition").labels["state"], "condition");
  EXPECT_EQ(on_mutex.Parked("mutex").labels["state"], "mutex");
  EXPECT_EQ(on_semaphore.Parked("semaphore").labels["state"], "semaphore");
}

TEST(Goroutines, AThreadThatRunsIsAskedAndShowsWhereItIs) {
  std::atomic<bool> stop{false};
  const Thread thread(
      [&] {
        while (!stop.load(std::memory_order_relaxed)) {
        }
      },
      [&] { stop = true; });
  // On a machine at work it may not come to a processor within the time it has to answer.
  Row row;
  for (int i = 0; i < 100 && row.stack.find("WaitsInHere") == row.stack.npos; ++i) {
    row = RowOf(thread.tid());
  }
  EXPECT_EQ(row.labels.at("state"), "running");
  EXPECT_NE(row.stack.find("WaitsInHere"), std::string::npos) << row.stack;
}

TEST(Goroutines, AThreadThatRunsAndBlocksAllSignalsIsReportedNotWaitedFor) {
  std::atomic<bool> stop{false};
  std::atomic<bool> blocked{false};
  const Thread thread(
      [&] {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        blocked = true;
        while (!stop.load(std::memory_order_relaxed)) {
        }
      },
      [&] { stop = true; });
  while (!blocked) std::this_thread::yield();
  const Row row = RowOf(thread.tid());
  EXPECT_EQ(row.labels.at("state"), "running");
  EXPECT_TRUE(row.labels.at("problem").starts_with("blocks signals"))
      << row.labels.at("problem");
  EXPECT_EQ(row.stack, "[heldby: no stack]");
}

// Calls that no SA_RESTART restarts: each would return EINTR if it were disturbed.
TEST(Goroutines, NoWaitThatCannotBeRestartedSeesEintr) {
  std::atomic<bool> stop{false};
  std::atomic<int> interrupted{0};
  std::atomic<int> rounds{0};
  const auto loop = [&](const std::function<int()>& call) {
    return [&, call] {
      while (!stop) {
        errno = 0;
        if (call() < 0 && errno == EINTR) ++interrupted;
        ++rounds;
      }
    };
  };
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  const timeval patience = {.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  {
    const Thread in_poll(loop([] { return ::poll(nullptr, 0, 1000); }), [&] { stop = true; });
    const Thread in_sleep(loop([] {
                            const timespec second = {1, 0};
                            return ::nanosleep(&second, nullptr);
                          }),
                          {});
    const Thread in_epoll(loop([epoll] {
                            epoll_event event;
                            return ::epoll_wait(epoll, &event, 1, 1000);
                          }),
                          {});
    const Thread in_accept(loop([listener] {
                             const int fd = ::accept(listener, nullptr, nullptr);
                             return fd < 0 && errno != EINTR ? 0 : fd;
                           }),
                           {});
    for (const Thread* thread : {&in_poll, &in_sleep, &in_epoll, &in_accept}) {
      Row row;
      for (int i = 0; i < 2000 && row.stack.find("WaitsInHere") == row.stack.npos; ++i) {
        row = RowOf(thread->tid());
      }
      EXPECT_NE(row.stack.find("WaitsInHere"), std::string::npos) << row.stack;
    }
    // Passive only: these waits are never ended by us, however often somebody looks.
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(SnapshotGoroutines({.may_signal = false}));
    const int before = interrupted;
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(SnapshotGoroutines({.may_signal = false}));
    EXPECT_EQ(interrupted, before);
    // With signals: only who is met running, in the moment between two waits.
    const int before_active = interrupted;
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(SnapshotGoroutines());
    EXPECT_LE(interrupted - before_active, 20);
    stop = true;
  }
  ::close(epoll);
  ::close(listener);
}

// In a child that has become somebody else, as servers do: its own files in /proc are root's.
int WaitsUndisturbedAsNobody() {
  constexpr uid_t kNobody = 65534;
  if (::getuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) return 1;
  ::prctl(PR_SET_DUMPABLE, 0);
  std::atomic<int> result{1};
  const Thread thread([&] { result = ::poll(nullptr, 0, 2000); }, nullptr);
  ::usleep(100'000);
  Row row;
  for (int i = 0; i < 3; ++i) row = RowOf(thread.tid());
  while (result == 1) ::usleep(1000);
  if (result != 0) return 2;  // EINTR
  return row.labels["state"] == "waiting" && row.labels.contains("problem") ? 0 : 3;
}

TEST(Goroutines, AWaitThatTheKernelKeepsToRootIsNotDisturbed) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(WaitsUndisturbedAsNobody());
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0) << status;
}

TEST(Goroutines, OurOwnThreadsAreNotInIt) {
  std::atomic<bool> stop{false};
  const Thread thread(
      [&] {
        BecomeProfilerThread();
        while (!stop) ::usleep(1000);
      },
      [&] { stop = true; });
  Row row{.labels = {{"x", "y"}}, .stack = {}};
  for (int i = 0; i < 2000 && !row.labels.empty(); ++i) row = RowOf(thread.tid());
  EXPECT_TRUE(row.labels.empty());
}

}  // namespace
}  // namespace heldby
