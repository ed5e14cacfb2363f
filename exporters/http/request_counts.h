// exporters/http/request_counts.h - what was asked of the endpoint, and what it answered.
//
// Threads  any, lock-free.   Signals  unsafe: allocates.
// Bounds   kMost pairs of path and status; what comes later is path="other", status 0.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/metrics.h"

namespace heldby::http {

class RequestCounts {
 public:
  static constexpr std::size_t kMost = 128;  // every path with each of its answers

  /// `path` is one that exists: others would be an attacker's to choose.
  void Add(std::string_view path, int status);
  [[nodiscard]] MetricFamily Family() const;

  /// A connection was closed without an answer, in favour of others.
  void AddDroppedConnection() { dropped_connections_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] MetricFamily DroppedConnections() const;

 private:
  struct Row {
    std::string path;
    int status;
    std::atomic<std::uint64_t> count{0};
  };
  std::array<std::atomic<Row*>, kMost> rows_{};
  std::atomic<std::uint64_t> others_{0};
  std::atomic<std::uint64_t> dropped_connections_{0};
};

/// Those of this process. A forked child goes on from its parent's.
[[nodiscard]] RequestCounts& ProcessRequestCounts();

}  // namespace heldby::http
