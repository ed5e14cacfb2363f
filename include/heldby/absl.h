// heldby/absl.h - absl::Mutex in the mutex profile: who made others wait.
//
// Threads  RegisterAbslMutexProfiler(): any, once, early in main().
// Signals  unsafe.
// Self     what it does for a contended unlocking allocates nothing.
// Units    Abseil's cycles become nanoseconds by Abseil's own clock.
// Bounds   those of heldby/contention.h.
// Source   docs/contention.md. Needs Abseil's headers, and nothing else here does; it is
//          compiled into the program, and so is about the program's own copy of Abseil.
#pragma once

#include <cstdint>

#include "absl/base/internal/cycleclock.h"
#include "absl/synchronization/mutex.h"
#include "heldby/contention.h"
#include "heldby/self.h"
#include "heldby/status.h"

namespace heldby {
namespace absl_mutex {

inline void OnContention(std::int64_t wait_cycles) {
  const double seconds =
      static_cast<double>(wait_cycles) / ::absl::base_internal::CycleClock::Frequency();
  RecordMutexWait(static_cast<std::int64_t>(seconds * 1e9));
}

}  // namespace absl_mutex

/// From now on, waits for absl::Mutex are in the mutex profile, by the stack of who unlocked,
/// while SetMutexProfileFraction() has it on. Abseil has room for one such function in a
/// process and, built with assertions as Debian's is, aborts for a second: whether there is one
/// already is tried out in a child process. A program that has its own calls RecordMutexWait()
/// from it, and not this.
///
/// kFailedPrecondition  there is one already, or no child could be made; nothing has changed
inline Status RegisterAbslMutexProfiler() {
  constexpr auto kRegister = [] { ::absl::RegisterMutexProfiler(&absl_mutex::OnContention); };
  if (!SurvivesInChild(kRegister)) {
    return {
        StatusCode::kFailedPrecondition,
        "absl::RegisterMutexProfiler() has been called by somebody else in this process, or "
        "could not be tried: call heldby::RecordMutexWait() from the function registered "
        "there"};
  }
  kRegister();
  return {};
}

}  // namespace heldby
