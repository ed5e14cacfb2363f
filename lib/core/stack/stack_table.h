// core/stack/stack_table.h - every distinct stack once, named by a 32-bit id.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Bounds   kCapacityBytes of stacks (about 100,000 of 40 frames). Past that Intern() returns
//          kNoStack and dropped() grows; the sample is kept without its stack.
//
// Invariants
//   I1  A record is complete before the CAS (release) that links it; a reader that reaches it
//       through a bucket (acquire) sees all of it. Records never change and never leave.
//   I2  Two threads may build the same stack at once; the one that loses the CAS walks what was
//       linked meanwhile, so a stack has one id. Its own record is then left unused in the
//       arena: rare, and bounded by the arena like everything else.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/page_arena.h"
#include "core/stack/capture.h"

namespace heldby::core {

enum class StackId : std::uint32_t { kNoStack = 0 };

struct StackRecord {
  std::uint32_t next;  // arena offset of the next record of the bucket
  std::uint16_t depth;
  bool truncated;
  std::uint64_t hash;
  std::uintptr_t frames[];  // `depth` of them, and behind them as many module tags

  const std::uint16_t* modules() const {
    return reinterpret_cast<const std::uint16_t*>(frames + depth);
  }
};

class StackTable {
 public:
  static constexpr std::size_t kCapacityBytes = 32 << 20;

  constexpr StackTable() = default;

  StackId Intern(const Stack& stack);

  /// REQUIRES: id came from Intern() and is not kNoStack.
  const StackRecord& Get(StackId id) const {
    return *static_cast<const StackRecord*>(arena_.At(static_cast<std::uint32_t>(id)));
  }
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::size_t used_bytes() const { return arena_.used_bytes(); }

 private:
  static constexpr std::size_t kBuckets = 1 << 14;

  /// First record from `from` up to but without `until` that equals `stack`; 0 if none.
  std::uint32_t Find(std::uint32_t from, std::uint32_t until, const Stack& stack,
                     std::uint64_t hash) const;

  PageArena<kCapacityBytes> arena_;
  std::atomic<std::uint32_t> buckets_[kBuckets] = {};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace heldby::core
