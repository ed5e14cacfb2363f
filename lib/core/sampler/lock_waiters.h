// core/sampler/lock_waiters.h - which locks somebody waits for, and who unlocked them last.
//
// The one who unlocks must find out in a nanosecond whether anybody waits, since mostly nobody
// does: one number says how many wait for any lock; locks are spread over buckets, and a bucket
// says how many wait for any lock of its. The lock's own entry is looked for only if neither is
// 0. Who unlocks leaves a word in the entry; who got the lock takes it from there.
//
// Life of an entry
//   free (lock 0) --Join: CAS--> being filled (kBusy) --> lock, 1 waiter
//   Join: waiters + 1, from more than 0 only;  Leave: waiters - 1;  the last: free
//
// Invariants
//   I1  An entry whose count has come to 0 is left to the one who brought it there.
//   I2  Who has joined looks at the entry's lock again: had it been freed and taken for another
//       lock between the look and the count, it leaves again.
//   I3  Two who come at once may fill an entry each for one lock: the word goes to all of them.
//
// Progress  a CAS that is retried only if another thread succeeded.
// Threads   any, lock-free.   Signals  safe.   Allocates  never.
// Bounds    kBuckets of kEntries; a wait for one lock more is not attributed, dropped() grows.
// Fork      Clear() in the child, where nobody waits.
#pragma once

#include <atomic>
#include <cstdint>

namespace heldby::core {

class LockWaiters {
 public:
  constexpr LockWaiters() = default;

  /// An entry to Leave(); 0: no room.
  std::uint32_t Join(const void* lock);
  void Leave(std::uint32_t entry);
  /// What was left last by who unlocked while the calling thread waited; 0: nothing.
  std::uint64_t WordOf(std::uint32_t entry) const;

  bool Any() const { return waiters_.load(std::memory_order_relaxed) != 0; }
  /// False: certainly nobody who joined before the last unlocking of this lock.
  __attribute__((always_inline)) bool MayBeWaitedFor(const void* lock) const {
    return buckets_[BucketOf(lock)].waiters.load(std::memory_order_relaxed) != 0;
  }
  bool IsWaitedFor(const void* lock) const;
  void LeaveWord(const void* lock, std::uint64_t word);

  void Clear();
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  static constexpr std::uint32_t kBuckets = 512;
  static constexpr std::uint32_t kEntries = 8;

  static std::uint32_t BucketOf(const void* lock) {
    // Locks lie where objects lie: at multiples of 8.
    return static_cast<std::uint32_t>(
        ((reinterpret_cast<std::uintptr_t>(lock) >> 3) * 0x9e3779b97f4a7c15u) >> 55);
  }

 private:
  static constexpr std::uintptr_t kBusy = 1;

  struct Entry {
    std::atomic<std::uintptr_t> lock;
    std::atomic<std::uint64_t> word;
    std::atomic<std::uint32_t> waiters;
  };
  struct alignas(64) Bucket {
    std::atomic<std::uint32_t> waiters;
    Entry entries[kEntries];
  };

  bool Count(Entry& entry, std::uintptr_t lock);
  Entry& At(std::uint32_t entry) {
    return buckets_[(entry - 1) / kEntries].entries[(entry - 1) % kEntries];
  }

  void CountIn(Bucket& bucket, std::uint32_t more) {
    bucket.waiters.fetch_add(more, std::memory_order_relaxed);
    waiters_.fetch_add(more, std::memory_order_relaxed);
  }

  alignas(64) std::atomic<std::uint32_t> waiters_{0};
  Bucket buckets_[kBuckets] = {};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace heldby::core
