// Mutexes and read-write locks as the host sees them. While nothing is recorded, each of the
// frequent calls is one jump to the real one. While contention is, a lock is tried first, and
// only who would have to wait is looked at; who unlocks looks whether anybody waits.
//
// Promises  every function here: no lock of ours, no allocation, no user code; results and
//           errno are the real call's: what a try cannot take is left to the real call, which
//           knows of owners that died, of deadlocks, and of deadlines. Works before
//           constructors, inside other allocators and the dynamic linker, after thread
//           teardown, across fork.
#undef _FORTIFY_SOURCE
#include <pthread.h>

#include "core/hooks/lock_calls.h"
#include "core/hooks/next_call.h"
#include "core/hooks/placement.h"

// What libc itself calls them. Allocators lock before there is a constructor of ours, and
// dlsym() may allocate: until then these are called, without asking anybody for their address.
extern "C" {
int heldby_libc_mutex_lock(pthread_mutex_t* mutex) noexcept;
int heldby_libc_mutex_unlock(pthread_mutex_t* mutex) noexcept;
int heldby_libc_rdlock(pthread_rwlock_t* lock) noexcept;
int heldby_libc_wrlock(pthread_rwlock_t* lock) noexcept;
int heldby_libc_rwunlock(pthread_rwlock_t* lock) noexcept;
}
asm(".symver heldby_libc_mutex_lock, __pthread_mutex_lock@GLIBC_2.2.5\n"
    ".symver heldby_libc_mutex_unlock, __pthread_mutex_unlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_rdlock, __pthread_rwlock_rdlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_wrlock, __pthread_rwlock_wrlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_rwunlock, __pthread_rwlock_unlock@GLIBC_2.2.5\n");

namespace heldby::core {
namespace {

// Where the frequent calls go now: to libc, to whom the dynamic linker finds behind us, or to
// ourselves. One load and a jump, whichever it is.
using MutexCall = int (*)(pthread_mutex_t*);
using RwCall = int (*)(pthread_rwlock_t*);
constinit std::atomic<MutexCall> mutex_lock{&heldby_libc_mutex_lock};
constinit std::atomic<MutexCall> mutex_unlock{&heldby_libc_mutex_unlock};
constinit std::atomic<RwCall> read_lock{&heldby_libc_rdlock};
constinit std::atomic<RwCall> write_lock{&heldby_libc_wrlock};
constinit std::atomic<RwCall> rw_unlock{&heldby_libc_rwunlock};

#define COLD __attribute__((noinline, cold))

COLD int WaitForMutex(pthread_mutex_t* mutex, const CallSite& site) {
  return Waiting(WaitKind::kMutex, mutex, site,
                 [=] { return HELDBY_NEXT(pthread_mutex_lock)(mutex); });
}
int LockRecorded(pthread_mutex_t* mutex) noexcept {
  const int tried = HELDBY_NEXT(pthread_mutex_trylock)(mutex);
  return tried != EBUSY ? tried : WaitForMutex(mutex, HELDBY_CALL_SITE);
}

COLD int WaitToRead(pthread_rwlock_t* lock, const CallSite& site) {
  return Waiting(WaitKind::kReadLock, lock, site,
                 [=] { return HELDBY_NEXT(pthread_rwlock_rdlock)(lock); });
}
int ReadLockRecorded(pthread_rwlock_t* lock) noexcept {
  const int tried = HELDBY_NEXT(pthread_rwlock_tryrdlock)(lock);
  return tried != EBUSY ? tried : WaitToRead(lock, HELDBY_CALL_SITE);
}

COLD int WaitToWrite(pthread_rwlock_t* lock, const CallSite& site) {
  return Waiting(WaitKind::kWriteLock, lock, site,
                 [=] { return HELDBY_NEXT(pthread_rwlock_wrlock)(lock); });
}
int WriteLockRecorded(pthread_rwlock_t* lock) noexcept {
  const int tried = HELDBY_NEXT(pthread_rwlock_trywrlock)(lock);
  return tried != EBUSY ? tried : WaitToWrite(lock, HELDBY_CALL_SITE);
}

COLD int UnlockWaitedFor(pthread_mutex_t* mutex, const CallSite& site) {
  NoteUnlocking(mutex, site.caller);
  return HELDBY_NEXT(pthread_mutex_unlock)(mutex);
}
int UnlockRecorded(pthread_mutex_t* mutex) noexcept {
  if (contention.MayBeWaitedFor(mutex)) [[unlikely]] {
    return UnlockWaitedFor(mutex, HELDBY_CALL_SITE);
  }
  return HELDBY_NEXT(pthread_mutex_unlock)(mutex);
}

COLD int RwUnlockWaitedFor(pthread_rwlock_t* lock, const CallSite& site) {
  NoteUnlocking(lock, site.caller);
  return HELDBY_NEXT(pthread_rwlock_unlock)(lock);
}
int RwUnlockRecorded(pthread_rwlock_t* lock) noexcept {
  if (contention.MayBeWaitedFor(lock)) [[unlikely]] {
    return RwUnlockWaitedFor(lock, HELDBY_CALL_SITE);
  }
  return HELDBY_NEXT(pthread_rwlock_unlock)(lock);
}

void DirectCalls() {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const bool waits = contention.block_rate_ns() != 0 || contention.mutex_fraction() != 0;
  const bool unlocks = contention.mutex_fraction() != 0;
  waits_recorded.store(waits, kRelaxed);
  unlocks_recorded.store(unlocks, kRelaxed);
  mutex_lock.store(waits ? &LockRecorded : HELDBY_NEXT(pthread_mutex_lock), kRelaxed);
  read_lock.store(waits ? &ReadLockRecorded : HELDBY_NEXT(pthread_rwlock_rdlock), kRelaxed);
  write_lock.store(waits ? &WriteLockRecorded : HELDBY_NEXT(pthread_rwlock_wrlock), kRelaxed);
  mutex_unlock.store(unlocks ? &UnlockRecorded : HELDBY_NEXT(pthread_mutex_unlock), kRelaxed);
  rw_unlock.store(unlocks ? &RwUnlockRecorded : HELDBY_NEXT(pthread_rwlock_unlock), kRelaxed);
}

// A lock with a deadline: tried first, where the real call would not refuse the deadline.
template <typename Try, typename Call>
__attribute__((always_inline)) inline int LockUntil(WaitKind kind, void* lock, clockid_t clock,
                                                    const timespec* deadline,
                                                    const CallSite& site, const Try& tries,
                                                    const Call& call) {
  if (!waits_recorded.load(std::memory_order_relaxed) || !IsPlainDeadline(clock, deadline)) {
    return call();
  }
  const int tried = tries();
  return tried != EBUSY ? tried : Waiting(kind, lock, site, call);
}

}  // namespace

void ResolveLockCalls() {
  HELDBY_NEXT(pthread_mutex_trylock);
  HELDBY_NEXT(pthread_rwlock_tryrdlock);
  HELDBY_NEXT(pthread_rwlock_trywrlock);
  HELDBY_NEXT(pthread_mutex_timedlock);
  HELDBY_NEXT(pthread_mutex_clocklock);
  HELDBY_NEXT(pthread_rwlock_timedrdlock);
  HELDBY_NEXT(pthread_rwlock_timedwrlock);
  HELDBY_NEXT(pthread_rwlock_clockrdlock);
  HELDBY_NEXT(pthread_rwlock_clockwrlock);
  DirectCalls();
}

std::uint64_t SetBlockRateNs(std::uint64_t ns) {
  const std::uint64_t before = contention.set_block_rate_ns(ns);
  DirectCalls();
  return before;
}

std::uint64_t SetMutexFraction(std::uint64_t fraction) {
  const std::uint64_t before = contention.set_mutex_fraction(fraction);
  DirectCalls();
  return before;
}

}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: the entries below are C functions at global scope

