// Its main thread ends by pthread_exit once standard input does; another one holds 20 MB, and
// waits. Built without heldby.
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

void* volatile held[200];

__attribute__((noinline)) void HoldsMemory() {
  for (auto& block : held) block = std::malloc(100'000);
}

void* Works(void*) {
  HoldsMemory();
  std::puts("ready");
  std::fflush(stdout);
  for (;;) pause();
}

}  // namespace

int main() {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, &Works, nullptr) != 0) return 1;
  for (char byte; read(0, &byte, 1) > 0;) {
  }
  pthread_exit(nullptr);
}
