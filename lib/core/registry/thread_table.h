// core/registry/thread_table.h - where each thread keeps its slot, so that a reader can see
// what every thread works on without asking it.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never.   errno kept.
// Bounds   kCapacity threads; one that finds no place is not seen, and dropped() grows. A place
//          of a thread that has ended is taken when it is needed: nobody hears of the end.
// Fork     BeginAnewInChild().
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/thread_slot.h"

namespace heldby::core {

class ThreadTable {
 public:
  static constexpr std::uint32_t kCapacity = 1 << 14;

  constexpr ThreadTable() = default;

  /// The calling thread, once: every slow path asks for it.
  void ListSelf() {
    if (thread_slot.tid == 0) [[unlikely]] {
      List();
    }
  }

  /// A copy of the slot of thread `tid`. False: it is not listed, or it has ended. The slot is
  /// read by the kernel, since the memory may go while it is read.
  bool Read(std::int32_t tid, ThreadSlot* slot) const;

  void BeginAnewInChild();

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::atomic<std::int32_t> tid;
    std::atomic<const ThreadSlot*> slot;
  };
  static constexpr std::uint32_t kProbes = 16;

  void List();

  Entry entries_[kCapacity] = {};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace heldby::core
