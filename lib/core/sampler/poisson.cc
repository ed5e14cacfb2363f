#include "core/sampler/poisson.h"

#include "core/base/countdown.h"
#include "core/base/math.h"
#include "core/base/random.h"

namespace heldby::core {
namespace {

std::uint64_t Draw(ThreadSlot& slot, std::uint64_t mean_bytes) {
  const double uniform = static_cast<double>((NextRandom(slot) >> 11) + 1) * 0x1p-53;  // (0, 1]
  const double distance = -Log(uniform) * static_cast<double>(mean_bytes);
  return static_cast<std::uint64_t>(distance) + 1;
}

void WindUp(ThreadSlot& slot, std::uint64_t mean_bytes) {
  slot.mean_bytes = mean_bytes;
  slot.ends_in_sample = 0;
  slot.countdown_bytes = kCheckBytes;
  if (mean_bytes == 0) return;
  if (mean_bytes == 1) {
    slot.countdown_bytes = 1;  // any allocation, charged at least 1, ends it
    slot.ends_in_sample = 1;
    return;
  }
  const std::uint64_t distance = Draw(slot, mean_bytes);
  if (distance <= kCheckBytes) {
    slot.countdown_bytes = distance;
    slot.ends_in_sample = 1;
  }
}

}  // namespace

std::uint64_t PoissonClock::Tick(ThreadSlot& slot, std::uint64_t charged_bytes) const {
  // CountDown() subtracted modulo 2^64; undo it to see what was left before this allocation.
  const std::uint64_t left = slot.countdown_bytes + charged_bytes;
  std::uint64_t mean = slot.mean_bytes;
  bool sample = slot.ends_in_sample != 0;
  if (!sample) {
    // A check fell into this allocation. Memoryless: what remains of it gets a draw of its own.
    // A thread that had no mean yet (new, or sampling was off) decides the whole of it.
    std::uint64_t remaining = charged_bytes - left;
    if (mean == 0) {
      mean = mean_bytes();
      remaining = charged_bytes;
    }
    if (mean == 1) {
      sample = true;
    } else if (mean != 0) {
      sample = Draw(slot, mean) <= remaining;
    }
  }
  WindUp(slot, mean_bytes());
  return sample ? mean : 0;
}

Weight WeightOf(std::uint64_t size_bytes, std::uint64_t mean_bytes) {
  double objects = 1;
  if (mean_bytes > 1) {
    const double charged = static_cast<double>(ChargedBytes(size_bytes));
    objects = 1 / OneMinusExpMinus(charged / static_cast<double>(mean_bytes));
  }
  return {static_cast<std::uint64_t>(static_cast<double>(size_bytes) * objects + 0.5),
          static_cast<std::uint64_t>(objects * kObjectUnit + 0.5)};
}

}  // namespace heldby::core
