// leaks/site_history.h - what each allocation site had allocated and freed, at many times of
// the past.
//
// Threads  one at a time.   Signals  unsafe: allocates.
// Units    bytes; objects in 1/4096, as the core counts them; nanoseconds of the core's clock.
// Bounds   `budget_bytes` for all of it; for want of room the past becomes coarser, and
//          thinned_total() says so.
// Source   docs/leaks.md.
//
// Totals only grow, so a snapshot is the list of sites whose totals have grown since the one
// before, as small differences: some nine bytes for a site in which something happened, nothing
// for the others. A snapshot that goes is added to the one after it. What was at some time is
// the sum of all up to then: a pass over everything, 2 ms for 8 MB, once a visit.
//
//   snapshot | time | gap id, +allocated, +freed, +objects allocated, +objects freed | ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "leaks/schedule.h"

namespace heldby::leaks {

struct SiteTotals {
  std::uint32_t site = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t freed_bytes = 0;
  std::uint64_t allocated_objects = 0;
  std::uint64_t freed_objects = 0;

  [[nodiscard]] std::int64_t live_bytes() const {
    return static_cast<std::int64_t>(allocated_bytes - freed_bytes);
  }
  [[nodiscard]] std::int64_t live_objects() const {
    return static_cast<std::int64_t>(allocated_objects - freed_objects);
  }
  bool operator==(const SiteTotals&) const = default;
};

/// How much there was to do.
struct Load {
  std::int64_t connections = 0;
  std::int64_t tasks = 0;
};

class SiteHistory {
 public:
  SiteHistory(std::vector<Band> bands, std::size_t budget_bytes)
      : bands_(std::move(bands)), budget_bytes_(budget_bytes) {}

  /// `sites` by rising number; what is not in it is as it was. `load`: what they may grow with.
  /// REQUIRES: `now_ns` after those before; totals no smaller than before.
  void Add(std::int64_t now_ns, std::span<const SiteTotals> sites, const Load& load = {});

  [[nodiscard]] const std::vector<std::int64_t>& times_ns() const { return times_ns_; }
  [[nodiscard]] const std::vector<Load>& loads() const { return loads_; }

  /// All sites as they were in the snapshot with this number, by rising number.
  [[nodiscard]] std::vector<SiteTotals> At(std::size_t snapshot) const;

  /// Every site that had grown since the snapshot before, snapshot by snapshot, oldest first,
  /// with its totals then.
  void Visit(
      const std::function<void(std::size_t snapshot, const SiteTotals& totals)>& visit) const;

  [[nodiscard]] std::size_t used_bytes() const;
  [[nodiscard]] std::uint64_t thinned_total() const { return thinned_total_; }

 private:
  void Remove(std::size_t snapshot);
  std::vector<SiteTotals> Nothing() const;
  template <typename Visitor>
  void AddAll(std::size_t snapshot, std::vector<SiteTotals>* totals,
              const Visitor& visit) const;

  std::vector<Band> bands_;
  std::size_t budget_bytes_;
  std::vector<std::int64_t> times_ns_{};
  std::vector<Load> loads_{};
  std::vector<std::string> deltas_{};  // deltas_[i]: from snapshot i - 1 to i
  std::vector<SiteTotals> last_{};     // of the last snapshot
  std::size_t delta_bytes_ = 0;
  std::uint64_t thinned_total_ = 0;
};

}  // namespace heldby::leaks
