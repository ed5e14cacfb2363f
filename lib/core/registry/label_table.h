// core/registry/label_table.h - every distinct set of labels once, named by a 32-bit id.
//
// Threads  any, lock-free.   Signals  safe to read.   Allocates  never from the host's heap.
// Bounds   kCapacityBytes (about 100,000 sets of two labels), 16 labels a set, 127 bytes a
//          key and a value. A set that no longer fits becomes kOtherLabels, {other="true"},
//          and dropped() grows; what is longer is cut.
// Source   Go's runtime/pprof labels: merged with those of the outside, the later value of
//          a key wins, sorted by key.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/page_arena.h"

namespace heldby::core {

inline constexpr int kMaxLabels = 16;
inline constexpr std::size_t kMaxLabelBytes = 127;

struct Label {
  const char* key;  // ends with a 0
  const char* value;
};

class LabelTable {
 public:
  static constexpr std::size_t kCapacityBytes = 4 << 20;
  static constexpr std::uint32_t kOtherLabels = 1;  // kept free: see Intern()

  constexpr LabelTable() = default;

  /// The labels of `outer` and these, as one set. 0 is the empty one.
  std::uint32_t Merge(std::uint32_t outer, const Label* labels, int count);

  /// Calls visit(context, key, value) for each, by key.
  void Visit(std::uint32_t id, void (*visit)(void* context, const char* key, const char* value),
             void* context) const;

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::size_t used_bytes() const { return arena_.used_bytes(); }

 private:
  static constexpr std::size_t kBuckets = 1 << 12;
  struct Set {
    std::uint32_t next;
    std::uint32_t text_bytes;
    std::uint64_t hash;
    char text[];  // key 0 value 0 key 0 value 0 ...
  };
  std::uint32_t Find(std::uint32_t from, std::uint32_t until, const Set& wanted) const;
  std::uint32_t Intern(const Set& wanted);

  PageArena<kCapacityBytes> arena_;
  std::atomic<std::uint32_t> buckets_[kBuckets] = {};
  // A set's id also comes to readers past the buckets, in another thread's slot: who reads this
  // sees every set that was complete before.
  std::atomic<std::uint32_t> published_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace heldby::core
