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
#include "profile/validate.h"

namespace heldby {
namespace {

std::map<std::string, std::string> LabelsOf(const Sample& sample) {
  std::map<std::string, std::string> labels;
  for (const Label& label : sample.labels) {
    labels[label.key] = label.text.empty() ? std::to_string(label.number) : label.text;
  }
  return labels;
}

// "Innermost < ... < outermost", by names.
std::string StackOf(const Profile& profile, const Sample& sample) {
  std::string text;
  for (const LocationId id : sample.stack) {
    for (const Line& line : profile.locations[static_cast<std::size_t>(id) - 1].lines) {
      text += (text.empty() ? "" : " < ") +
              profile.functions[static_cast<std::size_t>(line.function) - 1].name;
    }
  }
  return text;
}

struct Row {
  std::map<std::string, std::string> labels;
  std::string stack;
};

std::vector<Row> Each() {
  const auto profile = SnapshotGoroutines({.each = true});
  EXPECT_TRUE(profile) << profile.status().message();
  EXPECT_TRUE(ValidateProfile(*profile).ok()) << ValidateProfile(*profile).message();
  std::vector<Row> rows;
  for (const Sample& sample : profile->samples) {
    rows.push_back({LabelsOf(sample), StackOf(*profile, sample)});
  }
  return rows;
}

Row RowOf(std::int32_t tid) {
  for (Row& row : Each()) {
    if (row.labels["goroutine"] == std::to_string(tid) && row.labels.contains("thread")) {
      return row;
    }
  }
  return {};
}

// A thread in `wait`, until `wake` ends it. It has arrived when the kernel says it sleeps.
class Thread {
 public:
  Thread(std::function<void()> wait, std::function<void()> wake)
      : wake_(std::move(wake)), thread_([this, wait = std::move(wait)] {
          tid_ = static_cast<std::int32_t>(syscall(SYS_gettid));
          WaitsInHere(wait);
        }) {
    while (tid_ == 0) std::this_thread::yield();
  }
  ~Thread() {
    if (wake_) wake_();
    thread_.join();
  }
  std::int32_t tid() const { return tid_; }

  // Once it waits in `state`.
  Row Parked(const std::string& state) const {
    Row row;
    for (int i = 0; i < 2000; ++i) {
      row = RowOf(tid_);
      if (row.labels["state"].starts_with(state)) break;
      usleep(1000);
    }
    return row;
  }

 private:
  __attribute__((noinline)) static void WaitsInHere(const std::function<void()>& wait) {
    wait();
    asm volatile("");
  }
  std::function<void()> wake_;
  std::atomic<std::int32_t> tid_{0};
  std::thread thread_;
};

class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe2(fds_, O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  int reader() const { return fds_[0]; }
  void Wake() const { EXPECT_EQ(::write(fds_[1], "x", 1), 1); }

 private:
  int fds_[2];
};

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

TEST(Goroutines, ByDefaultThereAreOnlyTheLabelsOfTheProgram) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the core is not instrumented: its atomics are not seen, its mmap is";
#endif
  const Pipe pipe;
  const Thread thread(
      [&] {
        const ScopedLabels labels({{"route", "/slow"}});
        const Task task("download");
        char byte;
        EXPECT_EQ(::read(pipe.reader(), &byte, 1), 1);
      },
      [&] { pipe.Wake(); });
  const Row row = thread.Parked("read");
  EXPECT_EQ(row.labels.at("task"), "download");
  EXPECT_EQ(row.labels.at("route"), "/slow");

  const auto profile = SnapshotGoroutines();
  ASSERT_TRUE(profile);
  ASSERT_EQ(profile->sample_types.size(), 1u);
  EXPECT_EQ(profile->sample_types[0], (ValueType{"goroutine", "count"}));
  EXPECT_EQ(profile->period, 1);
  int with_route = 0;
  for (const Sample& sample : profile->samples) {
    for (const Label& label : sample.labels) {
      EXPECT_EQ(label.key, "route");
      ++with_route;
    }
  }
  EXPECT_EQ(with_route, 1);

