// core/sampler/contention.h - who waited for whom: waits that have ended, and those under way.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Promises errno kept, no user code, works before constructors, after thread teardown.
// Units    ns of CLOCK_MONOTONIC; contentions in 1/kObjectUnit.
// Bounds   kWaits waits under way: one more is not counted, dropped_waits() grows. Sites as in
//          SiteTable, locks waited for as in LockWaiters.
// Fork     BeginAnewInChild(): nothing was counted, nobody waits.
//
// Two tables of sites, whose bytes are nanoseconds and whose objects are contentions: `block`
// by the stack of who waited, `mutex` by the stack of who unlocked. What was added is scaled
// already, by the rate of its own time, so that the rate may change at any moment.
//
// A wait's life, and how a reader can add what is under way to what was counted without
// counting anything twice or losing it for a moment:
//
//   kWaiting --End: exchange--> kEnding --totals added--> gone (the record is another's)
//
// Invariants
//   I1  Of a record that is seen as kWaiting after the totals of its site were read, these
//       totals have nothing.
//   I2  Of one that is seen as gone before they are read, they have everything.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/thread_slot.h"
#include "core/registry/record_table.h"
#include "core/sampler/lock_waiters.h"
#include "core/sampler/poisson.h"
#include "core/sampler/site_table.h"
#include "core/stack/stack_table.h"

namespace heldby::core {

inline constexpr std::uint64_t kMaxBlockRateNs = 3'600'000'000'000;  // an hour
inline constexpr std::uint64_t kMaxMutexFraction = 10'000;  // times a wait of weeks fits

enum class WaitKind : std::uint8_t {
  kMutex,
  kReadLock,
  kWriteLock,
  kCondition,
  kSemaphore,
  kThread  // for its end
};

enum class WaitPhase : std::uint8_t { kWaiting, kEnding, kGone };

struct WaitRecord {
  RecordHead head;
  std::atomic<std::uint64_t> start_ns;
  std::atomic<std::uint64_t> block_rate_ns;  // when it began; 0: for the mutex profile only
  std::atomic<const void*> object;
  std::atomic<std::uintptr_t> frame;  // CallSite::frame
  std::atomic<std::uint32_t> outer;   // the wait that a signal handler's wait interrupted
  std::atomic<std::uint32_t> site;    // of `block`
  std::atomic<std::uint32_t> waiter;  // in LockWaiters
  std::atomic<std::int32_t> tid;
  std::atomic<std::uint32_t> connection;
  std::atomic<std::uint32_t> task;
  std::atomic<WaitKind> kind;
  std::atomic<WaitPhase> phase;
};

/// Of a call: the return address into the code that made it, and where its stack was.
struct CallSite {
  std::uintptr_t caller;
  std::uintptr_t frame;
};

class Contention {
 public:
  constexpr Contention() = default;

  std::uint64_t block_rate_ns() const { return block_rate_ns_.load(kRelaxed); }
  std::uint64_t mutex_fraction() const { return mutex_fraction_.load(kRelaxed); }
  /// 0: off. The one before.
  std::uint64_t set_block_rate_ns(std::uint64_t ns);
  std::uint64_t set_mutex_fraction(std::uint64_t fraction);

  /// The calling thread is about to wait for `object`, in the call made at `site`. 0: nothing
  /// is to be recorded.
  std::uint32_t Begin(WaitKind kind, const void* object, CallSite site, StackTable* stacks);
  /// `acquired`: a lock, and now the caller has it.
  void End(std::uint32_t wait, bool acquired);

  /// In every unlocking: false unless the mutex profile is on and somebody waits.
  bool AnyLockIsWaitedFor() const { return waiters_.Any(); }
  __attribute__((always_inline)) bool MayBeWaitedFor(const void* lock) const {
    return waiters_.MayBeWaitedFor(lock);
  }
  /// Before the unlocking, so that who gets the lock finds what is left here.
  void Unlocking(const void* lock, std::uintptr_t caller, StackTable* stacks);
  /// A lock was given up that others had waited for, delay_ns altogether; told by a profiler
  /// hook of whoever made the lock.
  void RecordUnlock(std::uint64_t delay_ns, std::uintptr_t caller, StackTable* stacks);

  SiteTable& block() { return block_; }
  SiteTable& mutex() { return mutex_; }

  /// visit(id, record) for each wait under way. Of a thread that is gone (it was cancelled in
  /// its own way), the wait is ended first.
  template <typename Visit>
  void ForEachWait(const Visit& visit) {
    waits_.ForEach([&](std::uint32_t id, WaitRecord& record) {
      if (!EndIfThreadIsGone(id, record)) visit(id, record);
    });
  }
  bool StillIs(std::uint32_t wait) { return waits_.StillIs(wait); }
  /// REQUIRES: for I1, after the totals were read; for I2, before.
  WaitPhase PhaseOf(std::uint32_t wait);

  void BeginAnewInChild();

  std::uint64_t dropped_waits() const { return waits_.dropped(); }
  std::uint64_t dropped_locks() const { return waiters_.dropped(); }
  std::uint64_t dropped_sites() const { return block_.dropped() + mutex_.dropped(); }
  std::uint64_t waits() const { return began_.load(kRelaxed); }
  std::uint64_t table_bytes() const {
    return block_.used_bytes() + mutex_.used_bytes() + waits_.used_bytes();
  }

 private:
  static constexpr auto kRelaxed = std::memory_order_relaxed;

  void EndLeftBehind(std::uintptr_t frame);
  void EndRecord(std::uint32_t id, WaitRecord& record, bool acquired);
  bool EndIfThreadIsGone(std::uint32_t id, WaitRecord& record);
  /// What an unlocking stands for: a site of `mutex`, and the fraction. 0: it is not a sample.
  std::uint64_t DrawUnlocker(std::uintptr_t caller, StackTable* stacks);

  std::atomic<std::uint64_t> block_rate_ns_{0};
  std::atomic<std::uint64_t> mutex_fraction_{0};
  std::atomic<std::uint64_t> began_{0};
  std::atomic<bool> was_on_{false};
  SiteTable block_;
  SiteTable mutex_;
  LockWaiters waiters_;
  RecordTable<WaitRecord, 14> waits_;
};

/// What a wait of `delay_ns` adds to the block profile. One that is shorter than the rate is
/// counted with probability delay/rate, for what rate/delay of them are; random: 64 bits.
/// By hand: 250 ns at a rate of 1000 is counted once in 4, as 4 waits and 1000 ns.
struct BlockWeight {
  std::uint64_t contentions;  // in 1/kObjectUnit
  std::uint64_t delay_ns;
};
BlockWeight BlockWeightOf(std::uint64_t delay_ns, std::uint64_t rate_ns, std::uint64_t random);

/// The one of this process. Constant-initialised.
extern Contention contention __attribute__((visibility("hidden")));

}  // namespace heldby::core
