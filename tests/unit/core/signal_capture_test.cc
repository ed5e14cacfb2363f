// Asking threads by a signal, as a host would notice it: its handlers, its waits, its errno.
#include "core/stack/signal_capture.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>
#include <vector>

namespace heldby::core {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;

std::int32_t Tid() { return static_cast<std::int32_t>(syscall(SYS_gettid)); }

AskedThread Question(std::int32_t tid) {
  AskedThread asked{};
  asked.tid = tid;
  return asked;
}

// Runs in user code, as its loop shows, until it is told to end.
class Busy {
 public:
  explicit Busy(bool blocks_signals = false) {
    thread_ = std::thread([this, blocks_signals] {
      sigset_t all;
      sigfillset(&all);
      if (blocks_signals) pthread_sigmask(SIG_BLOCK, &all, nullptr);
      errno = 4711;
      tid_ = Tid();
      Spin();
      errno_kept_ = errno == 4711;
    });
    while (tid_ == 0) std::this_thread::yield();
  }
  ~Busy() {
    stop_ = true;
    thread_.join();
    EXPECT_TRUE(errno_kept_);
  }
  std::int32_t tid() const { return tid_; }
  static bool IsIn(const Stack& stack) {
    return std::any_of(stack.frames, stack.frames + stack.depth,
                       [](std::uintptr_t frame) { return begin <= frame && frame <= end; });
  }

 private:
  __attribute__((noinline)) void Spin() {
    asm volatile("lea 0(%%rip), %0" : "=r"(begin));
    while (!stop_.load(std::memory_order_relaxed)) {
    }
    asm volatile("lea 0(%%rip), %0" : "=r"(end));
    Settle();
  }
  // As soon as the loop has been left once, the range is known.
  static void Settle() { asm volatile(""); }

  static inline std::uintptr_t begin = 0;
  static inline std::uintptr_t end = ~std::uintptr_t{0};
  std::thread thread_;
  std::atomic<std::int32_t> tid_{0};
  std::atomic<bool> stop_{false};
  bool errno_kept_ = false;
};

TEST(CaptureBySignal, GetsTheStackOfAThreadThatRuns) {
  { const Busy once; }  // its range is known from here on
  const Busy busy;
  AskedThread asked = Question(busy.tid());
  EXPECT_GE(CaptureBySignal(&asked, 1, 30 * kSecondNs), SIGRTMIN);
  ASSERT_EQ(asked.answer, Answer::kGiven);
  EXPECT_TRUE(Busy::IsIn(asked.stack));
  EXPECT_FALSE(asked.stack.truncated);
}

TEST(CaptureBySignal, AThreadThatBlocksEverythingIsReportedWhenTheTimeIsOver) {
  const Busy deaf(/*blocks_signals=*/true);
  const Busy busy;
  std::vector<AskedThread> asked = {Question(deaf.tid()), Question(busy.tid())};
  EXPECT_NE(CaptureBySignal(asked.data(), 2, kSecondNs / 2), 0);
  EXPECT_EQ(asked[0].answer, Answer::kNone);
  EXPECT_EQ(asked[1].answer, Answer::kGiven);
  // The withdrawn question does not block the next one.
  EXPECT_NE(CaptureBySignal(asked.data(), 2, kSecondNs / 2), 0);
  EXPECT_EQ(asked[0].answer, Answer::kNone);
  EXPECT_EQ(asked[1].answer, Answer::kGiven);
}

TEST(CaptureBySignal, ALateAnswerChangesNothing) {
  std::atomic<int> phase{0};
  std::atomic<std::int32_t> tid{0};
  std::thread late([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    tid = Tid();
    while (phase == 0) std::this_thread::yield();
    pthread_sigmask(SIG_UNBLOCK, &all, nullptr);  // the handler runs here
    phase = 2;
  });
  while (tid == 0) std::this_thread::yield();
  AskedThread asked = Question(tid);
  asked.stack.depth = -7;
  EXPECT_NE(CaptureBySignal(&asked, 1, kSecondNs / 100), 0);
  EXPECT_EQ(asked.answer, Answer::kNone);
  phase = 1;
  late.join();
  EXPECT_EQ(phase, 2);
  EXPECT_EQ(asked.stack.depth, -7);
}

TEST(CaptureBySignal, ManyMoreThreadsThanSlotsAllAnswer) {
  constexpr int kThreads = 150;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::vector<AskedThread> asked(kThreads);
  std::atomic<int> started{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      asked[static_cast<std::size_t>(i)].tid = Tid();
      ++started;
      while (!stop) usleep(500);
    });
  }
  while (started < kThreads) usleep(500);
  EXPECT_NE(CaptureBySignal(asked.data(), kThreads, 60 * kSecondNs), 0);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const AskedThread& one : asked) EXPECT_EQ(one.answer, Answer::kGiven);
}

