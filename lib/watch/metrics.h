// watch/metrics.h - the watch's own families of /metrics.
//
// Threads  any.   Signals  unsafe: allocates.
// Source   docs/metrics.md.
#pragma once

#include "collect/metric_list.h"

namespace heldby::watch {

void AddMetrics(collect::MetricList* list);

}  // namespace heldby::watch
