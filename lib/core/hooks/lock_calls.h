// core/hooks/lock_calls.h - pthread's waiting calls, wrapped: hooks/{lock,wait}_entry.cc.
//
// Threads  any.   Signals  safe once ResolveLockCalls() has run.   Allocates  never.
#pragma once

#include <errno.h>
#include <time.h>

#include <atomic>
#include <cstdint>

#include "core/sampler/contention.h"
#include "core/sampler/heap_sampler.h"

namespace heldby::core {

/// By the core's constructor: all of them, so that none is looked for in a signal handler or
/// with a lock of the host's held.
void ResolveLockCalls();
void ResolveWaitCalls();

/// Sets a rate of `contention` and lets the calls know. The rate before.
std::uint64_t SetBlockRateNs(std::uint64_t ns);
std::uint64_t SetMutexFraction(std::uint64_t fraction);

/// Whether waits are being looked at at all.
inline constinit std::atomic<bool> waits_recorded{false};

#define HELDBY_CALLER reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))
#define HELDBY_CALL_SITE                                                   \
  ::heldby::core::CallSite {                                               \
    HELDBY_CALLER, reinterpret_cast<std::uintptr_t>(__builtin_dwarf_cfa()) \
  }

/// A real call that may sleep, as a wait under way. For calls that are no cancellation points.
template <typename Call>
__attribute__((always_inline)) inline int Waiting(WaitKind kind, const void* object,
                                                  CallSite site, const Call& call) {
  const int before = errno;
  const std::uint32_t wait = contention.Begin(kind, object, site, &heap_sampler.stacks());
  errno = before;
  const int result = call();
  if (wait == 0) return result;
  const int after = errno;
  contention.End(wait, result == 0 || result == EOWNERDEAD);
  errno = after;
  return result;
}

inline void NoteUnlocking(const void* lock, std::uintptr_t caller) {
  const int kept = errno;
  contention.Unlocking(lock, caller, &heap_sampler.stacks());
  errno = kept;
}

/// What the real call may refuse although the lock is free: it is asked itself.
inline bool IsPlainDeadline(clockid_t clock, const timespec* deadline) {
  return (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) && deadline != nullptr &&
         deadline->tv_nsec >= 0 && deadline->tv_nsec < 1'000'000'000;
}

}  // namespace heldby::core
