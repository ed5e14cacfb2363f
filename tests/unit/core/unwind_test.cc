// Our walk against libgcc's, which interprets every row anew and is what the platform itself
// throws exceptions by. The same stack must come out of both, to the root.
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "comparison.h"

namespace heldby::core {
namespace {

TEST(CaptureStack, AgreesWithLibgccInPlainCode) { ExpectTheSameStack(); }

int QsortCompare(const void* a, const void* b) {
  ExpectTheSameStack();
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

TEST(CaptureStack, AgreesWithLibgccThroughLibcWithoutFramePointers) {
  std::vector<int> numbers = {3, 1, 2, 9, 8, 7};
  qsort(numbers.data(), numbers.size(), sizeof(int), &QsortCompare);
}

__attribute__((noinline)) int Recurse(int depth) {
  volatile char ballast[64];
  ballast[0] = static_cast<char>(depth);
  if (depth == 0) {
    ExpectTheSameStack();
    return ballast[0];
  }
  return Recurse(depth - 1) + ballast[0];
}

TEST(CaptureStack, AgreesWithLibgccAtEveryDepthUpToTheLimit) {
  for (int depth = 0; depth < 90; depth += 7) Recurse(depth);
}

TEST(CaptureStack, MarksAStackDeeperThanTheLimitAsTruncated) {
  struct Deep {
    static void Go(int depth, Stack* stack) {
      // Through a volatile pointer: no inlining, no tail call.
      static void (*volatile self)(int, Stack*) = &Go;
      depth > 0 ? self(depth - 1, stack) : CaptureStack(0, stack);
      asm volatile("");
    }
  };
  Stack stack;
  Deep::Go(300, &stack);
  EXPECT_EQ(stack.depth, kMaxStackDepth);
  EXPECT_TRUE(stack.truncated);
}

TEST(CaptureStack, AgreesWithLibgccInAThreadOfItsOwn) {
  std::thread([] {
    std::function<void()> indirect = [] { Recurse(5); };
    indirect();
  }).join();
}

struct Ballast {
  ~Ballast() { ExpectTheSameStack(); }
};

TEST(CaptureStack, AgreesWithLibgccWhileAnExceptionIsInFlight) {
  for (int i = 0; i < 3; ++i) {
    try {
      Ballast ballast;
      throw std::runtime_error("unwinding runs the destructor");
    } catch (const std::runtime_error&) {
      ExpectTheSameStack();
    }
  }
}

// alignas makes the compiler realign the stack: CFA and rbp by expression.
__attribute__((noinline)) void Realigned(int value) {
  alignas(64) volatile int wide[16];
  wide[value % 16] = value;
  ExpectTheSameStack();
  wide[0] = wide[1];
}
TEST(CaptureStack, AgreesWithLibgccThroughARealignedFrame) { Realigned(3); }

__attribute__((noinline)) void VariableLength(int size) {
  auto* room = static_cast<volatile char*>(__builtin_alloca(static_cast<std::size_t>(size)));
  room[0] = 1;
  ExpectTheSameStack();
  room[1] = room[0];
}
TEST(CaptureStack, AgreesWithLibgccThroughAnAllocaFrame) {
  for (int size = 16; size < 5000; size *= 3) VariableLength(size);
}

#ifndef __SANITIZE_THREAD__  // ExpectTheSameStack() allocates in the handler, which TSan
                             // rightly reports
int signals = 0;
void OnSignal(int) {
  ++signals;
  ExpectTheSameStack();
}

TEST(CaptureStack, AgreesWithLibgccInASignalHandler) {
  struct sigaction action {};
  action.sa_handler = &OnSignal;
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
  EXPECT_EQ(signals, 1);
}

TEST(CaptureStack, AgreesWithLibgccOnAnAlternateSignalStack) {
  std::vector<char> memory(64 * 1024);
  stack_t alternate{};
  alternate.ss_sp = memory.data();
  alternate.ss_size = memory.size();
  ASSERT_EQ(sigaltstack(&alternate, nullptr), 0);
  struct sigaction action {};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR2, &action, nullptr);
  for (int i = 0; i < 3; ++i) raise(SIGUSR2);
  alternate.ss_flags = SS_DISABLE;
  sigaltstack(&alternate, nullptr);
}
#endif

// A storm: wherever the timer strikes, in prologues, epilogues, the C library, PLT entries.
int storm_comparisons = 0;
int storm_lost = 0;
void OnStorm(int) {
  Stack ours;
  Reference theirs;
  CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &ours);
  CaptureReference(&theirs);
  ++storm_comparisons;
  const Verdict verdict = Compare(ours, theirs);
  if (verdict == Verdict::kTruncated) ++storm_lost;
  if (verdict != Verdict::kTruncated && verdict != Verdict::kIdentical) abort();
}

TEST(CaptureStack, AgreesWithLibgccWhereverATimerStrikes) {
  struct sigaction action {};
  action.sa_handler = &OnStorm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  itimerval every{{0, 200}, {0, 200}};
  setitimer(ITIMER_REAL, &every, nullptr);
  std::map<std::string, int> words;
  for (int round = 0; storm_comparisons < 3000 && round < 100'000; ++round) {
    const std::regex pattern("([a-z]+)-([0-9]+)");
    std::smatch match;
    const std::string text = "word-" + std::to_string(round);
    if (std::regex_match(text, match, pattern)) ++words[match[1]];
    std::vector<int> numbers(500);
    std::generate(numbers.begin(), numbers.end(), rand);
    std::sort(numbers.begin(), numbers.end());
  }
  every = {};
  setitimer(ITIMER_REAL, &every, nullptr);
  EXPECT_GE(storm_comparisons, 3000);
  EXPECT_LE(storm_lost, storm_comparisons / 1000);
  std::printf("%d stacks compared, %d given up\n", storm_comparisons, storm_lost);
}

ucontext_t main_context;
ucontext_t fiber_context;
void Fiber() {
  Recurse(3);
  swapcontext(&fiber_context, &main_context);
}
TEST(CaptureStack, AgreesWithLibgccOnAFiberStack) {
  constexpr std::size_t kSize = 64 * 1024;
  for (int i = 0; i < 3; ++i) {
    void* stack =
        mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&fiber_context);
    fiber_context.uc_stack.ss_sp = stack;
    fiber_context.uc_stack.ss_size = kSize;
    fiber_context.uc_link = &main_context;
    makecontext(&fiber_context, &Fiber, 0);
    swapcontext(&main_context, &fiber_context);
    munmap(stack, kSize);
  }
}