HELDBY_HOOK int pthread_mutex_lock(pthread_mutex_t* mutex) __THROWNL {
  return mutex_lock.load(std::memory_order_relaxed)(mutex);
}

HELDBY_HOOK int pthread_mutex_unlock(pthread_mutex_t* mutex) __THROWNL {
  return mutex_unlock.load(std::memory_order_relaxed)(mutex);
}

HELDBY_HOOK int pthread_rwlock_rdlock(pthread_rwlock_t* lock) __THROWNL {
  return read_lock.load(std::memory_order_relaxed)(lock);
}

HELDBY_HOOK int pthread_rwlock_wrlock(pthread_rwlock_t* lock) __THROWNL {
  return write_lock.load(std::memory_order_relaxed)(lock);
}

HELDBY_HOOK int pthread_rwlock_unlock(pthread_rwlock_t* lock) __THROWNL {
  return rw_unlock.load(std::memory_order_relaxed)(lock);
}

HELDBY_HOOK int pthread_mutex_timedlock(pthread_mutex_t* __restrict mutex,
                                        const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kMutex, mutex, CLOCK_REALTIME, deadline, HELDBY_CALL_SITE,
      [=] { return HELDBY_NEXT(pthread_mutex_trylock)(mutex); },
      [=] { return HELDBY_NEXT(pthread_mutex_timedlock)(mutex, deadline); });
}

HELDBY_HOOK int pthread_mutex_clocklock(pthread_mutex_t* __restrict mutex, clockid_t clock,
                                        const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kMutex, mutex, clock, deadline, HELDBY_CALL_SITE,
      [=] { return HELDBY_NEXT(pthread_mutex_trylock)(mutex); },
      [=] { return HELDBY_NEXT(pthread_mutex_clocklock)(mutex, clock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_timedrdlock(pthread_rwlock_t* __restrict lock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kReadLock, lock, CLOCK_REALTIME, deadline, HELDBY_CALL_SITE,
      [=] { return HELDBY_NEXT(pthread_rwlock_tryrdlock)(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_timedrdlock)(lock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_timedwrlock(pthread_rwlock_t* __restrict lock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kWriteLock, lock, CLOCK_REALTIME, deadline, HELDBY_CALL_SITE,
      [=] { return HELDBY_NEXT(pthread_rwlock_trywrlock)(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_timedwrlock)(lock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_clockrdlock(pthread_rwlock_t* __restrict lock, clockid_t clock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kReadLock, lock, clock, deadline, HELDBY_CALL_SITE,
      [=] { return HELDBY_NEXT(pthread_rwlock_tryrdlock)(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_clockrdlock)(lock, clock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_clockwrlock(pthread_rwlock_t* __restrict lock, clockid_t clock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kWriteLock, lock, clock, deadline, HELDBY_CALL_SITE,
      [=] { return HELDBY_NEXT(pthread_rwlock_trywrlock)(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_clockwrlock)(lock, clock, deadline); });
}
