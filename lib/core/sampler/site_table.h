// core/sampler/site_table.h - totals per allocation site: a stack, a size class, the user's
// labels.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Units    bytes; objects in 1/kObjectUnit.
// Bounds   kCapacityBytes (about 300,000 sites). Past that everything goes to one site without
//          a stack and dropped() grows: totals stay right, only the name is lost.
//
// Go keys heap buckets by stack and size, and shows the size as label `bytes`. Sizes are
// rounded up to classes (eight to a doubling, at most 12.5 % too high) so that strings of every
// length do not become sites of their own; the label is the class, which never changes, so that
// a site keeps its identity in `-base` and in scrapers' deltas.
//
// Totals only grow, for good: readers difference them. In use = allocated - freed, and a reader
// loads `freed` first, so it never sees less than nothing.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/page_arena.h"
#include "core/stack/stack_table.h"

namespace heldby::core {

enum class SiteId : std::uint32_t {};

/// Upper bound of the class that `size_bytes` belongs to. By hand: 1..16 -> 16, 100 -> 104,
/// 129 -> 144, 1000 -> 1024, 1100 -> 1152.
constexpr std::uint64_t SizeClassBytes(std::uint64_t size_bytes) {
  if (size_bytes <= 16) return 16;
  if (size_bytes >= std::uint64_t{1} << 60) return std::uint64_t{1} << 60;
  const int log2 = 63 - __builtin_clzll(size_bytes - 1);  // 2^log2 < size <= 2^(log2+1)
  const std::uint64_t step = log2 < 6 ? 8 : std::uint64_t{1} << (log2 - 3);
  return (size_bytes + step - 1) / step * step;
}

struct SiteTotals {
  std::uint64_t allocated_objects = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t freed_objects = 0;
  std::uint64_t freed_bytes = 0;
};

class SiteTable {
 public:
  static constexpr std::size_t kCapacityBytes = 16 << 20;

  constexpr SiteTable() = default;

  SiteId Find(StackId stack, std::uint64_t size_bytes, std::uint32_t labels);
  void AddAllocated(SiteId site, std::uint64_t bytes, std::uint64_t objects);
  void AddFreed(SiteId site, std::uint64_t bytes, std::uint64_t objects);

  /// What a site is, beside its totals.
  struct Key {
    StackId stack;
    std::uint32_t labels;  // a set of core/registry's LabelTable; 0: none
    std::uint64_t size_class_bytes;
  };

  using Visitor = void (*)(void* context, SiteId id, const Key& key, const SiteTotals& totals);
  void Visit(Visitor visit, void* context) const;

  /// Of a site that Find() returned, totals or not.
  Key Read(SiteId id, SiteTotals* totals);
  /// In a forked child: sites stay, with nothing counted.
  void ForgetTotals();

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::size_t used_bytes() const { return arena_.used_bytes(); }
  std::uint64_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kBuckets = 1 << 13;

  struct Site {
    std::uint32_t next;
    std::uint32_t stack;
    std::uint32_t labels;
    std::uint64_t size_class_bytes;
    std::atomic<std::uint64_t> allocated_objects;
    std::atomic<std::uint64_t> allocated_bytes;
    std::atomic<std::uint64_t> freed_objects;
    std::atomic<std::uint64_t> freed_bytes;
  };

  Site& Get(SiteId id) {
    const auto offset = static_cast<std::uint32_t>(id);
    return offset == 0 ? other_ : *static_cast<Site*>(arena_.At(offset));
  }
  static Key ReadSite(const Site& site, SiteTotals* totals);
  std::uint32_t Search(std::uint32_t from, std::uint32_t until, const Key& key) const;

  PageArena<kCapacityBytes> arena_;
  std::atomic<std::uint32_t> buckets_[kBuckets] = {};
  Site other_{};  // SiteId{0}: where sites go that no longer fit
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> size_{0};
};

}  // namespace heldby::core
