// Nothing but arithmetic and loads: once a thread has taken a stack, the next one at its place
// makes no system call (a futex would be one) and allocates nothing. A seccomp filter ends the
// process at the first one; a second test shows that it does.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>

#include "comparison.h"

static std::atomic<long> allocations{0};
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}

namespace heldby::core {
namespace {

// Only the end of the process is allowed from here on.
bool ForbidSystemCalls() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog filter = {.len = sizeof(program) / sizeof(program[0]), .filter = program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

constexpr int kGood = 0;
constexpr int kNoFilter = 2;
constexpr int kAllocated = 3;
constexpr int kNoStack = 4;

// From a page below the one `window` runs on, whatever the compiler inlines and wherever the
// stack begins: a walk that starts deeper than any before may ask for the page it starts on.
template <typename Prepare>
__attribute__((noinline)) void APageDeeper(const Prepare& prepare) {
  volatile char page[4096];
  page[0] = 0;
  prepare();
  page[4095] = page[0];
}

// How a child ends that does `prepare`, forbids system calls, and does `window`.
template <typename Prepare, typename Window>
int StatusOfChild(const Prepare& prepare, const Window& window) {
  const pid_t child = fork();
  if (child == 0) {
    APageDeeper(prepare);
    if (!ForbidSystemCalls()) _exit(kNoFilter);
    const long before = allocations.load();
    const bool good = window();
    _exit(!good ? kNoStack : allocations.load() != before ? kAllocated : kGood);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

int captured_depth = 0;
__attribute__((noinline)) int Deep(int depth) {
  volatile char ballast[100];
  ballast[0] = static_cast<char>(depth);
  if (depth == 0) {
    Stack stack;
    CaptureStack(0, &stack);
    captured_depth = stack.depth;
    return 0;
  }
  return Deep(depth - 1) + ballast[0];
}

bool Warm() {
  for (int depth = 40; depth >= 0; --depth) Deep(depth);
  return captured_depth > 3;
}

TEST(CaptureStack, MakesNoSystemCallAndAllocatesNothing) {
  EXPECT_EQ(StatusOfChild([] { Warm(); }, &Warm), kGood);
}

TEST(CaptureStack, MakesNoSystemCallOnAThreadOfItsOwn) {
  const auto in_thread = [](void*) -> void* {
    APageDeeper(&Warm);
    if (!ForbidSystemCalls()) _exit(kNoFilter);
    _exit(Warm() ? kGood : kNoStack);
  };
  EXPECT_EQ(StatusOfChild(
                [&] {
                  pthread_t thread;
                  if (pthread_create(&thread, nullptr, in_thread, nullptr) == 0) {
                    pthread_join(thread, nullptr);
                  }
                },
                [] { return false; }),
            kGood);
}

// As if a signal had come here.
__attribute__((noinline)) bool CaptureAsInterrupted() {
  ucontext_t here{};
  auto& gregs = here.uc_mcontext.gregs;
  asm volatile("mov %%rbx, %0\n\tmov %%rbp, %1\n\tmov %%rsp, %2"
               : "=m"(gregs[REG_RBX]), "=m"(gregs[REG_RBP]), "=m"(gregs[REG_RSP]));
  asm volatile("lea (%%rip), %0" : "=r"(gregs[REG_RIP]));
  Stack stack;
  CaptureInterrupted(&here, &stack);
  return stack.depth > 3 && !stack.truncated;
}

TEST(CaptureInterrupted, MakesNoSystemCallAndAllocatesNothing) {
  EXPECT_EQ(StatusOfChild([] { CaptureAsInterrupted(); }, &CaptureAsInterrupted), kGood);
}

TEST(TheFilterOfTheseTests, EndsAProcessAtItsFirstSystemCall) {
  const int status = StatusOfChild([] {}, [] { return syscall(SYS_getppid) > 0; });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(TheFilterOfTheseTests, SeesAnAllocation) {
  const int status = StatusOfChild([] { free(malloc(1)); },
                                   [] {
                                     void* volatile block = malloc(1);
                                     return block != nullptr;
                                   });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kAllocated);
}

}  // namespace
}  // namespace heldby::core
