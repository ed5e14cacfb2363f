// The walk at every instruction: the processor's trap flag stops this program after each one,
// and the handler takes the interrupted stack by our walk and by libgcc's.
#include <dlfcn.h>
#include <sys/time.h>
#include <ucontext.h>

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comparison.h"

namespace heldby::core {
namespace {

constexpr greg_t kTrapFlag = 0x100;

struct Tally {
  long steps = 0;
  long of[5] = {};
  long in_libgcc = 0;
  std::uintptr_t first_bad = 0;
  int first_bad_verdict = 0;
} tally;
volatile bool stepping = false;

__attribute__((noinline)) void Stop() { asm volatile(""); }

void OnStep(int, siginfo_t*, void* context) {
  auto& gregs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (!stepping) {  // the breakpoint of StepThrough
    stepping = true;
    gregs[REG_EFL] |= kTrapFlag;
    return;
  }
  const auto pc = static_cast<std::uintptr_t>(gregs[REG_RIP]);
  if (pc == reinterpret_cast<std::uintptr_t>(&Stop)) {
    stepping = false;
    gregs[REG_EFL] &= ~kTrapFlag;
    return;
  }
  ++tally.steps;
  Stack ours;
  CaptureInterrupted(context, &ours);
  if (IsInLibgcc(pc)) {
    ++tally.in_libgcc;
    return;
  }
  Reference theirs;
  CaptureReference(&theirs);
  const Verdict verdict = Compare(ours, theirs);
  ++tally.of[static_cast<int>(verdict)];
  if (verdict != Verdict::kIdentical && tally.first_bad == 0) {
    tally.first_bad = pc;
    tally.first_bad_verdict = static_cast<int>(verdict);
  }
}

// `may_be_cut`: of instructions at which registers are those of two frames at once.
template <typename Function>
void StepThrough(const Function& function, long may_be_cut = 0) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = &OnStep;
  action.sa_flags = SA_SIGINFO;
  ASSERT_EQ(sigaction(SIGTRAP, &action, &before), 0);
  tally = {};
  asm volatile("int3");
  function();
  Stop();
  sigaction(SIGTRAP, &before, nullptr);
  const auto count = [](Verdict verdict) { return tally.of[static_cast<int>(verdict)]; };
  std::printf("%ld instructions, %ld of them libgcc's own; %ld identical, %ld truncated\n",
              tally.steps, tally.in_libgcc, count(Verdict::kIdentical),
              count(Verdict::kTruncated));
  Dl_info info{};
  dladdr(reinterpret_cast<void*>(tally.first_bad), &info);
  char place[512];
  std::snprintf(place, sizeof(place), "first at %s+0x%lx (%s), verdict %d",
                info.dli_fname != nullptr ? info.dli_fname : "?",
                tally.first_bad - reinterpret_cast<std::uintptr_t>(info.dli_fbase),
                info.dli_sname != nullptr ? info.dli_sname : "?", tally.first_bad_verdict);
  EXPECT_GT(tally.steps, 100);
  EXPECT_EQ(count(Verdict::kDifferent), 0) << place;
  EXPECT_EQ(count(Verdict::kLonger), 0) << place;
  EXPECT_EQ(count(Verdict::kAbsent), 0) << place;
  EXPECT_LE(count(Verdict::kTruncated), may_be_cut) << place;
}

int Compare2(const void* a, const void* b) {
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

TEST(EveryInstruction, OfTheCLibraryWithoutFramePointers) {
  StepThrough([] {
    int numbers[] = {9, 3, 7, 1, 8, 2, 6, 4, 5, 0};
    std::qsort(numbers, 10, sizeof(int), &Compare2);
    char text[200];
    std::snprintf(text, sizeof(text), "%s %d %.3f %#lx", "text", numbers[3], 2.5, 77L);
    volatile double value = std::strtod("3.25e7", nullptr);
    (void)value;
    void* blocks[20];
    for (int i = 0; i < 20; ++i) blocks[i] = std::malloc(static_cast<std::size_t>(i) * 700 + 1);
    for (void* block : blocks) std::free(block);
    timeval now;
    gettimeofday(&now, nullptr);  // the vdso
    std::string big(5000, 'x');
    std::memmove(big.data(), big.data() + 100, 4000);  // the processor's own variant
  });
}

TEST(EveryInstruction, OfTemplatesAndVirtualCalls) {
  StepThrough([] {
    std::map<std::string, std::vector<int>> words;
    for (int i = 0; i < 5; ++i) words["key" + std::to_string(i % 3)].push_back(i);
    const std::regex pattern("([a-c]+)=(\\d+)");
    std::smatch match;
    const std::string text = "abc=12";
    EXPECT_TRUE(std::regex_match(text, match, pattern));
  });
}

TEST(EveryInstruction, OfAThrowAndItsCatch) {
  struct Ballast {
    std::string text = std::string(100, 'b');
    ~Ballast() { text.clear(); }
  };
  StepThrough([] {
    try {
      Ballast ballast;
      throw std::runtime_error("thrown");
    } catch (const std::runtime_error& error) {
      std::string what = error.what();
    }
  });
  EXPECT_GT(tally.in_libgcc, 0);
}

TEST(EveryInstruction, OfAFunctionThatIsBoundWhenFirstCalled) {
  // Debian's libm is bound lazily to libc: the first call of each of its imports goes through
  // the dynamic linker, whose frame is by rbx.
  void* library = dlopen("libz.so.1", RTLD_LAZY | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  auto* crc =
      reinterpret_cast<unsigned long (*)(unsigned long, const unsigned char*, unsigned)>(
          dlsym(library, "crc32"));
  auto* bound =
      reinterpret_cast<unsigned long (*)(unsigned long)>(dlsym(library, "compressBound"));
  auto* compress =
      reinterpret_cast<int (*)(unsigned char*, unsigned long*, const unsigned char*,
                               unsigned long)>(dlsym(library, "compress"));
  ASSERT_TRUE(crc != nullptr && bound != nullptr && compress != nullptr);
  StepThrough([&] {
    unsigned char out[200];
    unsigned long size = bound(10);
    compress(out, &size, reinterpret_cast<const unsigned char*>("aaaaaaaaaa"), 10);
    crc(0, out, static_cast<unsigned>(size));
  });
  dlclose(library);
}

jmp_buf jump;
ucontext_t here;
ucontext_t fiber;

TEST(EveryInstruction, OfALongjmpAndOfAContextSwitch) {
  // In the middle of either, some registers are the old frame's and some the new one's. libgcc
  // has no stack there, either; ours must say that it is cut.
  StepThrough(
      [] {
        volatile int count = 0;
        if (setjmp(jump) < 3) {
          count = count + 1;
          longjmp(jump, count);
        }
      },
      /*may_be_cut=*/100);
  static char stack[64 * 1024];
  getcontext(&fiber);
  fiber.uc_stack.ss_sp = stack;
  fiber.uc_stack.ss_size = sizeof(stack);
  fiber.uc_link = &here;
  makecontext(
      &fiber, [] { std::string text(100, 'f'); }, 0);
  StepThrough([] { swapcontext(&here, &fiber); }, /*may_be_cut=*/100);
}

}  // namespace
}  // namespace heldby::core
