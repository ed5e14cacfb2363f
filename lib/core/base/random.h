// core/base/random.h - each thread's own stream of random numbers.
//
// Threads  each draws from its own slot.   Signals  safe: a draw that is interrupted by another
//          may repeat it.   Allocates  never.
#pragma once

#include <time.h>

#include <cstdint>

#include "core/base/thread_slot.h"

namespace heldby::core {

/// splitmix64: one multiply-xor chain per draw, any seed is a good seed.
inline std::uint64_t NextRandom(ThreadSlot& slot) {
  if (slot.random == 0) {
    // No random_device (a system call per thread): the slot's address separates threads, the
    // clock separates processes and a thread from the one that had its memory before.
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    slot.random = reinterpret_cast<std::uintptr_t>(&slot) ^
                  (static_cast<std::uint64_t>(now.tv_nsec) << 32) ^
                  (static_cast<std::uint64_t>(now.tv_sec) * 0x9e3779b97f4a7c15u);
  }
  std::uint64_t z = (slot.random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace heldby::core
