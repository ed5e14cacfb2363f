// watch/holdings.h - who holds the most, found by walks over the core's tables.
//
// Threads  one.
// Signals  unsafe.
// Allocates  never; what is found is kept in place.
// Units    bytes.
// Bounds   kTopSites sites, kTopHolders connections and as many tasks; kMostHeld different
//          pairs of site and holder, those beyond are counted in held_dropped().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/core.h"

namespace heldby::watch {

/// The N heaviest of what it is shown, heaviest first.
template <typename Record, std::size_t N>
class Heaviest {
 public:
  void Clear() { count_ = 0; }
  void Show(std::int64_t weight, const Record& record) {
    if (weight <= 0 || (count_ == N && weight <= weights_[N - 1])) return;
    std::size_t at = count_ < N ? count_++ : N - 1;
    for (; at > 0 && weights_[at - 1] < weight; --at) {
      weights_[at] = weights_[at - 1];
      records_[at] = records_[at - 1];
    }
    weights_[at] = weight;
    records_[at] = record;
  }
  std::span<const Record> all() const { return {records_, count_}; }

 private:
  std::size_t count_ = 0;
  std::int64_t weights_[N];
  Record records_[N];
};

/// Never less than nothing: a site's figures are read one after the other.
inline std::int64_t LiveBytes(const core::HeapSite& site) {
  return site.allocated_bytes > site.freed_bytes
             ? static_cast<std::int64_t>(site.allocated_bytes - site.freed_bytes)
             : 0;
}
inline std::int64_t LiveObjects(const core::HeapSite& site) {
  constexpr std::uint64_t kObjectUnit = 4096;
  if (site.allocated_objects <= site.freed_objects) return 0;
  return static_cast<std::int64_t>(
      (site.allocated_objects - site.freed_objects + kObjectUnit / 2) / kObjectUnit);
}

/// What a holder holds of a site.
struct Held {
  std::uint32_t site;
  std::uint32_t connection;
  std::uint32_t task;
  bool guessed;
  std::uint64_t bytes;
  std::uint64_t objects;  // in 1/4096
};

class Holdings {
 public:
  static constexpr std::size_t kTopSites = 64;
  static constexpr std::size_t kTopHolders = 20;
  static constexpr std::size_t kMostHeld = 1 << 13;

  /// Sites, connections and tasks.
  void Find(const core::CoreApi& core);
  /// What holds how much of which site: each live sample is looked at.
  void FindHeld(const core::CoreApi& core);

  std::span<const core::HeapSite> sites() const { return sites_.all(); }
  std::span<const core::ConnectionView> connections() const { return connections_.all(); }
  std::span<const core::TaskView> tasks() const { return tasks_.all(); }
  std::span<const Held> held() const { return {held_, held_count_}; }

  std::int64_t live_bytes() const { return live_bytes_; }
  std::uint64_t held_dropped() const { return held_dropped_; }
  bool IsTopSite(std::uint32_t id) const;

 private:
  void AddHeld(const core::LiveSampleView& sample);

  static constexpr std::size_t kBuckets = 2 * kMostHeld;

  Heaviest<core::HeapSite, kTopSites> sites_;
  Heaviest<core::ConnectionView, kTopHolders> connections_;
  Heaviest<core::TaskView, kTopHolders> tasks_;
  std::int64_t live_bytes_ = 0;
  std::size_t held_count_ = 0;
  std::uint64_t held_dropped_ = 0;
  std::uint16_t held_index_[kBuckets] = {};  // 1 + place in held_; 0: empty
  Held held_[kMostHeld];
};

}  // namespace heldby::watch
