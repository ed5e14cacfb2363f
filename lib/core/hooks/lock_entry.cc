// Mutexes and read-write locks as the host sees them. While nothing is recorded, each of the
// frequent calls is one look and a jump to the real one. While they are, a lock is tried first,
// and only who would have to wait is looked at; who unlocks looks whether anybody waits.
//
// Promises  every function here: no lock of ours, no allocation, no user code; results and
//           errno are the real call's: what a try cannot take is left to the real call, which
//           knows of owners that died, of deadlocks, and of deadlines. Works before
//           constructors, inside other allocators and the dynamic linker, after thread
//           teardown, across fork.
#undef _FORTIFY_SOURCE
#include <linux/futex.h>
#include <pthread.h>

#include "core/hooks/lock_calls.h"
#include "core/hooks/next_call.h"
#include "core/hooks/placement.h"
#include "core/registry/registry.h"

// What libc itself calls them. Allocators lock before there is a constructor of ours, and
// dlsym() may allocate: until then these are called, without asking anybody for their address.
#ifdef HELDBY_STATIC_CORE
// libc.a has none of them. The executable must link nevertheless, to be told what is wrong with
// it (RefuseStaticExecutable).
#define OF_LIBC __attribute__((weak))
#else
#define OF_LIBC
#endif
extern "C" {
OF_LIBC int heldby_libc_mutex_lock(pthread_mutex_t* mutex) noexcept;
OF_LIBC int heldby_libc_mutex_trylock(pthread_mutex_t* mutex) noexcept;
OF_LIBC int heldby_libc_mutex_unlock(pthread_mutex_t* mutex) noexcept;
OF_LIBC int heldby_libc_rdlock(pthread_rwlock_t* lock) noexcept;
OF_LIBC int heldby_libc_tryrdlock(pthread_rwlock_t* lock) noexcept;
OF_LIBC int heldby_libc_wrlock(pthread_rwlock_t* lock) noexcept;
OF_LIBC int heldby_libc_trywrlock(pthread_rwlock_t* lock) noexcept;
OF_LIBC int heldby_libc_rwunlock(pthread_rwlock_t* lock) noexcept;
}
asm(".symver heldby_libc_mutex_lock, __pthread_mutex_lock@GLIBC_2.2.5\n"
    ".symver heldby_libc_mutex_trylock, __pthread_mutex_trylock@GLIBC_2.2.5\n"
    ".symver heldby_libc_mutex_unlock, __pthread_mutex_unlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_rdlock, __pthread_rwlock_rdlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_tryrdlock, __pthread_rwlock_tryrdlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_wrlock, __pthread_rwlock_wrlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_trywrlock, __pthread_rwlock_trywrlock@GLIBC_2.2.5\n"
    ".symver heldby_libc_rwunlock, __pthread_rwlock_unlock@GLIBC_2.2.5\n");

namespace heldby::core {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// A call that is never unknown, and so needs no look whether it is: one load and a jump.
template <typename Object>
class Direct {
 public:
  using Function = int (*)(Object*);
  constexpr explicit Direct(Function function) : function_(function) {}
  __attribute__((always_inline)) int operator()(Object* object) const {
    return function_.load(kRelaxed)(object);
  }
  void Set(Function function) { function_.store(function, kRelaxed); }
  Function Get() const { return function_.load(kRelaxed); }

 private:
  std::atomic<Function> function_;
};

// The real ones: libc's at first, then whatever the dynamic linker finds behind us.
constinit Direct<pthread_mutex_t> real_lock{&heldby_libc_mutex_lock};
constinit Direct<pthread_mutex_t> real_trylock{&heldby_libc_mutex_trylock};
constinit Direct<pthread_mutex_t> real_unlock{&heldby_libc_mutex_unlock};
constinit Direct<pthread_rwlock_t> real_rdlock{&heldby_libc_rdlock};
constinit Direct<pthread_rwlock_t> real_tryrdlock{&heldby_libc_tryrdlock};
constinit Direct<pthread_rwlock_t> real_wrlock{&heldby_libc_wrlock};
constinit Direct<pthread_rwlock_t> real_trywrlock{&heldby_libc_trywrlock};
constinit Direct<pthread_rwlock_t> real_rwunlock{&heldby_libc_rwunlock};

#define COLD __attribute__((noinline, cold))

constexpr int kTypeMask = 3;  // of a mutex's kind

std::int32_t OwnTid() {
  registry.threads.ListSelf();
  return thread_slot.tid;
}

// EDEADLK is no wait, and once it has begun as one it is counted.
bool IsRefusedToItsOwner(const pthread_mutex_t* mutex) {
  return (mutex->__data.__kind & kTypeMask) == PTHREAD_MUTEX_ERRORCHECK &&
         __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED) == OwnTid();
}

