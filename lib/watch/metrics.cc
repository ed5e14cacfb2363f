#include "watch/metrics.h"

#include <limits>

#include "watch/watcher.h"

namespace heldby::watch {

void AddMetrics(collect::MetricList* list) {
  const WatchCounts& now = counts();
  list->Gauge("heldby_memory_watch_running", "1 if the way to the memory limit is watched.")
      .Add(now.is_running.load() ? 1 : 0);
  list->Gauge(
      "heldby_memory_watch_time_to_limit_seconds",
      "When the first limit is reached if memory grows as it does; +Inf if it does not.");
  const std::int64_t left_ns = now.time_to_limit_ns.load();
  list->Add(left_ns == kNever ? std::numeric_limits<double>::infinity()
                              : static_cast<double>(left_ns) * 1e-9);
  list->Counter("heldby_memory_watch_dumps_total", "Dumps written, by what was reached.");
  for (int i = 1; i < kLevels; ++i) {
    list->Add({{"level", NameOf(static_cast<Level>(i))}}, now.dumps[i].load());
  }
  list->Counter("heldby_memory_watch_dumps_refused_total", "Dumps not written, by reason.");
  for (int i = 1; i < kRefusals; ++i) {
    list->Add({{"reason", NameOf(static_cast<Refusal>(i))}}, now.refused[i].load());
  }
  list->Counter("heldby_memory_watch_box_writes_total", "Times the black box was written.")
      .Add(now.box_writes.load());
  list->Counter("heldby_memory_watch_box_failures_total", "Of those, how many failed.")
      .Add(now.box_failures.load());
}

}  // namespace heldby::watch