// The walk needs about 2 KB: on the thread's own stack it would not fit into what is left here
// beside what the kernel puts there for any handler.
TEST(CaptureBySignal, AThreadWithLittleStackLeftIsWalkedOnAnother) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "its own handler, around ours, is on the thread's stack";
#endif
  struct Shared {
    std::atomic<std::int32_t> tid{0};
    std::atomic<bool> stop{false};
  } shared;
  static constexpr std::size_t kStack = 64 << 10;
  auto* memory = static_cast<char*>(aligned_alloc(4096, kStack));
  std::fill(memory, memory + kStack, '\x5a');
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, memory, kStack);
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  auto& mine = *static_cast<Shared*>(argument);
                  mine.tid = Tid();
                  while (!mine.stop.load(std::memory_order_relaxed)) {
                  }
                  return nullptr;
                },
                &shared),
            0);
  while (shared.tid == 0) std::this_thread::yield();
  AskedThread asked = Question(shared.tid);
  CaptureBySignal(&asked, 1, 30 * kSecondNs);
  EXPECT_EQ(asked.answer, Answer::kGiven);
  shared.stop = true;
  pthread_join(thread, nullptr);
  // How deep the thread's stack was ever used: its own frames, the kernel's, hardly ours.
  const auto used = static_cast<std::size_t>(
      memory + kStack -
      std::find_if(memory, memory + kStack, [](char byte) { return byte != '\x5a'; }));
  EXPECT_LT(used, 16u << 10);
  std::free(memory);
}

TEST(CaptureBySignal, AThreadThatHasEndedIsGone) {
  std::int32_t tid = 0;
  std::thread([&] { tid = Tid(); }).join();
  AskedThread asked = Question(tid);
  CaptureBySignal(&asked, 1, kSecondNs / 10);
  EXPECT_EQ(asked.answer, Answer::kThreadGone);
}

void HostsHandler(int, siginfo_t*, void*) {}

TEST(CaptureBySignal, TheHostsHandlersStayAndAnotherSignalIsTaken) {
  const Busy busy;
  AskedThread asked = Question(busy.tid());
  const int first = CaptureBySignal(&asked, 1, 30 * kSecondNs);
  struct sigaction hosts {};
  hosts.sa_sigaction = &HostsHandler;
  hosts.sa_flags = SA_SIGINFO;
  struct sigaction ours {};
  ASSERT_EQ(sigaction(first, &hosts, &ours), 0);
  const int second = CaptureBySignal(&asked, 1, 30 * kSecondNs);
  EXPECT_EQ(asked.answer, Answer::kGiven);
  EXPECT_NE(second, first);
  struct sigaction now {};
  sigaction(first, nullptr, &now);
  EXPECT_EQ(now.sa_sigaction, &HostsHandler);
  sigaction(first, &ours, nullptr);
}

TEST(CaptureBySignal, ASignalThatSomebodyElseSendsIsIgnored) {
  const Busy busy;
  AskedThread asked = Question(busy.tid());
  const int signal = CaptureBySignal(&asked, 1, 30 * kSecondNs);
  for (int value = 0; value < 1000; ++value) {
    sigval forged;
    forged.sival_int = value;
    ASSERT_EQ(sigqueue(getpid(), signal, forged), 0);
  }
  EXPECT_EQ(CaptureBySignal(&asked, 1, 30 * kSecondNs), signal);
  EXPECT_EQ(asked.answer, Answer::kGiven);
}

TEST(CaptureBySignal, AChildOfAForkInTheMiddleOfItCanAskAnew) {
  const Busy deaf(/*blocks_signals=*/true);
  std::atomic<bool> asking{false};
  std::thread asker([&] {
    AskedThread asked = Question(deaf.tid());
    asking = true;
    CaptureBySignal(&asked, 1, kSecondNs / 2);
  });
  while (!asking) std::this_thread::yield();
  usleep(20'000);  // whether it is at it by now or not: the child must not mind
  const pid_t child = fork();
  if (child == 0) {
    ForgetQuestionsInChild();
    AskedThread self = Question(Tid());
    CaptureBySignal(&self, 1, 30 * kSecondNs);
    _exit(self.answer == Answer::kGiven ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  asker.join();
}

}  // namespace
}  // namespace heldby::core
