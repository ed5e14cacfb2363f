// exporters/http/delta_series.h - delta_heap, delta_block, delta_mutex: what came since the
// last time each was asked for.
//
// Threads  any; requests of one series follow each other, from the snapshot on: an older one
//          taken from a newer one would be negative.
// Signals  unsafe: allocates, waits.
// Units    those of the columns. What only grows (alloc_*, contentions, delay) is differenced,
//          what is a level (inuse_*) stays as it is.
// Bounds   kMaxDeltaStacks stacks a series, 33 bytes each and twice that while the table grows:
//          17 MB at most. A stack beyond them has 0 in the differenced columns, and is counted.
// Source   godeltaprof, which scrapers find under these names: the first answer counts from the
//          start of the process, and whoever asks takes what there is.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "heldby/profile.h"
#include "heldby/status.h"
#include "profile/flat_hash.h"

namespace heldby::http {

/// 7/8 of a power of two: what the table holds before it doubles once more.
inline constexpr std::size_t kMaxDeltaStacks = 458'752;

class DeltaSeries {
 public:
  explicit DeltaSeries(std::size_t max_stacks = kMaxDeltaStacks) : max_stacks_(max_stacks) {}

  using Take = std::function<Result<Profile>()>;
  using Write = std::function<Result<std::string>(const Profile& delta)>;

  /// Takes a profile, with all frames of each stack, and writes what is new in it. Nothing
  /// counts as told if either of the two fails.
  [[nodiscard]] Result<std::string> Next(const Take& take, const Write& write);

  /// The same, but the next answer will have it all once more: for a look, or a HEAD.
  [[nodiscard]] Result<std::string> Peek(const Take& take, const Write& write);

  /// Samples that came without their differenced columns, as the table was full.
  [[nodiscard]] std::uint64_t dropped_stacks_total() const;

 private:
  // A hash of addresses and labels, long enough for none of 458,752 to meet another by chance
  // (about 1 in 10^27), and the two columns that were told.
  using Key = std::pair<std::uint64_t, std::uint64_t>;
  using Told = std::array<std::int64_t, 2>;
  using Table = FlatHashMap<Key, Told>;

  Result<std::string> Answer(const Take& take, const Write& write, bool is_taken);
  static Key KeyOf(const Profile& profile, const Sample& sample);

  std::mutex mutex_;
  const std::size_t max_stacks_;
  Table told_;
  std::int64_t told_at_ns_ = 0;  // when the last answer was taken; 0: none was
  std::atomic<std::uint64_t> dropped_total_{0};
};

/// The three series of one endpoint.
struct DeltaSeriesSet {
  DeltaSeries heap, block, mutex;

  /// By the name of what is differenced: heap, block, mutex; nullptr for any other.
  [[nodiscard]] DeltaSeries* Find(std::string_view profile);
};

/// Of which profiles there are series.
[[nodiscard]] bool HasDeltaSeries(std::string_view profile);

/// Of all endpoints of this process. A forked child gets its own: the parent's may be locked.
[[nodiscard]] std::shared_ptr<DeltaSeriesSet> ProcessDeltaSeries();

/// Over all series of this process.
[[nodiscard]] std::uint64_t DroppedDeltaStacksTotal();

}  // namespace heldby::http
