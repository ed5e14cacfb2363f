// core/sampler/poisson.h - when to look: a Poisson process over the bytes a thread allocates.
//
// Threads  each thread draws for itself; the mean may be changed from any.
// Signals  safe.   Allocates  never.   Units  bytes.
//
// The distance to the next look is geometric: D = ceil(-ln(U) * T), U uniform in (0, 1], so
// that an allocation charged s bytes is seen with probability exactly 1 - exp(-s / T) wherever
// it begins. At T = 524288: 4 KiB once in 128.5, 512 KiB 63.2 %, 4 MiB 99.97 %. T = 1 means
// every allocation (by rule, not by the formula: 1 - exp(-2) would lose 14 %).
//
// Changing T. A thread keeps the T its countdown was drawn with and decides a whole allocation
// by one T, so the weight is right for every sample; it draws with the new T afterwards. To
// make "afterwards" soon, a draw beyond kCheckBytes becomes a countdown to a mere check; the
// process has no memory, so drawing again there changes nothing.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/thread_slot.h"

namespace heldby::core {

inline constexpr std::uint64_t kDefaultSampleBytes = 512 * 1024;
inline constexpr std::uint64_t kMaxSampleBytes = std::uint64_t{1} << 40;
inline constexpr std::uint64_t kCheckBytes = 1 << 20;

class PoissonClock {
 public:
  constexpr explicit PoissonClock(std::uint64_t mean_bytes) : mean_bytes_(mean_bytes) {}

  std::uint64_t mean_bytes() const { return mean_bytes_.load(std::memory_order_relaxed); }
  void set_mean_bytes(std::uint64_t mean) {
    mean_bytes_.store(mean, std::memory_order_relaxed);
  }

  /// Called when CountDown(`slot`) has used up the countdown with an allocation charged
  /// `charged_bytes`. Winds it up again. Returns the mean to weigh the allocation with if it is
  /// to be sampled, 0 if not.
  std::uint64_t Tick(ThreadSlot& slot, std::uint64_t charged_bytes) const;

 private:
  std::atomic<std::uint64_t> mean_bytes_;  // 0: sampling is off
};

/// What one sample of `size_bytes` stands for. Objects are in units of 1/4096, so that sums of
/// weights are integers and what a free subtracts is exactly what the allocation added.
inline constexpr std::uint64_t kObjectUnit = 4096;
struct Weight {
  std::uint64_t bytes;
  std::uint64_t objects;  // in 1/kObjectUnit
};
Weight WeightOf(std::uint64_t size_bytes, std::uint64_t mean_bytes);

}  // namespace heldby::core
