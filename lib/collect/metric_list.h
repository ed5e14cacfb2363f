// collect/metric_list.h - families of metrics as they are put together.
//
// Threads  one at a time.   Signals  unsafe: allocates.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "heldby/metrics.h"

namespace heldby::collect {

class MetricList {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  /// A family, to which Add() adds until the next one is begun.
  MetricList& Counter(std::string name, std::string help) {
    families_.push_back({std::move(name), std::move(help), MetricType::kCounter, {}});
    return *this;
  }
  MetricList& Gauge(std::string name, std::string help) {
    families_.push_back({std::move(name), std::move(help), MetricType::kGauge, {}});
    return *this;
  }

  template <typename Number>
  MetricList& Add(Labels labels, Number value) {
    static_assert(std::is_arithmetic_v<Number>);
    families_.back().samples.push_back({std::move(labels), static_cast<double>(value)});
    return *this;
  }
  template <typename Number>
  MetricList& Add(Number value) {
    return Add({}, value);
  }

  /// Families without a sample are left out: a HELP alone says nothing.
  [[nodiscard]] std::vector<MetricFamily> Take() && {
    std::erase_if(families_, [](const MetricFamily& family) { return family.samples.empty(); });
    return std::move(families_);
  }

 private:
  std::vector<MetricFamily> families_{};
};

}  // namespace heldby::collect
