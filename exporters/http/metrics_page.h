// exporters/http/metrics_page.h - /metrics.
//
// Threads  any, concurrently.   Signals  unsafe: allocates, calls what the program attached.
// Source   docs/metrics.md.
#pragma once

#include "heldby/http.h"

namespace heldby::http {

/// Text format 0.0.4; gzip where Accept-Encoding takes it.
[[nodiscard]] Response MetricsPage(const Request& request);

}  // namespace heldby::http
