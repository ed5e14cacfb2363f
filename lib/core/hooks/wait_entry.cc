// Condition variables, semaphores and the end of a thread, as the host waits for them. All of
// them are cancellation points, and stay that.
//
// Promises  every function here: no lock of ours, no allocation, no user code; results and
//           errno are the real call's; a thread that is cancelled in it ends its wait record.
//           Works before constructors, after thread teardown, across fork.
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>

#include "core/hooks/lock_calls.h"
#include "core/hooks/next_call.h"
#include "core/hooks/placement.h"

namespace heldby::core {
namespace {

// libc has the condition variables twice: the ones of before 2003 are laid out in another way,
// and a search without a version may find them.
template <auto kEntry>
auto NextCondition(const char* name) {
  std::atomic<void*>& known = next_call<kEntry>;
  void* function = known.load(std::memory_order_relaxed);
  if (function == nullptr) [[unlikely]] {
    function = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    if (function == nullptr) function = ResolveNextCall(name);
    known.store(function, std::memory_order_relaxed);
  }
  return reinterpret_cast<decltype(kEntry)>(function);
}
#define NEXT_CONDITION(name) NextCondition<&::name>(#name)

void EndCancelled(void* wait) {
  contention.End(*static_cast<const std::uint32_t*>(wait), /*acquired=*/false);
}

// A thread that is cancelled leaves by unwinding, in which code without exceptions has no part:
// hence libc's own way for C, a place to jump back to. `Call` is trivial; nothing is lost.
template <typename Call>
__attribute__((noinline, cold)) int WaitingCancellable(WaitKind kind, const void* object,
                                                       CallSite site, const Call& call) {
  const int before = errno;
  std::uint32_t wait = contention.Begin(kind, object, site, &heap_sampler.stacks());
  errno = before;
  if (wait == 0) return call();
  volatile int result = 0;
  pthread_cleanup_push(&EndCancelled, &wait);
  result = call();
  pthread_cleanup_pop(0);
  const int after = errno;
  contention.End(wait, result == 0);
  errno = after;
  return result;
}

bool Recorded() { return waits_recorded.load(std::memory_order_relaxed); }

// The mutex is given up meanwhile: the end of a critical section, like an unlocking.
template <typename Call>
__attribute__((always_inline)) inline int WaitForCondition(pthread_cond_t* condition,
                                                           pthread_mutex_t* mutex,
                                                           CallSite site, const Call& call) {
  if (!Recorded()) [[likely]]
    return call();
  if (contention.MayBeWaitedFor(mutex)) NoteUnlocking(mutex, site.caller);
  return WaitingCancellable(WaitKind::kCondition, condition, site, call);
}

// A wait for a semaphore is a cancellation point even if it need not wait.
template <typename Call>
__attribute__((always_inline)) inline int WaitForSemaphore(sem_t* semaphore, CallSite site,
                                                           const Call& call) {
  pthread_testcancel();
  const int before = errno;
  if (HELDBY_NEXT(sem_trywait)(semaphore) == 0) return 0;
  errno = before;
  return WaitingCancellable(WaitKind::kSemaphore, semaphore, site, call);
}

}  // namespace

void ResolveWaitCalls() {
  NEXT_CONDITION(pthread_cond_wait);
  NEXT_CONDITION(pthread_cond_timedwait);
  HELDBY_NEXT(pthread_cond_clockwait);
  HELDBY_NEXT(sem_trywait);
  HELDBY_NEXT(sem_wait);
  HELDBY_NEXT(sem_timedwait);
  HELDBY_NEXT(sem_clockwait);
  HELDBY_NEXT(pthread_tryjoin_np);
  HELDBY_NEXT(pthread_join);
}

}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: the entries below are C functions at global scope

HELDBY_HOOK int pthread_cond_wait(pthread_cond_t* __restrict condition,
                                  pthread_mutex_t* __restrict mutex) {
  return WaitForCondition(condition, mutex, HELDBY_CALL_SITE,
                          [=] { return NEXT_CONDITION(pthread_cond_wait)(condition, mutex); });
}

HELDBY_HOOK int pthread_cond_timedwait(pthread_cond_t* __restrict condition,
                                       pthread_mutex_t* __restrict mutex,
                                       const timespec* __restrict deadline) {
  return WaitForCondition(condition, mutex, HELDBY_CALL_SITE, [=] {
    return NEXT_CONDITION(pthread_cond_timedwait)(condition, mutex, deadline);
  });
}

HELDBY_HOOK int pthread_cond_clockwait(pthread_cond_t* __restrict condition,
                                       pthread_mutex_t* __restrict mutex, clockid_t clock,
                                       const timespec* __restrict deadline) {
  return WaitForCondition(condition, mutex, HELDBY_CALL_SITE, [=] {
    return HELDBY_NEXT(pthread_cond_clockwait)(condition, mutex, clock, deadline);
  });
}

HELDBY_HOOK int sem_wait(sem_t* semaphore) {
  if (!Recorded()) [[likely]]
    return HELDBY_NEXT(sem_wait)(semaphore);
  return WaitForSemaphore(semaphore, HELDBY_CALL_SITE,
                          [=] { return HELDBY_NEXT(sem_wait)(semaphore); });
}

HELDBY_HOOK int sem_timedwait(sem_t* __restrict semaphore,
                              const timespec* __restrict deadline) {
  if (!Recorded() || !IsPlainDeadline(CLOCK_REALTIME, deadline)) {
    return HELDBY_NEXT(sem_timedwait)(semaphore, deadline);
  }
  return WaitForSemaphore(semaphore, HELDBY_CALL_SITE,
                          [=] { return HELDBY_NEXT(sem_timedwait)(semaphore, deadline); });
}

HELDBY_HOOK int sem_clockwait(sem_t* __restrict semaphore, clockid_t clock,
                              const timespec* __restrict deadline) {
  if (!Recorded() || !IsPlainDeadline(clock, deadline)) {
    return HELDBY_NEXT(sem_clockwait)(semaphore, clock, deadline);
  }
  return WaitForSemaphore(semaphore, HELDBY_CALL_SITE, [=] {
    return HELDBY_NEXT(sem_clockwait)(semaphore, clock, deadline);
  });
}

HELDBY_HOOK int pthread_join(pthread_t thread, void** result) {
  if (!Recorded()) [[likely]]
    return HELDBY_NEXT(pthread_join)(thread, result);
  const int tried = HELDBY_NEXT(pthread_tryjoin_np)(thread, result);
  if (tried != EBUSY) return tried;
  return WaitingCancellable(WaitKind::kThread, reinterpret_cast<const void*>(thread),
                            HELDBY_CALL_SITE,
                            [=] { return HELDBY_NEXT(pthread_join)(thread, result); });
}
