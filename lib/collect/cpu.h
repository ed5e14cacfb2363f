// collect/cpu.h - samples of processor time, added up as they come, then a profile.
//
// Threads  one at a time.   Signals  unsafe: allocates.
// Units    samples/count, cpu/nanoseconds.   Source  docs/cpu.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "core/core.h"
#include "heldby/cpu.h"
#include "heldby/profile.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

class CpuCollector {
 public:
  /// Between core.cpu->start(), which is the caller's, and Stop().
  CpuCollector(const core::CoreApi& core, std::uint64_t period_ns)
      : core_(core), period_ns_(period_ns) {}

  /// Timers for threads that were not seen being born; none for ours and for the calling one.
  void FindThreads();
  void Drain();
  /// core.cpu->stop(), with what is left.
  void Stop();

  /// `began_ns` of the epoch.
  [[nodiscard]] Profile Finish(const HolderLabels& labels, std::int64_t began_ns,
                               std::int64_t duration_ns) const;

 private:
  // Who was sampled where.
  struct Key {
    std::vector<std::uintptr_t> frames{};
    std::vector<std::uint16_t> modules{};
    bool truncated = false;
    std::uint32_t labels = 0;
    std::uint32_t connection = 0;
    std::uint32_t task_made = 0;
    bool guessed = false;
    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.frames, key.labels, key.connection, key.task_made,
                        key.guessed);
    }
  };

  static void Take(void* self, const core::CpuSample& sample);
  void Add(const core::CpuSample& sample);
  void RethrowFailure() const;
  bool IsLeftOut(std::int32_t tid);

  const core::CoreApi& core_;
  const std::uint64_t period_ns_;
  FlatHashMap<Key, std::int64_t> weights_;
  FlatHashSet<std::int32_t> blocking_;  // threads that blocked the signal when last seen
  int looks_ = 0;
  std::exception_ptr failed_ = nullptr;  // no memory for a sample
  const core::Counters before_ = core_.read_counters();
};

}  // namespace heldby::collect
