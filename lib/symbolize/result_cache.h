// symbolize/result_cache.h - answers kept for the next snapshot, within a fixed budget.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Units    *_bytes are estimates of heap bytes, strings and nodes included.
// Bounds   `budget_bytes`, in two halves: when the young half is full it becomes the old one
//          and the old one is dropped; what is asked for again moves back to the young. That
//          approximates least-recently-used without a list through all entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "profile/flat_hash.h"
#include "symbolize/frames.h"

namespace heldby::symbolize {

class ResultCache {
 public:
  /// (Module::id, linked address).
  using Key = std::pair<std::uint32_t, std::uint64_t>;

  explicit ResultCache(std::size_t budget_bytes) : half_bytes_(budget_bytes / 2) {}

  /// nullptr: not known.
  std::shared_ptr<const Frames> Find(const Key& key);
  void Insert(const Key& key, std::shared_ptr<const Frames> frames);

  std::size_t size_bytes() const { return young_.size_bytes + old_.size_bytes; }

 private:
  using Map = FlatHashMap<Key, std::shared_ptr<const Frames>>;
  struct Half {
    Map map;
    std::size_t size_bytes = 0;
  };

  std::size_t half_bytes_;
  Half young_, old_;
};

}  // namespace heldby::symbolize
