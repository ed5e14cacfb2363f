// core/base/self_guard.h - while it lives, this thread's allocations are the profiler's own.
//
// Threads  the calling thread; nests.   Signals  safe.   Allocates  never.
#pragma once

#include "core/base/thread_slot.h"

namespace heldby::core {

class SelfGuard {
 public:
  SelfGuard() { ++thread_slot.self_depth; }
  ~SelfGuard() { --thread_slot.self_depth; }
  SelfGuard(const SelfGuard&) = delete;
  SelfGuard& operator=(const SelfGuard&) = delete;
};

inline bool InsideSelf() { return thread_slot.self_depth != 0; }

}  // namespace heldby::core
