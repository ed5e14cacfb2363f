// core/hooks/next_call.h - the function that a wrapped call would have been without us.
//
// Threads  any.   Signals  safe once ResolveNextCalls() has run, which the core's constructor
//          does; a call before that asks the dynamic linker.   Allocates  never itself.
#pragma once

#include <atomic>

namespace heldby::core {

/// dlsym(RTLD_NEXT). A libc without it is none that the core can be loaded with.
void* ResolveNextCall(const char* name);

/// Of the entry `kEntry`, which has the type of what it wraps.
template <auto kEntry>
inline constinit std::atomic<void*> next_call{nullptr};

template <auto kEntry>
__attribute__((always_inline)) inline auto NextCall(const char* name) {
  void* function = next_call<kEntry>.load(std::memory_order_relaxed);
  if (function == nullptr) [[unlikely]] {
    function = ResolveNextCall(name);
    next_call<kEntry>.store(function, std::memory_order_relaxed);
  }
  return reinterpret_cast<decltype(kEntry)>(function);
}

/// All of them, so that none is looked for in a signal handler.
void ResolveSocketCalls();
void ResolveThreadCalls();

}  // namespace heldby::core

// NOLINTNEXTLINE: the name is what dlsym is asked for
#define HELDBY_NEXT(name) ::heldby::core::NextCall<&::name>(#name)
