// A host that makes processes and threads in every way but fork() and pthread_create(). Built
// without heldby; the scenario is the first argument. Prints "done" and exits with 9 when all
// is well.
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace {

class AllocatingThreads {
 public:
  AllocatingThreads() {
    for (unsigned t = 0; t < 8; ++t) {
      threads_.emplace_back([this, t] {
        for (std::size_t i = t; !end_; i += 37) {
          std::string text(i % 3000 + 1, 'x');
          if (text.back() != 'x') abort();
        }
      });
    }
  }
  ~AllocatingThreads() {
    end_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> end_{false};
  std::vector<std::thread> threads_;
};

int StatusOf(pid_t child) {
  int status = -1;
  if (child <= 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

int SpawnUnderLoad() {
  const AllocatingThreads load;
  char shell[] = "/bin/sh", option[] = "-c", script[] = "exit 5";
  char* const words[] = {shell, option, script, nullptr};
  int wrong = 0;
  for (int i = 0; i < 40; ++i) {
    pid_t child = 0;
    wrong += posix_spawn(&child, shell, nullptr, nullptr, words, environ) != 0;
    wrong += StatusOf(child) != 5;

    FILE* pipe = popen("echo spoken", "r");
    char line[32] = "";
    wrong += pipe == nullptr || fgets(line, sizeof(line), pipe) == nullptr ||
             strcmp(line, "spoken\n") != 0 || pclose(pipe) != 0;

    const int ran = system("exit 6");
    wrong += !WIFEXITED(ran) || WEXITSTATUS(ran) != 6;

    child = vfork();
    if (child == 0) {
      execve(shell, words, environ);
      _exit(1);
    }
    wrong += StatusOf(child) != 5;
  }
  return wrong;
}

// Its memory is ours, its descriptors are not.
int closes_what_is_ours[2];
int ChildOfOurMemory(void*) {
  close(closes_what_is_ours[0]);
  for (int i = 0; i < 1000; ++i) std::free(std::malloc(static_cast<std::size_t>(i) * 10));
  return 4;
}

int CloneWithMemory() {
  int wrong = 0;
  std::vector<char> stack(256 << 10);
  for (int i = 0; i < 50; ++i) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, closes_what_is_ours) != 0) return 1;
    wrong += StatusOf(clone(&ChildOfOurMemory, stack.data() + stack.size(), CLONE_VM | SIGCHLD,
                            nullptr)) != 4;
    wrong += StatusOf(clone(&ChildOfOurMemory, stack.data() + stack.size(),
                            CLONE_VM | CLONE_VFORK | SIGCHLD, nullptr)) != 4;
    char byte = 0;
    wrong += write(closes_what_is_ours[1], "x", 1) != 1;
    wrong += read(closes_what_is_ours[0], &byte, 1) != 1 || byte != 'x';
    std::free(std::malloc(1000));
    if (i == 49) break;
    close(closes_what_is_ours[0]);
    close(closes_what_is_ours[1]);
  }
  // Until standard input ends, with the last two open.
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return wrong;
}

// A thread that libc knows nothing of: it has no thread control block, or its maker's. It works
// without libc until it is told to end.
std::atomic<bool> bare_threads_end{false};
std::atomic<unsigned> bare_turns{0};
[[noreturn]] __attribute__((no_stack_protector)) void BareThread() {
  while (!bare_threads_end.load(std::memory_order_relaxed)) {
    bare_turns.fetch_add(1, std::memory_order_relaxed);
  }
  for (;;) asm volatile("syscall" ::"a"(SYS_exit), "D"(0) : "rcx", "r11", "memory");
}

bool StartBareThread(bool own_tls) {
  constexpr std::size_t kStackBytes = 64 << 10;
  void* memory =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                     CLONE_SYSVSEM | (own_tls ? CLONE_SETTLS : 0);
  char* top = static_cast<char*>(memory) + kStackBytes - 64;
  register long no_child_tid asm("r10") = 0;
  register long no_control_block asm("r8") = 0;
  long result = SYS_clone;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "call *%[run]\n\t"
      "1:"
      : "+a"(result)
      : "D"(flags), "S"(top), "d"(0L), "r"(no_child_tid),
        "r"(no_control_block), [run] "b"(&BareThread)
      : "rcx", "r11", "memory");
  return result > 0;
}

// Until its standard input ends.
int RunBareThreads() {
  if (!StartBareThread(true) || !StartBareThread(false)) return 1;
  while (bare_turns.load() < 1000) usleep(1000);
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  const unsigned before = bare_turns.load();
  for (int i = 0; i < 10'000 && bare_turns.load() == before; ++i) usleep(1000);
  const bool works = bare_turns.load() != before;
  bare_threads_end = true;
  return works ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "";
  const int failures = scenario == "spawn"    ? SpawnUnderLoad()
                       : scenario == "memory" ? CloneWithMemory()
                       : scenario == "bare"   ? RunBareThreads()
                                              : -1;
  if (failures != 0) {
    std::printf("%s: %d failures\n", scenario.c_str(), failures);
    return 1;
  }
  std::puts("done");
  return 9;
}
