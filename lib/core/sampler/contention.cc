#include "core/sampler/contention.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/base/self_guard.h"
#include "core/registry/registry.h"
#include "core/stack/capture.h"

namespace heldby::core {

constinit Contention contention;

namespace {
// The kernel's frame for a handler has the registers twice: more than this, and there is the
// interrupted wait's own frame above it.
constexpr std::uintptr_t kHandlerBytes = 1024;
}  // namespace

BlockWeight BlockWeightOf(std::uint64_t delay_ns, std::uint64_t rate_ns, std::uint64_t random) {
  const std::uint64_t delay = std::max<std::uint64_t>(delay_ns, 1);
  if (delay >= rate_ns) return {kObjectUnit, delay};
  // random / 2^64 is uniform in [0, 1): less than delay/rate with that probability.
  if (static_cast<unsigned __int128>(random) * rate_ns >> 64 >= delay) return {0, 0};
  return {(kObjectUnit * rate_ns + delay / 2) / delay, rate_ns};
}

std::uint64_t Contention::set_block_rate_ns(std::uint64_t ns) {
  if (ns != 0) was_on_.store(true, kRelaxed);
  return block_rate_ns_.exchange(std::min(ns, kMaxBlockRateNs), kRelaxed);
}

std::uint64_t Contention::set_mutex_fraction(std::uint64_t fraction) {
  if (fraction != 0) was_on_.store(true, kRelaxed);
  return mutex_fraction_.exchange(std::min(fraction, kMaxMutexFraction), kRelaxed);
}

// A signal handler that jumped out of a wait left its record: it is found by the thread's next
// wait, unless that one is deeper on the stack by what a handler's own frames take at least.
void Contention::EndLeftBehind(std::uintptr_t frame) {
  while (thread_slot.wait != 0) {
    WaitRecord* left = waits_.Open(thread_slot.wait);
    if (left != nullptr && left->frame.load(kRelaxed) > frame + kHandlerBytes)
      return;  // it is around this one
    const std::uint32_t id = thread_slot.wait;
    thread_slot.wait = left != nullptr ? left->outer.load(kRelaxed) : 0;
    if (left != nullptr) EndRecord(id, *left, /*acquired=*/false);
  }
}

std::uint32_t Contention::Begin(WaitKind kind, const void* object, CallSite at,
                                StackTable* stacks) {
  const std::uint64_t rate = block_rate_ns();
  const bool is_lock = kind <= WaitKind::kWriteLock && mutex_fraction() != 0;
  if (InsideSelf() || (rate == 0 && !is_lock)) return 0;
  SelfGuard self;
  const std::uint64_t start = NowNs();
  EndLeftBehind(at.frame);
  registry.threads.ListSelf();
  bool guessed = false;
  const Holder holder = registry.HolderNow(&guessed);
  std::uint32_t site = 0;
  if (rate != 0) {
    // Now, although most waits are short: the one that never ends must be nameable as well.
    Stack stack;
    CaptureStack(at.caller, &stack);
    site = static_cast<std::uint32_t>(block_.Find(stacks->Intern(stack), 1, holder.labels));
  }
  const std::uint32_t waiter = is_lock ? waiters_.Join(object) : 0;
  began_.fetch_add(1, kRelaxed);  // before anybody can see it
  const std::uint32_t id = waits_.Make([&](WaitRecord& record) {
    record.start_ns.store(start, kRelaxed);
    record.block_rate_ns.store(rate, kRelaxed);
    record.object.store(object, kRelaxed);
    record.frame.store(at.frame, kRelaxed);
    record.outer.store(thread_slot.wait, kRelaxed);
    record.site.store(site, kRelaxed);
    record.waiter.store(waiter, kRelaxed);
    record.tid.store(thread_slot.tid, kRelaxed);
    record.connection.store(holder.connection, kRelaxed);
    record.task.store(holder.task, kRelaxed);
    record.kind.store(kind, kRelaxed);
    record.phase.store(WaitPhase::kWaiting, kRelaxed);
  });
  if (id == 0 && waiter != 0) waiters_.Leave(waiter);
  if (id == 0) return 0;
  thread_slot.wait = id;
  return id;
}

void Contention::End(std::uint32_t wait, bool acquired) {
  // Not open: this is a child that was forked by a signal handler in the middle of the wait.
  WaitRecord* record = waits_.Open(wait);
  if (record == nullptr) return;
  if (thread_slot.wait == wait) thread_slot.wait = record->outer.load(kRelaxed);
  EndRecord(wait, *record, acquired);
}

void Contention::EndRecord(std::uint32_t id, WaitRecord& record, bool acquired) {
  if (record.phase.exchange(WaitPhase::kEnding, std::memory_order_acq_rel) !=
      WaitPhase::kWaiting) {
    return;
  }
  // I1: whoever sees what is added below sees the phase.
  std::atomic_thread_fence(std::memory_order_release);
  const std::uint64_t delay = SinceNs(record.start_ns.load(kRelaxed));
  const std::uint64_t rate = record.block_rate_ns.load(kRelaxed);
  if (rate != 0) {
    const BlockWeight weight = BlockWeightOf(delay, rate, NextRandom(thread_slot));
    if (weight.contentions != 0) {
      block_.AddAllocated(SiteId{record.site.load(kRelaxed)}, weight.delay_ns,
                          weight.contentions);
    }
  }
  if (const std::uint32_t waiter = record.waiter.load(kRelaxed)) {
    const std::uint64_t word = waiters_.WordOf(waiter);
    const std::uint64_t fraction = word >> 32;
    if (acquired && fraction != 0) {
      mutex_.AddAllocated(SiteId{static_cast<std::uint32_t>(word)}, delay * fraction,
                          kObjectUnit * fraction);
    }
    waiters_.Leave(waiter);
  }
  waits_.End(id);
}

std::uint64_t Contention::DrawUnlocker(std::uintptr_t caller, StackTable* stacks) {
  const std::uint64_t fraction = mutex_fraction();
  if (fraction == 0 || InsideSelf()) return 0;
  if (fraction > 1 && NextRandom(thread_slot) % fraction != 0) return 0;
  SelfGuard self;
  Stack stack;
  CaptureStack(caller, &stack);
  bool guessed = false;
  const Holder holder = registry.HolderNow(&guessed);
  const SiteId site = mutex_.Find(stacks->Intern(stack), 1, holder.labels);
  return fraction << 32 | static_cast<std::uint32_t>(site);
}

void Contention::Unlocking(const void* lock, std::uintptr_t caller, StackTable* stacks) {
  // The bucket may be another lock's.
  if (waiters_.IsWaitedFor(lock)) waiters_.LeaveWord(lock, DrawUnlocker(caller, stacks));
}

void Contention::RecordUnlock(std::uint64_t delay_ns, std::uintptr_t caller,
                              StackTable* stacks) {
  const std::uint64_t word = DrawUnlocker(caller, stacks);
  const std::uint64_t fraction = word >> 32;
  if (fraction == 0) return;
  mutex_.AddAllocated(SiteId{static_cast<std::uint32_t>(word)}, delay_ns * fraction,
                      kObjectUnit * fraction);
}

WaitPhase Contention::PhaseOf(std::uint32_t wait) {
  std::atomic_thread_fence(std::memory_order_acquire);
  const WaitRecord* record = waits_.Open(wait);
  const WaitPhase phase =
      record != nullptr ? record->phase.load(std::memory_order_acquire) : WaitPhase::kGone;
  std::atomic_thread_fence(std::memory_order_acquire);
  return waits_.StillIs(wait) ? phase : WaitPhase::kGone;
}

bool Contention::EndIfThreadIsGone(std::uint32_t id, WaitRecord& record) {
  const int kept = errno;
  const bool gone = syscall(SYS_tgkill, getpid(), record.tid.load(kRelaxed), 0) != 0 &&
                    errno == ESRCH && waits_.StillIs(id);
  errno = kept;
  if (gone) EndRecord(id, record, /*acquired=*/false);
  return gone;
}

void Contention::BeginAnewInChild() {
  thread_slot.wait = 0;
  if (!was_on_.load(kRelaxed)) return;
  waits_.EndAll();
  waiters_.Clear();
  block_.ForgetTotals();
  mutex_.ForgetTotals();
}

}  // namespace heldby::core
