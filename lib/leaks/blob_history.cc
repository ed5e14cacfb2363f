#include "leaks/blob_history.h"

#include <algorithm>

namespace heldby::leaks {
namespace {

std::size_t CostOf(const std::string& blob) {
  return blob.capacity() + sizeof(std::string) + sizeof(std::int64_t);
}

}  // namespace

void BlobHistory::Add(std::int64_t now_ns, std::string bytes) {
  bytes.shrink_to_fit();
  if (CostOf(bytes) > budget_bytes_ / 8) {
    ++thinned_total_;
    return;
  }
  // What may fail for want of memory comes first.
  blobs_.reserve(blobs_.size() + 1);
  times_ns_.push_back(now_ns);
  used_bytes_ += CostOf(bytes);
  blobs_.push_back(std::move(bytes));
  while (const auto one = OneTooMany(times_ns_, bands_, now_ns)) Remove(*one);
  while (used_bytes_ > budget_bytes_ && times_ns_.size() > 2) {
    Remove(LeastMissed(times_ns_, now_ns));
    ++thinned_total_;
  }
}

void BlobHistory::Remove(std::size_t snapshot) {
  used_bytes_ -= CostOf(blobs_[snapshot]);
  const auto offset = static_cast<std::ptrdiff_t>(snapshot);
  blobs_.erase(blobs_.begin() + offset);
  times_ns_.erase(times_ns_.begin() + offset);
}

std::size_t NearestBefore(const std::vector<std::int64_t>& times_ns, std::int64_t then_ns) {
  const auto after = std::ranges::upper_bound(times_ns, then_ns);
  return after == times_ns.begin() ? 0 : static_cast<std::size_t>(after - times_ns.begin()) - 1;
}

}  // namespace heldby::leaks
