#include "exporters/http/request_counts.h"

#include <memory>

namespace heldby::http {

void RequestCounts::Add(std::string_view path, int status) {
  for (std::atomic<Row*>& place : rows_) {
    Row* row = place.load(std::memory_order_acquire);
    if (row == nullptr) {
      auto mine = std::make_unique<Row>();
      mine->path = path;
      mine->status = status;
      if (place.compare_exchange_strong(row, mine.get(), std::memory_order_acq_rel)) {
        row = mine.release();
      }
    }
    if (row->path == path && row->status == status) {
      row->count.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  others_.fetch_add(1, std::memory_order_relaxed);
}

MetricFamily RequestCounts::Family() const {
  MetricFamily family{"heldby_http_requests_total", "Requests that the endpoint answered.",
                      MetricType::kCounter};
  for (const std::atomic<Row*>& place : rows_) {
    const Row* row = place.load(std::memory_order_acquire);
    if (row == nullptr) break;
    family.samples.push_back({{{"path", row->path}, {"code", std::to_string(row->status)}},
                              static_cast<double>(row->count.load())});
  }
  if (const std::uint64_t others = others_.load()) {
    family.samples.push_back(
        {{{"path", "other"}, {"code", "other"}}, static_cast<double>(others)});
  }
  return family;
}

MetricFamily RequestCounts::DroppedConnections() const {
  return {"heldby_http_connections_dropped_total",
          "Connections that were closed to make room for others.",
          MetricType::kCounter,
          {{{}, static_cast<double>(dropped_connections_.load())}}};
}

RequestCounts& ProcessRequestCounts() {
  static auto* counts = new RequestCounts;  // a server may outlive the program's statics
  return *counts;
}

}  // namespace heldby::http
