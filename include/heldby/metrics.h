// heldby/metrics.h - figures of this process for Prometheus, and a place for the program's own
// on the same page.
//
// Threads  every function: any thread, any time.
// Signals  unsafe: allocates, reads files below /proc and /sys.
// Self     allocations made inside these calls are never sampled.
// Units    base units, as the names say: _bytes, _seconds; _total only grows.
// Bounds   fewer than 300 series; no id, address, peer or stack is ever a label. Connections
//          and tasks are counted in parts, 0.4 ms for each second between two calls:
//          heldby_census_age_seconds says how old their figures are.
// Source   docs/metrics.md, which lists every name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "heldby/status.h"

namespace heldby {

enum class MetricType { kCounter, kGauge };

struct MetricSample {
  std::vector<std::pair<std::string, std::string>> labels{};
  double value = 0;
};

struct MetricFamily {
  std::string name;
  std::string help;
  MetricType type = MetricType::kGauge;
  std::vector<MetricSample> samples{};
};

/// What /metrics shows of this process: the heap, connections, tasks, threads, waits, memory,
/// the profiler's own cost and everything that it dropped.
///
/// kUnavailable        the core of another version, or none
/// kResourceExhausted  no memory for the list
[[nodiscard]] Result<std::vector<MetricFamily>> CollectMetrics();

/// Adds to /metrics what `text` returns, in Prometheus's text format, for as long as this
/// object lives. It is called for every scrape, on a thread of the endpoint, one scrape at a
/// time; it may end this object and make others. A family whose name is on the page already is
/// left out, and so is one from a line on that Prometheus would refuse; both are counted:
/// heldby_attached_dropped_total. What it throws is counted there, too. heldby/prometheus.h
/// makes such functions of prometheus::Collectables.
class AttachedMetrics {
 public:
  explicit AttachedMetrics(std::function<std::string()> text);
  AttachedMetrics(AttachedMetrics&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  AttachedMetrics& operator=(AttachedMetrics&& other) noexcept;
  /// Returns when no call is under way but the one that ends it.
  ~AttachedMetrics() { Detach(); }

 private:
  void Detach();
  std::uint64_t id_;
};

}  // namespace heldby
