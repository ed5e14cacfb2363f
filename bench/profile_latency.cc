// What a heap profile costs the service meanwhile: the 99th percentile of its answers.
//
//   profile_latency STACKS ROUNDS SLICE_MS     (HELDBY_SAMPLE_BYTES=1: every block is a sample)
//
// A service of one thread answers requests from a socket, each with an allocation of its own
// for every line of the request; a client asks, one request at a time, so that the two take one
// processor. In every other slice profiles of STACKS distinct stacks are taken one after the
// other, which no scraper does; in those between, that thread computes. Prints "<p99 us alone>
// <p99 us meanwhile> <median ratio of the rounds> <profiles taken>".
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "bench/distinct_stacks.h"
#include "heldby/heap.h"
#include "heldby/profile.h"

namespace heldby::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRequestBytes = 256;
constexpr int kLines = 40;

void Serve(int socket) {
  std::array<char, kRequestBytes> request;
  while (read(socket, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
    std::array<char*, kLines> lines;
    for (int i = 0; i < kLines; ++i) {
      const std::size_t bytes = 32u << (i % 6);
      lines[i] = static_cast<char*>(std::malloc(bytes));
      if (lines[i] == nullptr) std::abort();
      std::memset(lines[i], i, bytes);
    }
    for (int i = 0; i < kLines; ++i) {
      request[i] = lines[i][31];
      std::free(lines[i]);
    }
    if (write(socket, request.data(), request.size()) != static_cast<ssize_t>(request.size())) {
      return;
    }
  }
}

/// Microseconds that 99 of 100 requests of so long a time are answered within; 0: no answer.
double Percentile99(int socket, std::chrono::milliseconds slice) {
  std::array<char, kRequestBytes> request{};
  std::vector<double> took_us;
  const auto end = Clock::now() + slice;
  for (auto start = Clock::now(); start < end;) {
    if (write(socket, request.data(), request.size()) < 0 ||
        read(socket, request.data(), request.size()) <= 0) {
      return 0;
    }
    const auto now = Clock::now();
    took_us.push_back(std::chrono::duration<double, std::micro>(now - start).count());
    start = now;
  }
  const auto place = took_us.begin() + static_cast<std::ptrdiff_t>(took_us.size() * 99 / 100);
  std::nth_element(took_us.begin(), place, took_us.end());
  return *place;
}

/// Takes profiles while it is wanted.
class Profiler {
 public:
  ~Profiler() {
    over_ = true;
    thread_.join();
  }

  void Begin() { wanted_ = true; }
  /// Returns when none is under way.
  void Pause() {
    wanted_ = false;
    while (busy_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  [[nodiscard]] int taken() const { return taken_; }

 private:
  void Run() {
    while (!over_) {
      busy_ = true;  // before the look at wanted_: Pause() looks the other way round
      if (wanted_) {
        auto profile = SnapshotHeap();
        if (!profile || !EncodePprof(*profile)) std::abort();
        ++taken_;
      }
      busy_ = false;
      // Computes instead: a processor that sleeps takes longer to wake than all that is asked
      // about, and the slices without a profile would look the worse.
      const auto end = Clock::now() + std::chrono::milliseconds(1);
      while (!wanted_ && Clock::now() < end) {
      }
    }
  }

  std::atomic<bool> wanted_{false};
  std::atomic<bool> busy_{false};
  std::atomic<bool> over_{false};
  std::atomic<int> taken_{0};
  std::thread thread_{[this] { Run(); }};
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Measure(std::uint64_t stacks, int rounds, std::chrono::milliseconds slice) {
  std::vector<void*> blocks;
  for (std::uint64_t stack = 0; stack < stacks; ++stack) blocks.push_back(AllocateAt(stack));
  // The stacks stay; the service is sampled as every service is.
  if (const Status status = SetHeapSampleBytes(512 << 10); !status.ok()) {
    std::fprintf(stderr, "profile_latency: %s\n", status.message().c_str());
    return 1;
  }
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) {
    std::perror("profile_latency: socketpair");
    return 1;
  }
  std::thread service(Serve, sockets[1]);
  std::vector<double> alone_us;
  std::vector<double> meanwhile_us;
  std::vector<double> ratios;
  int taken = 0;
  {
    Profiler profiler;
    profiler.Begin();  // the first one finds the symbols, which is another row
    while (profiler.taken() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    profiler.Pause();
    for (int round = 0; round < rounds; ++round) {
      double us[2] = {};
      for (const int turn : {round % 2, 1 - round % 2}) {
        if (turn == 1) profiler.Begin();
        us[turn] = Percentile99(sockets[0], slice);
        profiler.Pause();
      }
      alone_us.push_back(us[0]);
      meanwhile_us.push_back(us[1]);
      ratios.push_back(us[1] / us[0]);
    }
    taken = profiler.taken();
  }
  shutdown(sockets[0], SHUT_RDWR);
  service.join();
  close(sockets[0]);
  close(sockets[1]);
  for (void* block : blocks) std::free(block);
  std::printf("%.2f %.2f %.4f %d\n", Median(alone_us), Median(meanwhile_us), Median(ratios),
              taken);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  if (argc == 4) {
    const int stacks = std::atoi(argv[1]);
    const int rounds = std::atoi(argv[2]);
    const int slice_ms = std::atoi(argv[3]);
    if (stacks > 0 && rounds > 0 && slice_ms > 0) {
      return heldby::bench::Measure(static_cast<std::uint64_t>(stacks), rounds,
                                    std::chrono::milliseconds(slice_ms));
    }
  }
  std::fprintf(stderr, "usage: profile_latency STACKS ROUNDS SLICE_MS\n");
  return 2;
}
