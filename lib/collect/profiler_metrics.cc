// The families of collect/metrics.h about waits, and about the profiler itself.
#include <gnu/libc-version.h>

#include <algorithm>
#include <string>
#include <utility>

#include "collect/metrics.h"
#include "core/base/clock.h"

namespace heldby::collect {
namespace {

struct WaitSums {
  double contentions = 0;
  double delay_seconds = 0;
};

WaitSums SumSites(const core::CoreApi& core, core::ContentionTable table) {
  WaitSums sums;
  core.contention->visit_sites(
      table,
      [](void* context, const core::ContentionSite& site) {
        auto& sum = *static_cast<WaitSums*>(context);
        sum.contentions += static_cast<double>(site.contentions) / 4096;
        sum.delay_seconds += static_cast<double>(site.delay_ns) * 1e-9;
      },
      &sums);
  return sums;
}

struct WaitsNow {
  std::uint64_t now_ns;
  std::int64_t waits = 0;
  std::int64_t oldest_ns = 0;
};

}  // namespace

void AddContention(const core::CoreApi& core, MetricList* list) {
  const WaitSums block = SumSites(core, core::ContentionTable::kBlock);
  const WaitSums mutex = SumSites(core, core::ContentionTable::kMutex);
  list->Counter("heldby_contentions_total",
                "Waits that the block and mutex profiles counted; 0 while they are off.");
  list->Add({{"profile", "block"}}, block.contentions);
  list->Add({{"profile", "mutex"}}, mutex.contentions);
  list->Counter("heldby_contention_wait_seconds_total",
                "Time waited in them; of the mutex profile, for mutexes and rwlocks alone.");
  list->Add({{"profile", "block"}}, block.delay_seconds);
  list->Add({{"profile", "mutex"}}, mutex.delay_seconds);
  list->Gauge("heldby_contention_profile_enabled", "1 if the profile is on.");
  list->Add({{"profile", "block"}}, core.contention->block_rate_ns() != 0 ? 1 : 0);
  list->Add({{"profile", "mutex"}}, core.contention->mutex_fraction() != 0 ? 1 : 0);
  WaitsNow now{.now_ns = core.contention->now_ns()};
  core.contention->visit_waits(
      [](void* context, const core::WaitView& wait) {
        auto& waits = *static_cast<WaitsNow*>(context);
        ++waits.waits;
        waits.oldest_ns =
            std::max(waits.oldest_ns, core::BetweenNs(wait.start_ns, waits.now_ns));
      },
      &now);
  list->Gauge("heldby_waits", "Waits under way that the block profile sees.").Add(now.waits);
  list->Gauge("heldby_wait_oldest_age_seconds", "How long the longest of them has lasted.")
      .Add(static_cast<double>(now.oldest_ns) * 1e-9);
}

void AddProfiler(const core::CoreApi& core, double profiler_cpu_seconds, MetricList* list) {
  const core::Counters counters = core.read_counters();
  const core::ContentionCounters waits = core.contention->read_counters();
  list->Counter("heldby_heap_samples_total", "Allocations sampled so far.")
      .Add(counters.samples_total);
  list->Counter("heldby_heap_truncated_stacks_total",
                "Of those, whose stack is not whole: very deep, or code that cannot be walked.")
      .Add(counters.truncated_stacks_total);
  list->Counter("heldby_heap_stale_samples_total",
                "Samples that were freed past the hooks; found when the address came again.")
      .Add(counters.stale_samples_total);
  list->Gauge("heldby_heap_live_samples", "Of those, how many are in use.")
      .Add(counters.live_samples);
  list->Gauge("heldby_heap_sites", "Distinct places that allocate, as sampled.")
      .Add(counters.sites);
  list->Gauge("heldby_table_bytes", "Memory that the profiler uses for its tables.");
  list->Add({{"table", "heap"}}, counters.table_bytes);
  list->Add({{"table", "registry"}}, counters.registry_bytes);
  list->Add({{"table", "unwinder"}}, counters.unwind_cache_bytes);
  list->Add({{"table", "contention"}}, waits.table_bytes);
  list->Counter("heldby_profiler_cpu_seconds_total",
                "CPU time of the profiler's own threads, once they have ended.")
      .Add(profiler_cpu_seconds);
  list->Counter("heldby_dropped_total",
                "What the profiler could not keep or see, since a table was full or nothing "
                "told it.");
  const std::pair<const char*, std::uint64_t> drops[] = {
      {"heap_samples", counters.dropped_samples_total},
      {"heap_stacks", counters.dropped_stacks_total},
      {"heap_sites", counters.dropped_sites_total},
      {"untracked_samples", counters.untracked_samples_total},
      {"connections", counters.dropped_connections_total},
      {"tasks", counters.dropped_tasks_total},
      {"label_sets", counters.dropped_label_sets_total},
      {"places", counters.dropped_places_total},
      {"threads", counters.dropped_threads_total},
      {"descriptors", counters.dropped_descriptors_total},
      {"inheritances", counters.dropped_inheritances_total},
      {"cpu_samples", counters.dropped_cpu_samples_total},
      {"cpu_threads", counters.unwatched_cpu_threads_total},
      {"trace_events", counters.dropped_trace_events_total},
      {"error_lines", counters.dropped_error_lines_total},
      {"waits", waits.dropped_waits_total},
      {"wait_locks", waits.dropped_locks_total},
      {"wait_sites", waits.dropped_sites_total}};
  for (const auto& [what, count] : drops) list->Add({{"what", what}}, count);
  list->Gauge("heldby_build_info", "Always 1; the labels say what this is.")
      .Add({{"version", HELDBY_VERSION},
            {"compiler", "gcc " __VERSION__},
            {"libc", std::string("glibc ") + gnu_get_libc_version()},
            {"allocator", core.describe_hooks().allocator}},
           1);
}

}  // namespace heldby::collect
