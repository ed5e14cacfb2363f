// core/base/clock.h - time for ages and durations, and for the order of events.
//
// Threads  any.   Signals  safe (vdso).   Allocates  never.   Units  nanoseconds.
#pragma once

#include <time.h>

#include <cstdint>

namespace heldby::core {

/// CLOCK_MONOTONIC_COARSE: a tick (1-4 ms) of resolution for a quarter of the price, which is
/// what ages of samples need.
inline std::uint64_t CoarseNowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

/// CLOCK_MONOTONIC: for durations, and for what has to be put in order.
inline std::uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

/// How long after `then_ns`; 0 if the clock says that it was before. A library for tests may
/// have put its own clock in front of libc's; signed, because such a one may even go back
/// behind the machine's start, where these numbers have wrapped.
constexpr std::int64_t BetweenNs(std::uint64_t then_ns, std::uint64_t now_ns) {
  const auto between_ns = static_cast<std::int64_t>(now_ns - then_ns);
  return between_ns > 0 ? between_ns : 0;
}

inline std::uint64_t SinceNs(std::uint64_t then_ns) {
  return static_cast<std::uint64_t>(BetweenNs(then_ns, NowNs()));
}

}  // namespace heldby::core
