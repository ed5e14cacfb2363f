// tests/hooks/totals.h - what the core says was allocated and is alive, over all sites.
#pragma once

#include <cstdint>

#include "core/core.h"

namespace heldby::core {

struct Totals {
  double allocated_bytes = 0;
  double allocated_objects = 0;
  double live_bytes = 0;
  double live_objects = 0;
};

inline Totals ReadTotals() {
  Totals totals;
  heldby_core_v1()->visit_heap_sites(
      [](void* context, const HeapSite& site) {
        auto& sum = *static_cast<Totals*>(context);
        sum.allocated_bytes += static_cast<double>(site.allocated_bytes);
        sum.allocated_objects += static_cast<double>(site.allocated_objects) / 4096;
        sum.live_bytes += static_cast<double>(site.allocated_bytes - site.freed_bytes);
        sum.live_objects +=
            static_cast<double>(site.allocated_objects - site.freed_objects) / 4096;
      },
      &totals);
  return totals;
}

inline Totals operator-(const Totals& a, const Totals& b) {
  return {a.allocated_bytes - b.allocated_bytes, a.allocated_objects - b.allocated_objects,
          a.live_bytes - b.live_bytes, a.live_objects - b.live_objects};
}

}  // namespace heldby::core
