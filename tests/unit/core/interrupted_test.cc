// Stacks of interrupted code: from a handler on the same stack, on an alternate one, and of
// code whose registers are nonsense.
#include <sys/mman.h>
#include <ucontext.h>

#include <csignal>
#include <cstdlib>
#include <vector>

#include "comparison.h"

extern "C" void OddLeafByRax();
extern "C" void OddNoRowsTraps();
extern "C" void OddHugeFrame(void (*then)());

namespace heldby::core {
namespace {

Stack taken;
Reference reference;
void OnSignal(int, siginfo_t*, void* context) {
  CaptureInterrupted(context, &taken);
  CaptureReference(&reference);
}

class Handler {
 public:
  explicit Handler(int number, int flags) : number_(number) {
    struct sigaction action {};
    action.sa_sigaction = &OnSignal;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(number, &action, &before_);
  }
  ~Handler() { sigaction(number_, &before_, nullptr); }

 private:
  int number_;
  struct sigaction before_ {};
};

TEST(CaptureInterrupted, IsTheStackOfTheCodeThatWasInterrupted) {
  const Handler handler(SIGUSR1, 0);
  raise(SIGUSR1);
  EXPECT_EQ(Compare(taken, reference), Verdict::kIdentical);
  EXPECT_FALSE(taken.truncated);
}

TEST(CaptureInterrupted, WorksFromAnAlternateStack) {
  std::vector<char> memory(64 * 1024);
  stack_t alternate{};
  alternate.ss_sp = memory.data();
  alternate.ss_size = memory.size();
  ASSERT_EQ(sigaltstack(&alternate, nullptr), 0);
  const Handler handler(SIGUSR2, SA_ONSTACK);
  for (int i = 0; i < 3; ++i) {
    raise(SIGUSR2);
    EXPECT_EQ(Compare(taken, reference), Verdict::kIdentical);
  }
  alternate.ss_flags = SS_DISABLE;
  sigaltstack(&alternate, nullptr);
}

TEST(CaptureInterrupted, FollowsARegisterThatOnlyTheInterruptedCodeHas) {
  const Handler handler(SIGTRAP, 0);
  OddLeafByRax();
  EXPECT_EQ(Compare(taken, reference), Verdict::kIdentical);
  EXPECT_FALSE(taken.truncated);
}

std::vector<Stack> traps;
TEST(CaptureInterrupted, CodeWithoutRowsIsLeftAtItsFirstInstructionAndCutAfterIt) {
  struct sigaction action {};
  struct sigaction before {};
  traps.reserve(2);
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    CaptureInterrupted(context, &traps.emplace_back());
  };
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, &before);
  OddNoRowsTraps();
  asm volatile("");
  sigaction(SIGTRAP, &before, nullptr);
  ASSERT_EQ(traps.size(), 2u);
  Stack own;
  CaptureStack(0, &own);
  EXPECT_FALSE(traps[0].truncated);
  ASSERT_GT(traps[0].depth, 3);
  EXPECT_EQ(traps[0].frames[traps[0].depth - 1], own.frames[own.depth - 1]);
  EXPECT_EQ(traps[0].depth, own.depth + 1);  // the function itself
  EXPECT_EQ(traps[1].depth, 1);
  EXPECT_TRUE(traps[1].truncated);
}

TEST(CaptureInterrupted, RegistersOfNonsenseEndTheWalkWithoutAFault) {
  constexpr std::size_t kPage = 4096;
  auto* guard = static_cast<char*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_EQ(mprotect(guard + kPage, kPage, PROT_NONE), 0);
  const auto code = reinterpret_cast<greg_t>(&qsort);
  const greg_t values[] = {0,
                           1,
                           8,
                           -8,
                           -1,
                           static_cast<greg_t>(0xdeadbeefdeadbee8),
                           code,
                           reinterpret_cast<greg_t>(guard),
                           reinterpret_cast<greg_t>(guard + kPage - 8),
                           reinterpret_cast<greg_t>(guard + kPage),
                           reinterpret_cast<greg_t>(&taken)};
  for (const greg_t pc : values) {
    for (const greg_t sp : values) {
      for (const greg_t fp : values) {
        ucontext_t context{};
        context.uc_mcontext.gregs[REG_RIP] = pc;
        context.uc_mcontext.gregs[REG_RSP] = sp;
        context.uc_mcontext.gregs[REG_RBP] = fp;
        context.uc_mcontext.gregs[REG_RBX] = fp;
        CaptureInterrupted(&context, &taken);
        EXPECT_GE(taken.depth, 1);
      }
    }
  }
  // And the thread's own stack is taken as ever.
  ExpectTheSameStack();
  munmap(guard, 2 * kPage);
}

TEST(CaptureInterrupted, AStackThatRanIntoItsGuardPageIsTakenFromThere) {
  // Behind OddHugeFrame's `sub $0x100008, %rsp` (7 bytes), which left the stack: the return
  // address, here the 0 of an outermost frame, is 1 MiB above.
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kBytes = 0x100000 + 3 * kPage;
  auto* stack = static_cast<char*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_EQ(mprotect(stack, kPage, PROT_NONE), 0);
  ucontext_t context{};
  context.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&OddHugeFrame) + 7;
  context.uc_mcontext.gregs[REG_RSP] = reinterpret_cast<greg_t>(stack + kPage - 16);
  CaptureInterrupted(&context, &taken);
  EXPECT_EQ(taken.depth, 1);
  EXPECT_FALSE(taken.truncated);
  munmap(stack, kBytes);
}

}  // namespace
}  // namespace heldby::core
