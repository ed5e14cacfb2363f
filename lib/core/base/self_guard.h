// core/base/self_guard.h - while it lives, this thread's allocations are the profiler's own.
//
// The outermost guard of a thread says where on the stack it stands. A handler of the host's
// may jump out of a wrapped call, and the guard's destructor never runs: the thread must not be
// taken for the profiler's from then on. So who finds a guard looks whether it still stands.
//
// Threads  the calling thread; nests.   Signals  safe.   Allocates  never.
#pragma once

#include "core/base/thread_slot.h"

namespace heldby::core {

/// REQUIRES: thread_slot.self_guard != 0. False: it was jumped over; this forgets it.
bool SelfGuardStands();

class SelfGuard {
 public:
  SelfGuard() : mark_(MarkAt(this)) {
    if (thread_slot.self_guard == 0 || !SelfGuardStands()) [[likely]] {
      thread_slot.self_guard = reinterpret_cast<std::uintptr_t>(this);
    }
  }
  ~SelfGuard() {
    mark_ = 0;
    if (thread_slot.self_guard == reinterpret_cast<std::uintptr_t>(this)) {
      thread_slot.self_guard = 0;
    }
  }
  SelfGuard(const SelfGuard&) = delete;
  SelfGuard& operator=(const SelfGuard&) = delete;

  /// Of what may be a dead frame, and under AddressSanitizer another's red zone.
  __attribute__((no_sanitize_address)) bool IsMarked() const { return mark_ == MarkAt(this); }

 private:
  static std::uint64_t MarkAt(const SelfGuard* place) {
    return reinterpret_cast<std::uintptr_t>(place) ^ 0x7e3b5a1d94c8f26bu;
  }

  volatile std::uint64_t mark_;  // what is read is what lies there, whoever wrote it
};

inline bool InsideSelf() {
  return thread_slot.self_depth != 0 || (thread_slot.self_guard != 0 && SelfGuardStands());
}

}  // namespace heldby::core
