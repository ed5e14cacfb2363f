#include "heldby/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "collect/metric_list.h"
#include "collect/metrics.h"
#include "heldby/leaks.h"
#include "heldby/self.h"
#include "runtime/core_access.h"
#include "runtime/leak_watch.h"
#include "watch/metrics.h"
#include "watch/watcher.h"

namespace heldby {
namespace {

// What is kept from scrape to scrape is about one process. A forked child begins anew: the
// lock may be held there by a thread that it does not have.
struct Kept {
  pid_t pid = 0;
  std::mutex mutex;
  collect::MetricsCollector collector;
};

Kept& KeptHere() {
  static std::atomic<Kept*> kept{nullptr};
  Kept* now = kept.load(std::memory_order_acquire);
  const pid_t pid = getpid();
  while (now == nullptr || now->pid != pid) {
    auto mine = std::make_unique<Kept>();
    mine->pid = pid;
    if (kept.compare_exchange_strong(now, mine.get(), std::memory_order_acq_rel)) {
      return *mine.release();  // the parent's is left alone, with what its lock guards
    }
  }
  return *now;
}

std::atomic<std::int64_t> own_cpu_ns{0};

constexpr LeakKind kKinds[] = {LeakKind::kStuckReaders,        LeakKind::kUnreadResponses,
                               LeakKind::kUnclosedConnections, LeakKind::kGrowingConnections,
                               LeakKind::kPilingTasks,         LeakKind::kLostWakeups,
                               LeakKind::kOutlivedHolders,     LeakKind::kGrowingSite};

// What was judged last: a scrape judges nothing itself.
void AddLeaks(const core::CoreApi& core, std::vector<MetricFamily>* families) {
  const runtime::WatchSummary summary = runtime::ReadWatchSummary();
  if (!summary.is_known) return;
  collect::MetricList list;
  const auto found = [&summary](LeakKind kind, LeakClass leak_class) {
    const auto at = summary.found.find({kind, leak_class});
    return at == summary.found.end() ? std::pair<std::int64_t, std::int64_t>() : at->second;
  };
  list.Gauge("heldby_leaks", "Verdicts of /debug/leaks that nobody expects, when last judged.");
  for (const LeakKind kind : kKinds) {
    for (const LeakClass leak_class : {LeakClass::kLeak, LeakClass::kSuspect}) {
      list.Add({{"kind", LeakKindName(kind)}, {"class", LeakClassName(leak_class)}},
               found(kind, leak_class).first);
    }
  }
  list.Gauge("heldby_leak_bytes", "Heap that the leaks among them hold.");
  for (const LeakKind kind : kKinds) {
    list.Add({{"kind", LeakKindName(kind)}}, found(kind, LeakClass::kLeak).second);
  }
  const auto now_ns = static_cast<std::int64_t>(core.registry->now_ns());
  list.Gauge("heldby_leaks_age_seconds", "Time since they were judged.")
      .Add(static_cast<double>(now_ns - summary.judged_ns) * 1e-9);
  list.Gauge("heldby_leaks_left_out", "Verdicts that were not told, those of the least weight.")
      .Add(summary.left_out);
  list.Gauge("heldby_history_bytes", "Memory that the remembered past takes.")
      .Add(summary.history_bytes);
  list.Gauge("heldby_history_snapshots", "Moments of the heap that are remembered.")
      .Add(summary.snapshots);
  list.Counter("heldby_history_thinned_total",
               "Moments that were forgotten early, for want of room.")
      .Add(summary.thinned_total);
  list.Counter("heldby_history_dropped_kinds_total",
               "Kinds of tasks and connections whose number is not remembered: 4,096 are.")
      .Add(summary.dropped_kinds_total);
  std::vector<MetricFamily> added = std::move(list).Take();
  std::ranges::move(added, std::back_inserter(*families));
}

}  // namespace

void AddProfilerCpuTime(std::int64_t ns) {
  own_cpu_ns.fetch_add(ns, std::memory_order_relaxed);
}

Result<std::vector<MetricFamily>> CollectMetrics() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    Kept& kept = KeptHere();
    const std::lock_guard lock(kept.mutex);
    // The watch's thread does not end, and says so meanwhile.
    const std::int64_t cpu_ns = own_cpu_ns.load() + watch::counts().cpu_ns.load();
    const double cpu_seconds = static_cast<double>(cpu_ns) * 1e-9;
    std::vector<MetricFamily> families = kept.collector.Collect(*core, cpu_seconds);
    collect::MetricList of_the_watch;
    watch::AddMetrics(&of_the_watch);
    std::vector<MetricFamily> more = std::move(of_the_watch).Take();
    std::ranges::move(more, std::back_inserter(families));
    AddLeaks(*core, &families);
    return families;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot collect the metrics: ") + error.what());
  }
}

}  // namespace heldby
