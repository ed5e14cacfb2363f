// A host that needs little and says what it was given: memory, a thread if there is one, a
// child, a pair of sockets. Reads until its standard input ends; the output is the same
// with and without us. Built without heldby. Exits with 9.
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

unsigned Work(int turns) {
  unsigned sum = 0;
  std::vector<std::string> kept;
  for (int i = 0; i < turns; ++i) {
    kept.emplace_back(static_cast<std::size_t>(i * 7 % 2000 + 1),
                      static_cast<char>('a' + i % 26));
    sum = sum * 31 + static_cast<unsigned char>(kept.back().back());
    if (kept.size() > 100) kept.clear();
  }
  return sum;
}

void* WorkInThread(void* result) {
  *static_cast<unsigned*>(result) = Work(20'000);
  return nullptr;
}

void SayWhetherThereAreThreads() {
  unsigned result = 0;
  pthread_t thread;
  const int error = pthread_create(&thread, nullptr, &WorkInThread, &result);
  if (error == 0) pthread_join(thread, nullptr);
  std::printf("thread: %s, %u\n", std::strerror(error), result);
}

void SayWhetherThereAreChildren() {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(Work(1000) != 0 ? 6 : 1);
  const int error = child < 0 ? errno : 0;
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  std::printf("child: %s, %d\n", std::strerror(error), WEXITSTATUS(status));
}

void SayWhetherThereAreSockets() {
  int ends[2];
  char byte = 0;
  const bool works = socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 &&
                     write(ends[0], "x", 1) == 1 && read(ends[1], &byte, 1) == 1;
  std::printf("sockets: %s\n", works ? "work" : std::strerror(errno));
  if (!works) return;
  close(ends[0]);
  close(ends[1]);
}

}  // namespace

int main() {
  std::printf("memory: %u\n", Work(20'000));
  SayWhetherThereAreThreads();
  SayWhetherThereAreChildren();
  SayWhetherThereAreSockets();
  std::puts("ready");
  std::fflush(stdout);
  // A thread for each character: who waits for it is in the block profile.
  for (int left = std::getchar(); left != EOF; left = std::getchar()) {
    SayWhetherThereAreThreads();
    std::fflush(stdout);
  }
  std::printf("memory: %u\n", Work(20'000));
  SayWhetherThereAreThreads();
  std::fflush(stdout);
  return 9;
}
