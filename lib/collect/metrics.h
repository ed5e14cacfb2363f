// collect/metrics.h - everything of /metrics that is not the endpoint's own.
//
// Threads  one at a time.   Signals  unsafe: allocates, reads files.
// Self     the caller holds an UnsampledScope.
// Units    as the names say.
// Bounds   kMostTaskSeries and the like below; connections and tasks by collect/census.h.
// Source   docs/metrics.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collect/allocator_stats.h"
#include "collect/census.h"
#include "collect/cgroup.h"
#include "collect/metric_list.h"
#include "collect/paced.h"
#include "collect/process_account.h"
#include "core/core.h"
#include "heldby/metrics.h"

namespace heldby::collect {

/// Keeps what is too dear to be found out for every scrape.
class MetricsCollector {
 public:
  /// `profiler_cpu_seconds`: of the profiler's own threads so far.
  [[nodiscard]] std::vector<MetricFamily> Collect(const core::CoreApi& core,
                                                  double profiler_cpu_seconds);

  static constexpr std::size_t kMostTaskSeries = 80;
  static constexpr std::size_t kMostTaskNames = 20;

 private:
  void AddHeap(const core::CoreApi& core, MetricList* list);
  void AddHolders(const core::CoreApi& core, MetricList* list);
  void AddTasks(const CensusResult& census, MetricList* list) const;
  void AddMemory(const core::CoreApi& core, const ProcessAccount& process, MetricList* list);
  void AddProcess(const ProcessAccount& process, MetricList* list);

  std::optional<Census> census_{};
  std::chrono::steady_clock::time_point last_{};
  std::int64_t live_bytes_ = 0;
  Paced<AllocatorStats> allocator_{};
  Paced<CgroupDirs> cgroup_dirs_{};
  Paced<std::int64_t> stack_bytes_{};
  Paced<std::int64_t> open_fds_{};
  double start_seconds_ = 0;
};

/// `bytes` live in blocks of `size_bytes`, sampled every `mean_bytes`: the variance of the
/// estimate. By hand: 524,288 bytes in blocks of 1 KiB at 512 KiB: w = 524,800, one sample,
/// 524,288 * (524,800 - 1,024) = 2.7e11, and its root is as much as the estimate.
[[nodiscard]] double LiveVariance(double bytes, double size_bytes, double mean_bytes);

/// Waits, and what the core counts of itself and dropped.
void AddContention(const core::CoreApi& core, MetricList* list);
void AddProfiler(const core::CoreApi& core, double profiler_cpu_seconds, MetricList* list);

}  // namespace heldby::collect
