// A host whose threads are sent signals without pause, one at a time what such hosts do. Built
// without heldby; the scenario is the first argument. Prints "done" and exits with 9 when all
// is well.
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> over{false};
int quiet_pair[2];  // nobody writes to it

// What a handler may do: look at memory, and call what is async-signal-safe.
thread_local volatile unsigned sum;
void LookAround(int) {
  const volatile char* at = static_cast<const volatile char*>(__builtin_frame_address(0));
  for (int i = 0; i < 64; ++i) sum = sum + static_cast<unsigned>(at[i * 8]);
  char byte;
  if (read(quiet_pair[0], &byte, 1) > 0) abort();
}

sigjmp_buf jump_target;
volatile sig_atomic_t may_jump = 0;
volatile sig_atomic_t jumps = 0;
void JumpOut(int) {
  if (may_jump == 0) return;
  may_jump = 0;
  jumps = jumps + 1;
  siglongjmp(jump_target, 1);
}

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

class Storm {
 public:
  Storm(std::vector<pthread_t> targets, int signal)
      : thread_([targets = std::move(targets), signal, this] {
          for (unsigned turn = 0; !end_; ++turn) {
            for (const pthread_t target : targets) pthread_kill(target, signal);
            for (unsigned i = 0; i < turn % 977 * 8; ++i) asm volatile("");
          }
        }) {}
  ~Storm() {
    end_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> end_{false};
  std::thread thread_;
};

int StormWhileAllocating() {
  Handle(SIGUSR1, &LookAround);
  constexpr int kThreads = 4;
  std::atomic<int> wrong{0};
  std::atomic<int> working{kThreads};
  std::vector<std::thread> threads;
  std::vector<pthread_t> handles;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&wrong, &working] {
      for (int i = 0; i < 200'000; ++i) {
        const auto size = static_cast<std::size_t>(i % 5000 + 1);
        char* block = static_cast<char*>(std::malloc(size));
        std::memset(block, i, size);
        block = static_cast<char*>(std::realloc(block, size + 100));
        wrong += block[size - 1] != static_cast<char>(i);
        std::free(block);
      }
      --working;
      while (!over) usleep(1000);
    });
    handles.push_back(threads.back().native_handle());
  }
  {
    const Storm storm(handles, SIGUSR1);
    while (working != 0) usleep(1000);
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

int StormWhileLoading(const char* library) {
  Handle(SIGUSR1, &LookAround);
  const Storm storm({pthread_self()}, SIGUSR1);
  for (int i = 0; i < 500; ++i) {
    void* handle = dlopen(library, RTLD_NOW);
    if (handle == nullptr) return 1;
    auto* allocate = reinterpret_cast<void* (*)()>(dlsym(handle, "PluginAllocate"));
    if (allocate == nullptr) return 2;
    allocate();
    if (dlclose(handle) != 0) return 3;
  }
  return 0;
}

__attribute__((noinline)) void HoldAfterJumps() {
  static std::vector<void*> held;
  for (int i = 0; i < 1024; ++i) held.push_back(std::malloc(64 * 1024));
}

// accept() with a time limit, as it was written before there was poll(): the handler of an
// alarm jumps out of it, wherever that was.
int JumpOutOfAccept() {
  sockaddr_un address{AF_UNIX, ""};
  const std::string name = "heldby-storm-" + std::to_string(getpid());
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 2);
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (bind(listener, at, sizeof(address)) != 0 || listen(listener, 8) != 0) return 1;
  Handle(SIGUSR1, &JumpOut);
  {
    const Storm storm({pthread_self()}, SIGUSR1);
    while (jumps < 1000) {
      if (sigsetjmp(jump_target, 1) == 0) {
        may_jump = 1;
        connect(socket(AF_UNIX, SOCK_STREAM, 0), at, sizeof(address));
        accept(listener, nullptr, nullptr);
        may_jump = 0;
      }
      // Jumped out of: who knows which of them there are. The listener stays.
      while (accept(listener, nullptr, nullptr) >= 0) {
      }
      close_range(static_cast<unsigned>(listener) + 1, ~0u, 0);
    }
  }
  HoldAfterJumps();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, quiet_pair) != 0) return 1;
  const std::string scenario = argc > 1 ? argv[1] : "";
  const int failure = scenario == "allocate" ? StormWhileAllocating()
                      : scenario == "load"   ? StormWhileLoading(argv[2])
                      : scenario == "accept" ? JumpOutOfAccept()
                                             : -1;
  if (failure != 0) {
    std::printf("%s: failure %d\n", scenario.c_str(), failure);
    return 1;
  }
  std::puts("done");
  return 9;
}
