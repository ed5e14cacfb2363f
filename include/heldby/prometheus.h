// heldby/prometheus.h - heldby's metrics for a program that uses prometheus-cpp, and its
// metrics for heldby's endpoint.
//
// Threads  Collect(): any. AttachCollectable(): any.
// Signals  unsafe.
// Self     what is allocated to serve a scrape through our endpoint is not sampled.
// Units    those of the metrics.
// Source   docs/metrics.md. Needs prometheus-cpp's core, and nothing else here does; compiled
//          into the program, and so is about the program's own copy of that library, whatever
//          its version: no type of prometheus-cpp crosses into ours.
#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "heldby/metrics.h"
#include "heldby/self.h"

namespace heldby {
namespace prometheus_cpp {

// TextSerializer writes a help text as it is: a line end in it would begin a line of its own.
inline std::string EscapedHelp(const std::string& help) {
  std::string escaped;
  for (const char c : help) {
    if (c == '\\') {
      escaped += "\\\\";
    } else if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

inline ::prometheus::MetricFamily Converted(MetricFamily family) {
  ::prometheus::MetricFamily converted;
  converted.name = std::move(family.name);
  converted.help = std::move(family.help);
  const bool is_counter = family.type == MetricType::kCounter;
  converted.type =
      is_counter ? ::prometheus::MetricType::Counter : ::prometheus::MetricType::Gauge;
  for (MetricSample& sample : family.samples) {
    ::prometheus::ClientMetric& metric = converted.metric.emplace_back();
    for (auto& [name, value] : sample.labels) {
      ::prometheus::ClientMetric::Label label;
      label.name = std::move(name);
      label.value = std::move(value);
      metric.label.push_back(std::move(label));
    }
    (is_counter ? metric.counter.value : metric.gauge.value) = sample.value;
  }
  return converted;
}

}  // namespace prometheus_cpp

/// For a program with an Exposer or a server of its own:
///
///   auto metrics = std::make_shared<heldby::PrometheusCollector>();
///   exposer.RegisterCollectable(metrics);
///
/// The exposer holds it weakly: keep it. Never throws, since prometheus-cpp's server would end
/// the program: without memory the list is empty.
class PrometheusCollector : public ::prometheus::Collectable {
 public:
  [[nodiscard]] std::vector<::prometheus::MetricFamily> Collect() const override {
    std::vector<::prometheus::MetricFamily> converted;
    try {
      auto families = CollectMetrics();
      if (!families) return converted;
      for (MetricFamily& family : *families) {
        converted.push_back(prometheus_cpp::Converted(std::move(family)));
      }
    } catch (...) {
      converted.clear();
    }
    return converted;
  }
};

/// `collectable`, a prometheus::Registry for instance, is on heldby's /metrics while both live.
[[nodiscard]] inline AttachedMetrics AttachCollectable(
    std::weak_ptr<::prometheus::Collectable> collectable) {
  return AttachedMetrics([collectable = std::move(collectable)]() -> std::string {
    const auto locked = collectable.lock();
    if (locked == nullptr) return {};
    std::vector<::prometheus::MetricFamily> families = locked->Collect();
    for (::prometheus::MetricFamily& family : families) {
      family.help = prometheus_cpp::EscapedHelp(family.help);
    }
    return ::prometheus::TextSerializer().Serialize(families);
  });
}

}  // namespace heldby