  const auto named = SnapshotGoroutines({.labels = {.task = true, .state = true}});
  ASSERT_TRUE(named);
  const auto found = std::ranges::any_of(named->samples, [](const Sample& sample) {
    const auto labels = LabelsOf(sample);
    return labels.contains("task") && labels.at("task") == "download" &&
           labels.at("state") == "read";
  });
  EXPECT_TRUE(found);
}

TEST(Goroutines, ParkedTasksOfOnePlaceAreOneSampleAndRunningOnesAreNot) {
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < 100; ++i) {
    tasks.emplace_back("job");
    tasks.back().SetState("chan receive");
  }
  const AsyncTask::Piece running(tasks[7]);
  const auto profile = SnapshotGoroutines();
  ASSERT_TRUE(profile);
  std::int64_t parked = 0;
  for (const Sample& sample : profile->samples) {
    const Location& leaf = profile->locations[static_cast<std::size_t>(sample.stack[0]) - 1];
    const Function& function =
        profile->functions[static_cast<std::size_t>(leaf.lines.at(0).function) - 1];
    if (function.filename.find("goroutine_test.cc") == std::string::npos) continue;
    if (sample.stack.size() == 1) parked = sample.values[0];
  }
  EXPECT_EQ(parked, 99);
}

__attribute__((noinline)) void InnerCoroutine() { asm volatile("nop"); }
__attribute__((noinline)) void OuterCoroutine() { asm volatile("nop\n\tnop"); }

TEST(Goroutines, ACoroutinesTaskShowsTheChainOfThoseThatWaitForIt) {
  const AwaitFrame outer = {.awaiter = nullptr,
                            .code = reinterpret_cast<const void*>(&OuterCoroutine),
                            .place = PlaceId::kNone};
  AwaitFrame inner = {.awaiter = &outer,
                      .code = reinterpret_cast<const void*>(&InnerCoroutine),
                      .place = PlaceId::kNone};
  AsyncTask task("read loop");
  Park(task.id(), InternPlace("IO wait: read", SourcePlace::Here()), &inner);
  const auto row_of = [&] {
    for (Row& row : Each()) {
      if (row.labels["task"] == "read loop") return row;
    }
    return Row{};
  };
  Row row = row_of();
  EXPECT_EQ(row.labels["state"], "IO wait: read");
  EXPECT_NE(row.labels["created_by"].find("goroutine_test.cc:"), std::string::npos);
  EXPECT_NE(row.stack.find("InnerCoroutine() < "), std::string::npos) << row.stack;
  EXPECT_NE(row.stack.find("OuterCoroutine()"), std::string::npos) << row.stack;

  inner.place = InternPlace("await", {"somewhere.cc", "Named", 42});
  EXPECT_TRUE(row_of().stack.starts_with("Named < ")) << "the place is more exact";

  // A chain that is gone, or never was readable, harms nobody.
  Park(task.id(), InternPlace("broken", SourcePlace::Here()),
       reinterpret_cast<const AwaitFrame*>(8));
  EXPECT_NE(row_of().stack.find("TestBody"), std::string::npos);
  AwaitFrame cycle;
  cycle.awaiter = &cycle;
  Park(task.id(), InternPlace("cycle", SourcePlace::Here()), &cycle);
  EXPECT_FALSE(row_of().stack.empty());
}

TEST(Goroutines, CountsWhatTheProfileHolds) {
  const std::size_t before = CountGoroutines();
  EXPECT_GE(before, 1u);
  const AsyncTask task("one more");
  EXPECT_EQ(CountGoroutines(), before + 1);
}

TEST(Goroutines, OfManyTheLongestWaitingAreShownAndTheOthersCounted) {
  std::vector<AsyncTask> tasks;
  AsyncTask first("first");
  usleep(20'000);
  for (int i = 0; i < 100; ++i) tasks.emplace_back("later");
  const auto profile = SnapshotGoroutines({.each = true, .most = 10});
  ASSERT_TRUE(profile);
  int later = 0;
  int firsts = 0;
  for (const Sample& sample : profile->samples) {
    const auto labels = LabelsOf(sample);
    if (labels.contains("task") && labels.at("task") == "later") ++later;
    if (labels.contains("task") && labels.at("task") == "first") ++firsts;
  }
  EXPECT_EQ(firsts, 1);
  EXPECT_EQ(later, 9);
  const auto& comments = profile->comments;
  EXPECT_TRUE(std::ranges::any_of(comments, [](const std::string& comment) {
    return comment.find("91 more parked tasks") != std::string::npos;
  }));
}

TEST(Goroutines, AChildHasItsOwnThreadAndNoTask) {
  const AsyncTask task("of the parent");
  const Pipe pipe;
  const Thread thread(
      [&] {
        char byte;
        EXPECT_EQ(::read(pipe.reader(), &byte, 1), 1);
      },
      [&] { pipe.Wake(); });
  const pid_t child = ::fork();
  if (child == 0) ::_exit(CountGoroutines() == 1 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace heldby
