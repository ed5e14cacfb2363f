// A host that does one thing that few do; the first argument says which. Built without heldby.
// Prints what it found, and exits with 9.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace {

// All memory locked, as databases and real-time programs do: what is mapped becomes resident.
void LockMemory() {
  for (int i = 0; i < 1000; ++i) {
    if (std::malloc(5000) == nullptr) return;
  }
  if (mlockall(MCL_CURRENT) != 0) return std::perror("mlockall");
  FILE* status = std::fopen("/proc/self/status", "r");
  char line[256];
  while (std::fgets(line, sizeof(line), status) != nullptr) {
    if (std::strncmp(line, "VmRSS:", 6) == 0) std::printf("%d\n", std::atoi(line + 6));
  }
  std::fclose(status);
}

// fork() is no cancellation point.
void* ForkWhileACancelIsPending(void*) {
  pthread_cancel(pthread_self());
  const pid_t child = fork();
  if (child == 0) _exit(0);
  std::printf("forked: %d\n", child > 0);
  waitpid(child, nullptr, 0);
  return nullptr;
}

void ForkInACancelledThread() {
  pthread_t thread;
  pthread_create(&thread, nullptr, &ForkWhileACancelIsPending, nullptr);
  void* result = nullptr;
  pthread_join(thread, &result);
  std::printf("cancelled: %d\n", result == PTHREAD_CANCELED);
}

// Nor is exit().
void ExitWhileACancelIsPending() {
  std::thread([] {}).join();
  std::puts("exits");
  std::fflush(stdout);
  pthread_cancel(pthread_self());
  std::exit(9);
}

// Without a standard error: the next file is given its number.
void KeepDataAtNumberTwo(const char* path) {
  close(STDERR_FILENO);
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  std::printf("number: %d\n", fd);
  if (write(fd, "data\n", 5) != 5) std::abort();
}

void ForkSomeTimes() {
  for (int i = 0; i < 4; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "lock") LockMemory();
  if (what == "cancel fork") ForkInACancelledThread();
  if (what == "cancel exit") ExitWhileACancelIsPending();
  if (what == "data") KeepDataAtNumberTwo(argv[2]);
  if (what == "forks") ForkSomeTimes();
  if (what == "serve") {
    std::puts("ready");
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
  }
  std::fflush(stdout);
  return 9;
}
