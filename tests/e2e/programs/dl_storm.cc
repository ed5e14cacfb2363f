// One thread loads a library, calls a function of it that throws, catches, and unloads it;
// others allocate all the time. Arguments: the library, seconds. Prints how often. Built
// without heldby.
#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::atomic<bool> stop{false};

static void Allocate() {
  while (!stop) {
    std::map<int, std::string> kept;
    for (int i = 0; i < 500; ++i) kept[i % 97] = std::string(static_cast<std::size_t>(i), 'x');
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back(&Allocate);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  long loads = 0;
  long caught = 0;
  while (std::chrono::steady_clock::now() < end) {
    void* library = dlopen(argv[1], RTLD_NOW);
    if (library == nullptr) return 3;
    auto* throws = reinterpret_cast<void (*)(int)>(dlsym(library, "ThrowingPlugin"));
    if (throws == nullptr) return 4;
    for (int depth = 0; depth < 5; ++depth) {
      try {
        throws(depth);
      } catch (const std::runtime_error& error) {
        caught += std::string(error.what()).size() > 100 ? 1 : 0;
      }
    }
    if (dlclose(library) != 0) return 5;
    ++loads;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  std::printf("%ld\n", loads);
  return caught == 5 * loads ? 0 : 6;
}
