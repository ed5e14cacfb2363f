// What a trace costs: those whom nobody traces, those who are traced, and who asks for it.
//
//   trace off OPERATIONS          so many tasks, for callgrind
//   trace on OPERATIONS ROUNDS    prints "<ns of a task, made and ended> <the same while it is
//                                 traced> <ms from the end of a full log to its file> <its
//                                 KiB>"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <thread>

#include "heldby/self.h"
#include "heldby/task.h"
#include "heldby/trace.h"

namespace heldby::bench {
namespace {

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

double TaskNs(long operations) {
  const auto start = Clock::now();
  for (long i = 0; i < operations; ++i) const Task task("measured");
  return Since(start) / static_cast<double>(operations);
}

// From the end of `body` to the file.
double MsToFile(const std::function<void()>& body, std::size_t* file_bytes) {
  std::atomic<bool> has_begun{false};
  std::atomic<bool> is_over{false};
  Clock::time_point end;
  double ms = 0;
  std::thread recorder([&] {
    BecomeProfilerThread();
    const auto trace = RecordTrace({.duration_ns = 60'000'000'000, .cancelled = [&] {
                                      has_begun = true;
                                      return is_over.load();
                                    }});
    const auto file = trace ? EncodeTrace(*trace) : trace.status();
    if (!file) std::abort();
    ms = Since(end) / 1e6;
    *file_bytes = file->size();
  });
  while (!has_begun) std::this_thread::yield();
  body();
  end = Clock::now();
  is_over = true;
  recorder.join();
  return ms;
}

int On(long operations, long rounds) {
  double off_ns = 1e12;
  double on_ns = 1e12;
  std::size_t bytes = 0;
  for (long round = 0; round < rounds; ++round) {
    off_ns = std::min(off_ns, TaskNs(operations));
    MsToFile([&] { on_ns = std::min(on_ns, TaskNs(operations)); }, &bytes);
  }
  constexpr long kFull = 140'000;  // tasks, of two events each
  const double ms = MsToFile([] { TaskNs(kFull); }, &bytes);
  std::printf("%.1f %.1f %.0f %.0f\n", off_ns, on_ns, ms, static_cast<double>(bytes) / 1024);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "off" && argc == 3) {
    heldby::bench::TaskNs(std::atol(argv[2]));
    return 0;
  }
  if (what == "on" && argc == 4) {
    return heldby::bench::On(std::atol(argv[2]), std::atol(argv[3]));
  }
  std::fprintf(stderr, "usage: trace off OPERATIONS | trace on OPERATIONS ROUNDS\n");
  return 2;
}