COLD int WaitForMutex(pthread_mutex_t* mutex, CallSite site) {
  if (IsRefusedToItsOwner(mutex)) return real_lock(mutex);
  return Waiting(WaitKind::kMutex, mutex, site, [=] { return real_lock(mutex); });
}
COLD int WaitToRead(pthread_rwlock_t* lock, CallSite site) {
  return Waiting(WaitKind::kReadLock, lock, site, [=] { return real_rdlock(lock); });
}
COLD int WaitToWrite(pthread_rwlock_t* lock, CallSite site) {
  return Waiting(WaitKind::kWriteLock, lock, site, [=] { return real_wrlock(lock); });
}

// glibc's trylock of a robust mutex that is not recoverable any more says so, and leaves it
// locked: whoever comes next waits for ever. So these are not tried; their word is looked at.
// Both as programs have them compiled in, so neither can change.
bool IsRobust(const pthread_mutex_t* mutex) {
  constexpr int kRobust = 16;
  return (mutex->__data.__kind & kRobust) != 0;
}

// A thread that lives and is not this one; or this one, if it will wait for itself.
bool IsWaitAhead(const pthread_mutex_t* mutex) {
  const auto word =
      static_cast<std::uint32_t>(__atomic_load_n(&mutex->__data.__lock, __ATOMIC_RELAXED));
  const std::uint32_t owner = word & FUTEX_TID_MASK;
  if (owner == 0 || (word & FUTEX_OWNER_DIED) != 0) return false;
  if ((mutex->__data.__kind & kTypeMask) == PTHREAD_MUTEX_NORMAL) return true;
  return owner != static_cast<std::uint32_t>(OwnTid());
}

COLD int LockRobust(pthread_mutex_t* mutex, CallSite site) {
  return IsWaitAhead(mutex) ? WaitForMutex(mutex, site) : real_lock(mutex);
}

// Not inlined: the entries jump here, and have no frame of their own to keep for the other
// case.
#define JUMPED_TO __attribute__((noinline))
JUMPED_TO int LockRecorded(pthread_mutex_t* mutex) {
  if (IsRobust(mutex)) [[unlikely]] {
    return LockRobust(mutex, HELDBY_CALL_SITE);
  }
  const int tried = real_trylock(mutex);
  return tried != EBUSY ? tried : WaitForMutex(mutex, HELDBY_CALL_SITE);
}
JUMPED_TO int ReadLockRecorded(pthread_rwlock_t* lock) {
  const int tried = real_tryrdlock(lock);
  return tried != EBUSY ? tried : WaitToRead(lock, HELDBY_CALL_SITE);
}
JUMPED_TO int WriteLockRecorded(pthread_rwlock_t* lock) {
  const int tried = real_trywrlock(lock);
  return tried != EBUSY ? tried : WaitToWrite(lock, HELDBY_CALL_SITE);
}

// Somebody waits for some lock, which is so only while the mutex profile is on.
COLD int UnlockNoting(pthread_mutex_t* mutex, std::uintptr_t caller) {
  if (contention.MayBeWaitedFor(mutex)) NoteUnlocking(mutex, caller);
  return real_unlock(mutex);
}
COLD int RwUnlockNoting(pthread_rwlock_t* lock, std::uintptr_t caller) {
  if (contention.MayBeWaitedFor(lock)) NoteUnlocking(lock, caller);
  return real_rwunlock(lock);
}

bool Recorded() { return waits_recorded.load(kRelaxed); }

// A lock with a deadline: tried first, where the real call would not refuse the deadline.
template <typename Try, typename Call>
__attribute__((always_inline)) inline int LockUntil(WaitKind kind, void* lock, clockid_t clock,
                                                    const timespec* deadline, CallSite site,
                                                    const Try& tries, const Call& call) {
  if (!Recorded() || !IsPlainDeadline(clock, deadline)) {
    return call();
  }
  const int tried = tries();
  return tried != EBUSY ? tried : Waiting(kind, lock, site, call);
}

template <typename Call>
__attribute__((always_inline)) inline int LockMutexUntil(clockid_t clock,
                                                         const timespec* deadline,
                                                         CallSite site, pthread_mutex_t* mutex,
                                                         const Call& call) {
  if (Recorded() && IsRobust(mutex)) {
    return IsWaitAhead(mutex) ? Waiting(WaitKind::kMutex, mutex, site, call) : call();
  }
  if (Recorded() && IsRefusedToItsOwner(mutex)) return call();
  return LockUntil(
      WaitKind::kMutex, mutex, clock, deadline, site, [=] { return real_trylock(mutex); },
      call);
}

// Again if another thread has set the other rate meanwhile: the last to come must not store
// what was true before.
void DecideRecording() {
  const auto is_on = [] {
    return contention.block_rate_ns() != 0 || contention.mutex_fraction() != 0;
  };
  bool decided = false;
  do {
    decided = is_on();
    waits_recorded.store(decided, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } while (decided != is_on());
}

}  // namespace

