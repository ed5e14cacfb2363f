// core/sampler/live_table.h - address of a sampled block -> its sample, until it is freed.
//
// Why lock-free. Erase() runs inside free(), and free() is called with anybody's locks held. A
// mutex here would be an edge in other people's lock graphs.
//
// Shape. Levels of eight-way buckets, each level four times the one before and mapped when
// first needed. An address has one bucket per level and never probes beyond it:
//
//   bucket  | key key key key key key key key |   64 bytes, one line
//           | record x 8                      |   read only on a hit
//
// Insert takes the first free slot, lowest level first, so a small process stays in the first
// level (256 buckets, 128 KiB) and a level fills nearly whole before the next costs anything:
// about 64 / 0.8 = 80 bytes per live sample.
//
// Life of a key, and who may move it:
//
//   kEmpty --Insert: CAS--> kBusy --Insert: store(release)--> address --Erase: CAS--> kBusy
//      ^                                                                               |
//      +-----------------------------Erase: store(release)-----------------------------+
//
// Invariants
//   I1  Only the thread that moved a slot to kBusy touches its record, until it moves it on.
//   I2  key == address (acquire) implies the record is complete: it is written under kBusy,
//       before the release store.
//   I3  An address is in the table at most once: the allocator has one owner per address, and
//       the hooks Erase(p) before the real free(p) and before Insert(p).
//   I4  A reader that copies a record under the same key and the same generation before and
//       after has a record that belongs to that key: the generation moves under kBusy, at each
//       Insert.
//   I5  A double free is the host's bug. Here it can cost one wrong sample; it cannot crash or
//       wait.
//
// Progress  at most 8 steps per level and 6 levels, no retries, no waiting. A sample that finds
//           every bucket full is dropped and counted.
// Threads   any.   Signals  safe.   Allocates  never from the host's heap.
// Fork      a slot that another thread held kBusy stays lost to the child.
// Bounds    179 MB when all levels are full; the first drops come at about 1.5 million live
//           samples (a heap of 780 GB at the default distance). Resident size follows use.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/sampler/site_table.h"

namespace heldby::core {

/// What is known of a sampled block.
struct LiveSample {
  SiteId site{};
  std::uint32_t connection = 0;  // current holder when it was allocated; 0: none
  std::uint32_t task = 0;
  std::uint32_t labels = 0;
  bool guessed = false;  // the connection is what a wrapped call suggested
  std::uint64_t size_bytes = 0;
  std::uint64_t weight_bytes = 0;
  std::uint64_t weight_objects = 0;  // in 1/kObjectUnit
  std::uint64_t birth_ns = 0;        // CoarseNowNs()
};

class LiveTable {
 public:
  static constexpr int kLevels = 6;
  static constexpr int kWays = 8;
  static constexpr std::uint32_t kFirstLevelBuckets = 256;

  constexpr LiveTable() = default;

  /// REQUIRES: address > 1, not in the table. False: full; dropped() has grown.
  bool Insert(std::uintptr_t address, const LiveSample& sample);

  /// What a free asks whose block merely lies like a sample: about forty instructions.
  bool Contains(std::uintptr_t address) const;

  /// Takes the sample out. False: the address was not sampled.
  bool Erase(std::uintptr_t address, LiveSample* sample);

  /// Calls `visit(context, address, sample)` for the samples alive, each at most once, while
  /// others come and go.
  using Visitor = void (*)(void* context, std::uintptr_t address, const LiveSample& sample);
  void Visit(Visitor visit, void* context) const;

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::uint64_t live() const { return live_.load(std::memory_order_relaxed); }
  std::size_t mapped_bytes() const;

 private:
  struct Record;
  struct Bucket;

  static constexpr std::uint32_t BucketsAt(int level) {
    return kFirstLevelBuckets << (2 * level);
  }
  static std::uint64_t HashOf(std::uintptr_t address);
  Bucket* Level(int level, bool create);
  static bool AnyKeyIs(const Bucket& bucket, std::uintptr_t address);
  bool Take(Bucket& bucket, std::uintptr_t address, LiveSample* sample);

  std::atomic<Bucket*> levels_[kLevels] = {};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> live_{0};
};

}  // namespace heldby::core
