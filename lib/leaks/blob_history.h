// leaks/blob_history.h - whole snapshots of the past, as bytes.
//
// Threads  one at a time.   Signals  unsafe: allocates.   Units  nanoseconds of one clock.
// Bounds   `budget_bytes`; for want of room the past becomes coarser, and thinned_total() says
//          so. One that is larger than an eighth of it is not kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "leaks/schedule.h"

namespace heldby::leaks {

class BlobHistory {
 public:
  BlobHistory(std::vector<Band> bands, std::size_t budget_bytes)
      : bands_(std::move(bands)), budget_bytes_(budget_bytes) {}

  void Add(std::int64_t now_ns, std::string bytes);
  [[nodiscard]] const std::vector<std::int64_t>& times_ns() const { return times_ns_; }
  [[nodiscard]] const std::string& At(std::size_t snapshot) const { return blobs_[snapshot]; }
  [[nodiscard]] std::size_t used_bytes() const { return used_bytes_; }
  [[nodiscard]] std::uint64_t thinned_total() const { return thinned_total_; }

 private:
  void Remove(std::size_t snapshot);

  std::vector<Band> bands_;
  std::size_t budget_bytes_;
  std::vector<std::int64_t> times_ns_{};
  std::vector<std::string> blobs_{};
  std::size_t used_bytes_ = 0;
  std::uint64_t thinned_total_ = 0;
};

/// The last snapshot that was taken no later than then, or else the first. REQUIRES: there is
/// one.
[[nodiscard]] std::size_t NearestBefore(const std::vector<std::int64_t>& times_ns,
                                        std::int64_t then_ns);

}  // namespace heldby::leaks