void ResolveLockCalls() {
  real_lock.Set(HELDBY_NEXT(pthread_mutex_lock));
  real_trylock.Set(HELDBY_NEXT(pthread_mutex_trylock));
  real_unlock.Set(HELDBY_NEXT(pthread_mutex_unlock));
  real_rdlock.Set(HELDBY_NEXT(pthread_rwlock_rdlock));
  real_tryrdlock.Set(HELDBY_NEXT(pthread_rwlock_tryrdlock));
  real_wrlock.Set(HELDBY_NEXT(pthread_rwlock_wrlock));
  real_trywrlock.Set(HELDBY_NEXT(pthread_rwlock_trywrlock));
  real_rwunlock.Set(HELDBY_NEXT(pthread_rwlock_unlock));
  HELDBY_NEXT(pthread_mutex_timedlock);
  HELDBY_NEXT(pthread_mutex_clocklock);
  HELDBY_NEXT(pthread_rwlock_timedrdlock);
  HELDBY_NEXT(pthread_rwlock_timedwrlock);
  HELDBY_NEXT(pthread_rwlock_clockrdlock);
  HELDBY_NEXT(pthread_rwlock_clockwrlock);
}

std::uint64_t SetBlockRateNs(std::uint64_t ns) {
  const std::uint64_t before = contention.set_block_rate_ns(ns);
  DecideRecording();
  return before;
}

std::uint64_t SetMutexFraction(std::uint64_t fraction) {
  const std::uint64_t before = contention.set_mutex_fraction(fraction);
  DecideRecording();
  return before;
}

}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: the entries below are C functions at global scope

HELDBY_HOOK int pthread_mutex_lock(pthread_mutex_t* mutex) __THROWNL {
  return Recorded() ? LockRecorded(mutex) : real_lock(mutex);
}

HELDBY_HOOK int pthread_mutex_unlock(pthread_mutex_t* mutex) __THROWNL {
  if (!contention.AnyLockIsWaitedFor()) [[likely]]
    return real_unlock(mutex);
  return UnlockNoting(mutex, HELDBY_CALLER);
}

HELDBY_HOOK int pthread_rwlock_rdlock(pthread_rwlock_t* lock) __THROWNL {
  return Recorded() ? ReadLockRecorded(lock) : real_rdlock(lock);
}

HELDBY_HOOK int pthread_rwlock_wrlock(pthread_rwlock_t* lock) __THROWNL {
  return Recorded() ? WriteLockRecorded(lock) : real_wrlock(lock);
}

HELDBY_HOOK int pthread_rwlock_unlock(pthread_rwlock_t* lock) __THROWNL {
  if (!contention.AnyLockIsWaitedFor()) [[likely]]
    return real_rwunlock(lock);
  return RwUnlockNoting(lock, HELDBY_CALLER);
}

HELDBY_HOOK int pthread_mutex_timedlock(pthread_mutex_t* __restrict mutex,
                                        const timespec* __restrict deadline) __THROWNL {
  return LockMutexUntil(CLOCK_REALTIME, deadline, HELDBY_CALL_SITE, mutex,
                        [=] { return HELDBY_NEXT(pthread_mutex_timedlock)(mutex, deadline); });
}

HELDBY_HOOK int pthread_mutex_clocklock(pthread_mutex_t* __restrict mutex, clockid_t clock,
                                        const timespec* __restrict deadline) __THROWNL {
  return LockMutexUntil(clock, deadline, HELDBY_CALL_SITE, mutex, [=] {
    return HELDBY_NEXT(pthread_mutex_clocklock)(mutex, clock, deadline);
  });
}

HELDBY_HOOK int pthread_rwlock_timedrdlock(pthread_rwlock_t* __restrict lock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kReadLock, lock, CLOCK_REALTIME, deadline, HELDBY_CALL_SITE,
      [=] { return real_tryrdlock(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_timedrdlock)(lock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_timedwrlock(pthread_rwlock_t* __restrict lock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kWriteLock, lock, CLOCK_REALTIME, deadline, HELDBY_CALL_SITE,
      [=] { return real_trywrlock(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_timedwrlock)(lock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_clockrdlock(pthread_rwlock_t* __restrict lock, clockid_t clock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kReadLock, lock, clock, deadline, HELDBY_CALL_SITE,
      [=] { return real_tryrdlock(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_clockrdlock)(lock, clock, deadline); });
}

HELDBY_HOOK int pthread_rwlock_clockwrlock(pthread_rwlock_t* __restrict lock, clockid_t clock,
                                           const timespec* __restrict deadline) __THROWNL {
  return LockUntil(
      WaitKind::kWriteLock, lock, clock, deadline, HELDBY_CALL_SITE,
      [=] { return real_trywrlock(lock); },
      [=] { return HELDBY_NEXT(pthread_rwlock_clockwrlock)(lock, clock, deadline); });
}
