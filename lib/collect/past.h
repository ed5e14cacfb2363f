// collect/past.h - what the heap, the connections and the tasks were, and how many.
//
// Threads  one at a time.   Signals  unsafe: allocates.
// Self     the caller holds an UnsampledScope.
// Units    bytes, nanoseconds of the registry's clock.
// Bounds   `budget_bytes` for all of it; kMostKeys kinds of tasks and of connections.
// Source   docs/leaks.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/core.h"
#include "leaks/site_history.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

/// Numbers that go up and down, in a history of what only grows: what came is "allocated", what
/// went is "freed".
class CountHistory {
 public:
  using Key = std::pair<std::uint32_t, std::uint32_t>;
  static constexpr std::size_t kMostKeys = 4096;

  CountHistory(std::vector<leaks::Band> bands, std::size_t budget_bytes)
      : history_(std::move(bands), budget_bytes) {}

  void Add(std::int64_t now_ns, const FlatHashMap<Key, std::int64_t>& counts,
           const leaks::Load& load);

  [[nodiscard]] const leaks::SiteHistory& history() const { return history_; }
  /// The key of SiteTotals::site.
  [[nodiscard]] const Key& key(std::uint32_t site) const { return keys_[site]; }
  /// Kinds that came when there was no room for more, each time they were counted.
  [[nodiscard]] std::uint64_t dropped_total() const { return dropped_total_; }
  [[nodiscard]] std::size_t used_bytes() const {
    return history_.used_bytes() + keys_.capacity() * (sizeof(Key) + 16 + sizeof(Key));
  }

 private:
  leaks::SiteHistory history_;
  std::vector<Key> keys_{};
  FlatHashMap<Key, std::uint32_t> sites_{};
  std::vector<leaks::SiteTotals> totals_{};
  std::uint64_t dropped_total_ = 0;
};

class Past {
 public:
  Past(const core::CoreApi& core, std::int64_t window_ns, std::size_t budget_bytes);

  /// A snapshot of now.
  void Remember();

  [[nodiscard]] const leaks::SiteHistory& heap() const { return heap_; }
  /// By where they were opened (RegistryApi::stack) and whether by us (1).
  [[nodiscard]] const CountHistory& connections() const { return connections_; }
  /// By where they were made and what they wait for: places; those that run are not in it.
  [[nodiscard]] const CountHistory& tasks() const { return tasks_; }

  [[nodiscard]] std::int64_t window_ns() const { return window_ns_; }
  /// When the first snapshot was taken; 0: not yet.
  [[nodiscard]] std::int64_t began_ns() const { return began_ns_; }
  [[nodiscard]] std::size_t used_bytes() const;
  [[nodiscard]] std::uint64_t thinned_total() const;

 private:
  const core::CoreApi& core_;
  std::int64_t window_ns_;
  std::int64_t began_ns_ = 0;
  leaks::SiteHistory heap_;
  CountHistory connections_;
  CountHistory tasks_;
};

/// By rising number.
[[nodiscard]] std::vector<leaks::SiteTotals> ReadSites(const core::CoreApi& core);

/// What connections and tasks are counted by.
[[nodiscard]] inline CountHistory::Key KeyOf(const core::ConnectionView& connection) {
  return {connection.stack, connection.outbound ? 1 : 0};
}
[[nodiscard]] inline CountHistory::Key KeyOf(const core::TaskView& task) {
  return {task.made_id, task.parked_id};
}
[[nodiscard]] inline bool IsParked(const core::TaskView& task) {
  return !task.ended && !task.is_scope && !task.running && task.parked_id != 0;
}

}  // namespace heldby::collect
