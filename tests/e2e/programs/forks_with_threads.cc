// A handler on the child's side of fork, registered before any constructor has run, starts
// threads there; so does the child itself. Says in how many children a thread ran as another.
// Built without heldby.
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

namespace {

constexpr int kForks = 200;
constexpr long kThreads = 4;

std::atomic<int> runs[kThreads];
pthread_t threads[kThreads];

void* Run(void* number) {
  ++runs[reinterpret_cast<long>(number)];
  return number;
}

void Begin(long first, long last) {
  for (long i = first; i < last; ++i) {
    if (pthread_create(&threads[i], nullptr, &Run, reinterpret_cast<void*>(i)) != 0) _exit(2);
  }
}

void OnForkInChild() { Begin(0, kThreads / 2); }
void Register() { pthread_atfork(nullptr, nullptr, &OnForkInChild); }
__attribute__((section(".preinit_array"), used)) void (*before_all)() = &Register;

[[noreturn]] void Child() {
  alarm(20);
  Begin(kThreads / 2, kThreads);
  bool right = true;
  for (long i = 0; i < kThreads; ++i) {
    void* result = nullptr;
    pthread_join(threads[i], &result);
    right = right && result == reinterpret_cast<void*>(i) && runs[i] == 1;
  }
  _exit(right ? 0 : 1);
}

}  // namespace

int main() {
  int wrong = 0;
  for (int i = 0; i < kForks; ++i) {
    const pid_t child = fork();
    if (child == 0) Child();
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0) ++wrong;
  }
  printf("%d children went wrong\n", wrong);
}