// A frame pointer that points to nowhere, under code without a row: the walk ends, says so, and
// touches nothing it must not.
TEST(CaptureStack, GarbageAndGuardPagesEndTheWalkWithoutAFault) {
  constexpr std::size_t kPage = 4096;
  auto* code = static_cast<unsigned char*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  // push rbp; mov rbp, rsi; call rdi; pop rbp; ret - generated code that uses rbp for data.
  const unsigned char body[] = {0x55, 0x48, 0x89, 0xf5, 0xff, 0xd7, 0x5d, 0xc3};
  std::copy(std::begin(body), std::end(body), code);
  ASSERT_EQ(mprotect(code, kPage, PROT_READ | PROT_EXEC), 0);
  auto* guard = static_cast<char*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_EQ(mprotect(guard + kPage, kPage, PROT_NONE), 0);

  static Stack stack;
  using Generated = void (*)(void (*)(), std::uintptr_t);
  auto generated = reinterpret_cast<Generated>(code);
  const std::uintptr_t garbage[] = {
      1,
      0xdeadbeefdeadbee8,
      ~std::uintptr_t{7},
      reinterpret_cast<std::uintptr_t>(guard + kPage - 8),
      reinterpret_cast<std::uintptr_t>(guard),
      reinterpret_cast<std::uintptr_t>(&stack) & ~std::uintptr_t{7}};
  for (const std::uintptr_t fp : garbage) {
    generated([] { CaptureStack(0, &stack); }, fp);
    EXPECT_TRUE(stack.truncated);
    EXPECT_GE(stack.depth, 1);
  }
  munmap(code, kPage);
  munmap(guard, 2 * kPage);
}

}  // namespace
}  // namespace heldby::core
