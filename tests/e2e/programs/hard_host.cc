// A host that does, one at a time, what hosts are known to do to a preloaded library. Built
// without heldby; the scenario is the first argument. Prints "done" and exits with 9 when all
// is well.
#include <dirent.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static void Churn(int times) {
  std::vector<std::string> kept;
  for (int i = 0; i < times; ++i)
    kept.emplace_back(static_cast<std::size_t>(i % 3000 + 1), 'x');
}

static int ForkUnderLoad() {
  std::atomic<bool> stop{false};
  std::vector<std::thread> load;
  for (int i = 0; i < 3; ++i) {
    load.emplace_back([&stop] {
      while (!stop) Churn(100);
    });
  }
  int failures = 0;
  for (int i = 0; i < 200; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      Churn(100);
      _exit(0);
    }
    int status = 1;
    waitpid(child, &status, 0);
    failures += status != 0;
  }
  stop = true;
  for (std::thread& thread : load) thread.join();
  return failures;
}

static int LoadAndUnload(const char* library) {
  for (int i = 0; i < 200; ++i) {
    void* handle = dlopen(library, RTLD_NOW);
    if (handle == nullptr) return 1;
    auto* allocate = reinterpret_cast<void* (*)()>(dlsym(handle, "PluginAllocate"));
    if (allocate == nullptr) return 1;
    allocate();  // kept: its stack outlives the library
    dlclose(handle);
  }
  return 0;
}

static int ThrowMuch() {
  int caught = 0;
  for (int i = 0; i < 100000; ++i) {
    try {
      caught += std::stoi("not a number");  // thrown inside libstdc++
    } catch (const std::invalid_argument&) {
      ++caught;
    }
  }
  return caught == 100000 ? 0 : 1;
}

static int OverwriteEnvironment() {
  extern char** environ;
  for (char** entry = environ; *entry != nullptr; ++entry)
    std::memset(*entry, '#', std::strlen(*entry));
  clearenv();
  Churn(3000);
  return 0;
}

static int CloseEverything() {
  usleep(300000);  // the endpoint is up, and loses its files now
  for (int fd = 3; fd < 1024; ++fd) close(fd);
  Churn(3000);
  FILE* own = std::fopen("/dev/null", "r");
  usleep(300000);
  const bool kept = own != nullptr && std::fgetc(own) == EOF && std::ferror(own) == 0;
  return kept ? 0 : 1;
}

static int ExitFromThread() {
  std::thread([] {
    usleep(600000);
    std::puts("done");
    std::exit(9);
  }).detach();
  while (true) Churn(1000);
}

struct InThreadExit {
  std::vector<char> block = std::vector<char>(5000);
  ~InThreadExit() { Churn(50); }
};

static int AllocateInThreadExit() {
  for (int i = 0; i < 200; ++i) {
    std::thread([] {
      thread_local InThreadExit last;
      last.block[0] = 1;
    }).join();
  }
  return 0;
}

struct BeforeAndAfterMain {
  std::string text = std::string(10000, 'x');
  ~BeforeAndAfterMain() { Churn(100); }
};
static BeforeAndAfterMain before_and_after_main;

// The address of malloc, taken in the executable: its PLT entry, where that is not independent
// of position.
static void* (*volatile malloc_by_address)(std::size_t) = &std::malloc;

static int MallocByAddress() {
  for (int i = 0; i < 1000; ++i) std::free(malloc_by_address(static_cast<std::size_t>(i)));
  return 0;
}

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "";
  const int failures = scenario == "fork"          ? ForkUnderLoad()
                       : scenario == "plugin"      ? LoadAndUnload(argv[2])
                       : scenario == "throw"       ? ThrowMuch()
                       : scenario == "environment" ? OverwriteEnvironment()
                       : scenario == "close"       ? CloseEverything()
                       : scenario == "exit"        ? ExitFromThread()
                       : scenario == "threads"     ? AllocateInThreadExit()
                       : scenario == "address"     ? MallocByAddress()
                                                   : -1;
  if (failures != 0) {
    std::printf("%s: %d failures\n", scenario.c_str(), failures);
    return 1;
  }
  std::puts("done");
  return 9;
}
