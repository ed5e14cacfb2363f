// Stacks of threads that wait in the kernel, taken without touching them: from what
// /proc/self/task/TID/syscall tells, which is the stack pointer and the program counter.
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "comparison.h"

extern "C" void OddFrameByFramePointer();

namespace heldby::core {
namespace {

// Where thread `tid` waits; false: it does not.
bool RegistersOf(pid_t tid, Registers* registers) {
  std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/syscall");
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text);
  std::string field;
  std::string last[2];
  while (fields >> field) {
    last[0] = last[1];
    last[1] = field;
  }
  if (text.empty() || text == "running" || last[0].rfind("0x", 0) != 0) return false;
  *registers = {.pc = std::stoul(last[1], nullptr, 16),
                .sp = std::stoul(last[0], nullptr, 16),
                .fp = 0,
                .fp_known = false};
  return true;
}

// A thread that takes its own stack and then waits, in a function that the walk must show.
class Waiting {
 public:
  template <typename Wait>
  explicit Waiting(Wait wait) {
    thread_ = std::thread([this, wait] {
      std::this_thread::yield();
      Outer(wait);
    });
    while (tid_.load() == 0) std::this_thread::yield();
  }
  ~Waiting() { thread_.join(); }

  Stack Parked() {
    // In the kernel, at the same place twice with time in between: it has arrived where it
    // waits.
    Registers registers;
    Stack stack;
    for (int i = 0; i < 2000; ++i) {
      Registers again;
      if (RegistersOf(tid_, &registers)) {
        usleep(1000);
        if (RegistersOf(tid_, &again) && again.pc == registers.pc && again.sp == registers.sp) {
          break;
        }
      }
      usleep(1000);
    }
    CaptureParked(registers, &stack);
    return stack;
  }
  const Stack& own() const { return own_; }

 private:
  template <typename Wait>
  __attribute__((noinline)) void Outer(const Wait& wait) {
    CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &own_);
    tid_ = static_cast<pid_t>(syscall(SYS_gettid));
    wait();
    asm volatile("");
  }

  std::atomic<pid_t> tid_{0};
  Stack own_;
  std::thread thread_;
};

// The frames that the thread saw above the function it waits in are the last of the parked
// stack.
void ExpectToEndAs(const Stack& own, const Stack& parked) {
  EXPECT_FALSE(parked.truncated);
  ASSERT_GT(parked.depth, own.depth);
  EXPECT_TRUE(
      std::equal(own.frames, own.frames + own.depth, parked.frames + parked.depth - own.depth));
}

