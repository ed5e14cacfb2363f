// What remembering and judging cost in a busy process.
//
//   leak_watch SITES SAMPLES_PER_SECOND TASKS CONNECTIONS SECONDS   (HELDBY_SAMPLE_BYTES=1)
//
// Watches with a shortest window of a minute, so once a second where the default looks once in
// ten. Prints "<CPU seconds of the watch> <seconds> <bytes of history> <moments remembered>
// <live samples>".
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "bench/distinct_stacks.h"
#include "heldby/heldby.h"
#include "heldby/metrics.h"

namespace heldby::bench {
namespace {

double Metric(const std::string& name) {
  const auto families = CollectMetrics();
  if (!families) return 0;
  for (const MetricFamily& family : *families) {
    if (family.name == name && !family.samples.empty()) return family.samples[0].value;
  }
  return 0;
}

int Measure(const std::vector<int>& arguments) {
  const auto sites = static_cast<std::uint64_t>(arguments[0]);
  const auto pause = std::chrono::nanoseconds(1'000'000'000 / arguments[1]);
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < arguments[2]; ++i) {
    tasks.emplace_back("request");
    tasks.back().SetState("chan receive");
  }
  std::vector<Connection> connections;
  for (int i = 0; i < arguments[3]; ++i) connections.emplace_back(-1, Direction::kInbound);
  auto watch = LeakWatch::Start({.window = std::chrono::minutes(1)});
  if (!watch) {
    std::fprintf(stderr, "leak_watch: %s\n", watch.status().message().c_str());
    return 1;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto end = begin + std::chrono::seconds(arguments[4]);
  std::deque<void*> blocks;
  std::uint64_t number = 0;
  for (auto next = begin; next < end; next += pause) {
    std::this_thread::sleep_until(next);
    blocks.push_back(AllocateAt(number++ % sites));
    if (blocks.size() > 20'000) {
      std::free(blocks.front());
      blocks.pop_front();
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%.4f %.2f %.0f %.0f %lld\n", Metric("heldby_profiler_cpu_seconds_total"),
              took.count(), Metric("heldby_history_bytes"), Metric("heldby_history_snapshots"),
              static_cast<long long>(ReadHeapCounters().live_samples));
  for (void* block : blocks) std::free(block);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  std::vector<int> arguments;
  for (int i = 1; i < argc; ++i) arguments.push_back(std::atoi(argv[i]));
  if (arguments.size() == 5 && arguments[0] > 0 && arguments[1] > 0 && arguments[4] > 0) {
    return heldby::bench::Measure(arguments);
  }
  std::fprintf(stderr,
               "usage: leak_watch SITES SAMPLES_PER_SECOND TASKS CONNECTIONS SECONDS\n");
  return 2;
}
