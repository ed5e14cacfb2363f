// Threads whose shares of the processor time are known, by their own clocks.
//
//   cpu_split SHARE...         a thread for each, in functions Work<0>, Work<1> ...: so many
//                              hundredths of one processor, with a label side=even or odd
//   cpu_split threads COUNT    COUNT threads, born one after the other, which burn 50 ms each
//   and
//                              end; every fourth in Work<0>, the others in Work<1>
//
// Serves on a port of its own, says where; then, for each line of input, how many nanoseconds
// each function has had so far.
#include <time.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "heldby/heldby.h"

namespace {

constexpr std::int64_t kMs = 1'000'000;
std::array<std::atomic<std::int64_t>, 4> worked_ns{};
std::atomic<std::uint64_t> sink{0};

std::int64_t CpuNs() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

template <int kWhich>
__attribute__((noinline)) void Work(std::int64_t ns) {
  const std::int64_t begin = CpuNs();
  std::int64_t now = begin;
  while (now - begin < ns) {
    std::uint64_t value = 1;
    for (int i = 0; i < 20'000; ++i)
      value = value * 6364136223846793005u + 1442695040888963407u;
    sink.fetch_add(value, std::memory_order_relaxed);
    const std::int64_t then = now;
    now = CpuNs();
    worked_ns[kWhich].fetch_add(now - then, std::memory_order_relaxed);
  }
}

using Function = void (*)(std::int64_t);
constexpr std::array<Function, 4> kWork = {Work<0>, Work<1>, Work<2>, Work<3>};

// Bursts of any length, so that they fall into no step with the kernel's tick.
void Share(int which, int hundredths) {
  const heldby::ScopedLabels labels({{"side", which % 2 == 0 ? "even" : "odd"}});
  std::minstd_rand random(static_cast<unsigned>(which) + 7);
  while (true) {
    const auto burst_ns = static_cast<std::int64_t>(1 + random() % 9) * kMs;
    kWork[static_cast<std::size_t>(which)](burst_ns);
    const std::int64_t rest_ns = burst_ns * (100 - hundredths) / hundredths;
    timespec rest{rest_ns / 1'000'000'000, rest_ns % 1'000'000'000};
    if (rest_ns > 0) nanosleep(&rest, nullptr);
  }
}

void ManyThreads(int count) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([i] { kWork[i % 4 == 0 ? 0 : 1](40 * kMs); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  const auto server = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
  if (!server || argc < 2) return 1;
  std::printf("serving http://127.0.0.1:%d\n", server->port());
  std::fflush(stdout);
  const bool is_many = std::strcmp(argv[1], "threads") == 0;
  for (int i = 1; i < argc && !is_many; ++i) {
    std::thread(Share, i - 1, std::atoi(argv[i])).detach();
  }
  char line[100];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    if (is_many) ManyThreads(std::atoi(argv[2]));
    for (const auto& ns : worked_ns) std::printf("%lld ", static_cast<long long>(ns.load()));
    std::printf("ns\n");
    std::fflush(stdout);
  }
  std::_Exit(0);
}