TEST(CaptureParked, TheStackOfAThreadInASystemCallIsTheOneItHas) {
  // By syscall(): a sanitizer's own read() has a frame by rbp.
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  {
    Waiting reader([&] {
      char byte;
      EXPECT_EQ(syscall(SYS_read, pipes[0], &byte, 1), 1);
    });
    ExpectToEndAs(reader.own(), reader.Parked());
    ASSERT_EQ(write(pipes[1], "x", 1), 1);
  }
  {
    Waiting poller([&] {
      pollfd descriptor{pipes[0], POLLIN, 0};
      EXPECT_EQ(syscall(SYS_poll, &descriptor, 1, 20'000), 1);
    });
    ExpectToEndAs(poller.own(), poller.Parked());
    ASSERT_EQ(write(pipes[1], "x", 1), 1);
  }
  close(pipes[0]);
  close(pipes[1]);
}

TEST(CaptureParked, AThreadThatWaitsForALockOrAConditionIsWalkedThroughLibc) {
  std::mutex mutex;
  std::condition_variable condition;
  bool ready = false;
  {
    std::unique_lock<std::mutex> lock(mutex);
    Waiting locker([&] { const std::lock_guard<std::mutex> guard(mutex); });
    ExpectToEndAs(locker.own(), locker.Parked());
    lock.unlock();
  }
  Waiting waiter([&] {
    std::unique_lock<std::mutex> lock(mutex);
    condition.wait(lock, [&] { return ready; });
  });
  ExpectToEndAs(waiter.own(), waiter.Parked());
  {
    const std::lock_guard<std::mutex> guard(mutex);
    ready = true;
  }
  condition.notify_all();
}

TEST(CaptureParked, AFrameByAFramePointerThatNobodyKnowsCutsTheStack) {
  // A stack by hand, of zeros: with the register, the walk goes on to the outermost frame.
  std::uintptr_t memory[64] = {};
  const auto pc = reinterpret_cast<std::uintptr_t>(&OddFrameByFramePointer) + 4;
  Registers at = {.pc = pc,
                  .sp = reinterpret_cast<std::uintptr_t>(&memory[4]),
                  .fp = reinterpret_cast<std::uintptr_t>(&memory[40])};
  Stack stack;
  CaptureParked(at, &stack);
  EXPECT_EQ(stack.depth, 1);
  EXPECT_FALSE(stack.truncated);
  at.fp_known = false;
  CaptureParked(at, &stack);
  EXPECT_EQ(stack.depth, 1);
  EXPECT_TRUE(stack.truncated);
}

TEST(CaptureParked, AStackThatIsGoneGivesOneFrameAndSaysThatItIsCut) {
  constexpr std::size_t kBytes = 16 * 4096;
  char* memory = static_cast<char*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(memory, kBytes);
  Stack stack;
  CaptureParked({.pc = reinterpret_cast<std::uintptr_t>(&CaptureReference) + 4,
                 .sp = reinterpret_cast<std::uintptr_t>(memory + 4096),
                 .fp = 0,
                 .fp_known = false},
                &stack);
  EXPECT_EQ(stack.depth, 1);
  EXPECT_TRUE(stack.truncated);
}

TEST(CaptureParked, WaitsForAForkThatIsUnderWay) {
  // Pages to copy the tables of, so that a fork takes its time.
  constexpr std::size_t kBytes = 64 << 20;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  std::atomic<bool> stop{false};
  {
    Waiting reader([&] {
      char byte;
      EXPECT_EQ(syscall(SYS_read, pipes[0], &byte, 1), 1);
    });
    reader.Parked();
    std::thread forks([&] {
      while (!stop) {
        const pid_t child = fork();
        if (child == 0) _exit(0);
        waitpid(child, nullptr, 0);
      }
    });
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(reader.Parked().truncated) << i;
    stop = true;
    forks.join();
    ASSERT_EQ(write(pipes[1], "x", 1), 1);
  }
  close(pipes[0]);
  close(pipes[1]);
  munmap(memory, kBytes);
}

TEST(CaptureParked, AThreadThatRunsAllTheWhileNeverBringsAFault) {
  // Its stack changes under the walk: whatever comes out, nothing is touched that is not there.
  std::atomic<bool> stop{false};
  std::atomic<std::uintptr_t> sp{0};
  std::atomic<std::uintptr_t> fp{0};
  std::thread runner([&] {
    const auto recurse = [&](const auto& self, int depth) -> int {
      volatile char ballast[300];
      ballast[0] = static_cast<char>(depth);
      sp.store(reinterpret_cast<std::uintptr_t>(&ballast) & ~std::uintptr_t{15},
               std::memory_order_relaxed);
      fp.store(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)),
               std::memory_order_relaxed);
      return depth == 0 || stop.load(std::memory_order_relaxed)
                 ? 0
                 : self(self, depth - 1) + ballast[0];
    };
    while (!stop.load(std::memory_order_relaxed)) recurse(recurse, 50);
  });
  while (sp.load() == 0) std::this_thread::yield();
  const auto pc = reinterpret_cast<std::uintptr_t>(&CaptureParked);
  int deepest = 0;
  for (int i = 0; i < 50'000; ++i) {
    Stack stack;
    CaptureParked({.pc = pc + static_cast<std::uintptr_t>(i) % 64,
                   .sp = sp.load(std::memory_order_relaxed),
                   .fp = fp.load(std::memory_order_relaxed)},
                  &stack);
    deepest = std::max(deepest, stack.depth);
  }
  stop = true;
  runner.join();
  EXPECT_GE(deepest, 1);
}

}  // namespace
}  // namespace heldby::core
