#include "collect/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "core/base/clock.h"
#include "profile/flat_hash.h"

namespace heldby::collect {
namespace {

constexpr double kObjectUnit = 4096;
constexpr double kSecond = 1e9;
constexpr char kOther[] = "other";

struct HeapSums {
  double mean_bytes = 0;
  double allocated_bytes = 0;
  double allocated_objects = 0;
  double live_bytes = 0;
  double live_objects = 0;
  double live_variance = 0;
};

HeapSums SumHeap(const core::CoreApi& core) {
  HeapSums sums{.mean_bytes = static_cast<double>(core.sample_bytes())};
  core.visit_heap_sites(
      [](void* context, const core::HeapSite& site) {
        auto& sum = *static_cast<HeapSums*>(context);
        const auto live_bytes = static_cast<double>(site.allocated_bytes - site.freed_bytes);
        sum.allocated_bytes += static_cast<double>(site.allocated_bytes);
        sum.allocated_objects += static_cast<double>(site.allocated_objects) / kObjectUnit;
        sum.live_bytes += live_bytes;
        sum.live_objects +=
            static_cast<double>(site.allocated_objects - site.freed_objects) / kObjectUnit;
        sum.live_variance += LiveVariance(
            live_bytes, static_cast<double>(site.size_class_bytes), sum.mean_bytes);
      },
      &sums);
  return sums;
}

MetricList::Labels DirectionLabel(bool outbound) {
  return {{"direction", outbound ? "outbound" : "inbound"}};
}

MetricList::Labels With(MetricList::Labels labels, const char* key, const char* value) {
  labels.emplace_back(key, value);
  return labels;
}

void AddConnections(const CensusResult& census, MetricList* list) {
  const auto each = [&census](const auto& add) {
    add(DirectionLabel(false), census.inbound);
    add(DirectionLabel(true), census.outbound);
  };
  const auto by_state = [&](const auto& value) {
    each([&](const MetricList::Labels& labels, const ConnectionCensus& part) {
      for (int i = 0; i < kConnectionStates; ++i) {
        list->Add(With(labels, "state", StateName(static_cast<ConnectionState>(i))),
                  value(part.by_state[static_cast<std::size_t>(i)]));
      }
    });
  };
  list->Gauge("heldby_connections", "Connections there are, by what they are doing.");
  by_state([](const ConnectionCount& count) { return count.connections; });
  list->Gauge("heldby_connection_held_bytes",
              "Live heap charged to connections, by what they are doing; an estimate.");
  by_state([](const ConnectionCount& count) { return count.held_bytes; });
  list->Gauge("heldby_connection_queued_bytes",
              "Bytes that wait: in the program for the kernel, in the kernel for the peer, in "
              "the kernel for the program.");
  each([&](const MetricList::Labels& labels, const ConnectionCensus& part) {
    list->Add(With(labels, "queue", "application"), part.queued_bytes);
    list->Add(With(labels, "queue", "unsent"), part.unsent_bytes);
    list->Add(With(labels, "queue", "unread"), part.unread_bytes);
  });
  list->Gauge("heldby_connection_oldest_age_seconds", "Age of the oldest connection.");
  each([&](const MetricList::Labels& labels, const ConnectionCensus& part) {
    list->Add(labels, static_cast<double>(part.oldest_age_ns) / kSecond);
  });
  list->Gauge("heldby_ended_holders",
              "Connections and tasks that are over, and memory is still charged to them.");
  list->Add({{"holder", "connection"}},
            census.inbound.ended.connections + census.outbound.ended.connections);
  list->Add({{"holder", "task"}}, census.ended_tasks);
  list->Gauge("heldby_ended_holder_held_bytes", "Live heap charged to them; an estimate.");
  list->Add({{"holder", "connection"}},
            census.inbound.ended.held_bytes + census.outbound.ended.held_bytes);
  list->Add({{"holder", "task"}}, census.ended_task_held_bytes);
}

}  // namespace

double LiveVariance(double bytes, double size_bytes, double mean_bytes) {
  if (bytes <= 0 || size_bytes <= 0 || mean_bytes <= 1) return 0;
  // Each of n = bytes / w samples stands for w = s / p bytes, p = 1 - exp(-s / mean) being its
  // probability; n w^2 (1 - p) = bytes (w - s).
  const double weight = size_bytes / -std::expm1(-size_bytes / mean_bytes);
  return bytes * (weight - size_bytes);
}

std::vector<MetricFamily> MetricsCollector::Collect(const core::CoreApi& core,
                                                    double profiler_cpu_seconds) {
  MetricList list;
  AddHeap(core, &list);
  AddHolders(core, &list);
  AddContention(core, &list);
  const ProcessAccount process = ReadProcess();
  AddMemory(core, process, &list);
  AddProcess(process, &list);
  AddProfiler(core, profiler_cpu_seconds, &list);
  return std::move(list).Take();
}

void MetricsCollector::AddHeap(const core::CoreApi& core, MetricList* list) {
  const HeapSums heap = SumHeap(core);
  live_bytes_ = static_cast<std::int64_t>(heap.live_bytes);
  list->Gauge("heldby_heap_live_bytes", "Heap in use; estimated from samples.")
      .Add(heap.live_bytes);
  list->Gauge("heldby_heap_live_objects", "Blocks in use; estimated from samples.")
      .Add(heap.live_objects);
  list->Gauge("heldby_heap_live_standard_error_bytes",
              "Standard error of heldby_heap_live_bytes: twice as much is rarely exceeded.")
      .Add(std::sqrt(heap.live_variance));
  list->Counter("heldby_heap_allocated_bytes_total", "Heap allocated so far; estimated.")
      .Add(heap.allocated_bytes);
  list->Counter("heldby_heap_allocated_objects_total", "Blocks allocated so far; estimated.")
      .Add(heap.allocated_objects);
  list->Gauge("heldby_heap_sample_bytes", "Mean bytes from one sample to the next; 0 is off.")
      .Add(heap.mean_bytes);
  list->Gauge("heldby_heap_hooks_active", "1 if the allocator's functions are watched.")
      .Add(core.describe_hooks().active ? 1 : 0);
}

void MetricsCollector::AddHolders(const core::CoreApi& core, MetricList* list) {
  using std::chrono::nanoseconds;
  // 0.4 ms for each second since the last call, which leaves a scrape a second below its 1 ms;
  // less than the smallest would never end, more than the largest would be felt.
  constexpr std::int64_t kShare = 2500;
  constexpr nanoseconds kLeast = std::chrono::microseconds(200);
  constexpr nanoseconds kMost = std::chrono::milliseconds(20);
  if (!census_) census_.emplace(*core.registry);
  const auto now = std::chrono::steady_clock::now();
  const nanoseconds allowance = std::clamp<nanoseconds>((now - last_) / kShare, kLeast, kMost);
  last_ = now;
  census_->Advance(static_cast<std::uint64_t>(allowance.count()));
  const CensusResult& census = census_->result();
  AddConnections(census, list);
  const core::Counters counters = core.read_counters();
  list->Counter("heldby_connections_opened_total", "Connections so far.");
  list->Add(DirectionLabel(false), counters.opened_connections_total[0]);
  list->Add(DirectionLabel(true), counters.opened_connections_total[1]);
  list->Counter("heldby_connections_closed_total", "Connections that have ended so far.");
  list->Add(DirectionLabel(false), counters.closed_connections_total[0]);
  list->Add(DirectionLabel(true), counters.closed_connections_total[1]);
  AddTasks(census, list);
  const std::int64_t age_ns = core::BetweenNs(census.taken_ns, core.registry->now_ns());
  list->Gauge("heldby_census_age_seconds",
              "How old the figures of connections and tasks may be: they are counted in parts.")
      .Add(static_cast<double>(age_ns) / kSecond);
}

void MetricsCollector::AddTasks(const CensusResult& census, MetricList* list) const {
  using Row = std::pair<std::pair<std::string, std::string>, TaskCount>;
  std::vector<Row> rows(census.tasks.begin(), census.tasks.end());
  const auto more = [](const Row& a, const Row& b) {
    return a.second.tasks != b.second.tasks ? a.second.tasks > b.second.tasks
                                            : a.first < b.first;
  };
  std::ranges::sort(rows, more);
  list->Gauge("heldby_tasks",
              "Tasks there are, by name and by what they wait for; task=\"other\": more names "
              "than are shown.");
  std::int64_t others = 0;
  std::map<std::string, std::int64_t> oldest_ns;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& [names, count] = rows[i];
    const bool means_others = names.first == kOther && names.second == kOther;
    if (i < kMostTaskSeries && !means_others) {
      list->Add({{"task", names.first}, {"state", names.second}}, count.tasks);
    } else {
      others += count.tasks;
    }
    if (oldest_ns.size() < kMostTaskNames || oldest_ns.contains(names.first)) {
      std::int64_t& oldest = oldest_ns[names.first];
      oldest = std::max(oldest, count.oldest_age_ns);
    }
  }
  if (others > 0) list->Add({{"task", kOther}, {"state", kOther}}, others);
  list->Gauge("heldby_task_oldest_age_seconds",
              "Age of the oldest task of a name; names with the most tasks.");
  for (const auto& [name, age_ns] : oldest_ns) {
    list->Add({{"task", name}}, static_cast<double>(age_ns) / kSecond);
  }
  list->Gauge("heldby_task_held_bytes", "Live heap charged to tasks; an estimate.")
      .Add(census.task_held_bytes);
}

}  // namespace heldby::collect
