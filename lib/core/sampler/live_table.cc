#include "core/sampler/live_table.h"

#include "core/base/page_arena.h"

namespace heldby::core {
namespace {

constexpr std::uintptr_t kEmpty = 0;
constexpr std::uintptr_t kBusy = 1;

}  // namespace

// Fields are relaxed atomics because a reader may copy a record while its slot changes hands
// (I4 makes it throw that copy away); on x86-64 and aarch64 they cost what plain fields cost.
struct LiveTable::Record {
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> site;
  std::atomic<std::uint32_t> connection;
  std::atomic<std::uint32_t> task;
  std::atomic<std::uint32_t> labels;
  std::atomic<bool> guessed;
  std::atomic<std::uint64_t> size_bytes;
  std::atomic<std::uint64_t> weight_bytes;
  std::atomic<std::uint64_t> weight_objects;
  std::atomic<std::uint64_t> birth_ns;

  void Store(const LiveSample& sample) {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    generation.store(generation.load(kRelaxed) + 1, kRelaxed);
    // A reader that sees any new field must also see the new generation on its second look.
    std::atomic_thread_fence(std::memory_order_release);
    site.store(static_cast<std::uint32_t>(sample.site), kRelaxed);
    connection.store(sample.connection, kRelaxed);
    task.store(sample.task, kRelaxed);
    labels.store(sample.labels, kRelaxed);
    guessed.store(sample.guessed, kRelaxed);
    size_bytes.store(sample.size_bytes, kRelaxed);
    weight_bytes.store(sample.weight_bytes, kRelaxed);
    weight_objects.store(sample.weight_objects, kRelaxed);
    birth_ns.store(sample.birth_ns, kRelaxed);
  }
  LiveSample Load() const {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    return {.site = SiteId{site.load(kRelaxed)},
            .connection = connection.load(kRelaxed),
            .task = task.load(kRelaxed),
            .labels = labels.load(kRelaxed),
            .guessed = guessed.load(kRelaxed),
            .size_bytes = size_bytes.load(kRelaxed),
            .weight_bytes = weight_bytes.load(kRelaxed),
            .weight_objects = weight_objects.load(kRelaxed),
            .birth_ns = birth_ns.load(kRelaxed)};
  }
};

struct alignas(64) LiveTable::Bucket {
  std::atomic<std::uintptr_t> keys[kWays];
  Record records[kWays];
};

std::uint64_t LiveTable::HashOf(std::uintptr_t address) {
  // Sampled blocks are mostly page-aligned: the low bits say nothing, so the multiply must
  // carry the page number into the high bits, which choose the bucket.
  return (static_cast<std::uint64_t>(address) >> 4) * 0x9e3779b97f4a7c15u >> 32;
}

LiveTable::Bucket* LiveTable::Level(int level, bool create) {
  Bucket* buckets = levels_[level].load(std::memory_order_acquire);
  if (buckets != nullptr || !create) return buckets;
  const std::size_t size_bytes = BucketsAt(level) * sizeof(Bucket);
  auto* mine = static_cast<Bucket*>(MapPages(size_bytes));
  if (mine == nullptr) return nullptr;
  if (levels_[level].compare_exchange_strong(buckets, mine, std::memory_order_acq_rel)) {
    return mine;
  }
  UnmapPages(mine, size_bytes);
  return buckets;
}

bool LiveTable::Insert(std::uintptr_t address, const LiveSample& sample) {
  const std::uint64_t hash = HashOf(address);
  for (int level = 0; level < kLevels; ++level) {
    Bucket* buckets = Level(level, /*create=*/true);
    if (buckets == nullptr) break;
    Bucket& bucket = buckets[hash % BucketsAt(level)];
    for (int way = 0; way < kWays; ++way) {
      std::uintptr_t expected = kEmpty;
      if (bucket.keys[way].load(std::memory_order_relaxed) != kEmpty ||
          !bucket.keys[way].compare_exchange_strong(expected, kBusy,
                                                    std::memory_order_acquire)) {
        continue;
      }
      bucket.records[way].Store(sample);
      bucket.keys[way].store(address, std::memory_order_release);
      live_.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
  }
  dropped_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

// Written out: eight compares and branches that are never taken, where a loop would be twice
// that.
bool LiveTable::AnyKeyIs(const Bucket& bucket, std::uintptr_t address) {
  const auto is = [&](int way) {
    return bucket.keys[way].load(std::memory_order_relaxed) == address;
  };
  return is(0) || is(1) || is(2) || is(3) || is(4) || is(5) || is(6) || is(7);
}

bool LiveTable::Contains(std::uintptr_t address) const {
  const std::uint64_t hash = HashOf(address);
  for (int level = 0; level < kLevels; ++level) {
    const Bucket* buckets = levels_[level].load(std::memory_order_acquire);
    if (buckets == nullptr) return false;
    if (AnyKeyIs(buckets[hash % BucketsAt(level)], address)) return true;
  }
  return false;
}

bool LiveTable::Erase(std::uintptr_t address, LiveSample* sample) {
  const std::uint64_t hash = HashOf(address);
  for (int level = 0; level < kLevels; ++level) {
    Bucket* buckets = Level(level, /*create=*/false);
    if (buckets == nullptr) return false;  // levels appear in order
    Bucket& bucket = buckets[hash % BucketsAt(level)];
    if (AnyKeyIs(bucket, address)) [[unlikely]] {
      if (Take(bucket, address, sample)) return true;
    }
  }
  return false;
}

bool LiveTable::Take(Bucket& bucket, std::uintptr_t address, LiveSample* sample) {
  for (int way = 0; way < kWays; ++way) {
    std::uintptr_t expected = address;
    if (!bucket.keys[way].compare_exchange_strong(expected, kBusy, std::memory_order_acquire)) {
      continue;
    }
    *sample = bucket.records[way].Load();
    bucket.keys[way].store(kEmpty, std::memory_order_release);
    live_.fetch_sub(1, std::memory_order_relaxed);
    return true;
  }
  return false;
}

void LiveTable::Visit(Visitor visit, void* context) const {
  for (int level = 0; level < kLevels; ++level) {
    const Bucket* buckets = levels_[level].load(std::memory_order_acquire);
    if (buckets == nullptr) return;
    for (std::uint32_t i = 0; i < BucketsAt(level); ++i) {
      for (int way = 0; way < kWays; ++way) {
        const std::uintptr_t key = buckets[i].keys[way].load(std::memory_order_acquire);
        if (key <= kBusy) continue;
        const Record& record = buckets[i].records[way];
        const std::uint32_t generation = record.generation.load(std::memory_order_relaxed);
        const LiveSample sample = record.Load();
        std::atomic_thread_fence(std::memory_order_acquire);
        if (record.generation.load(std::memory_order_relaxed) != generation ||
            buckets[i].keys[way].load(std::memory_order_relaxed) != key) {
          continue;  // freed meanwhile
        }
        visit(context, key, sample);
      }
    }
  }
}

std::size_t LiveTable::mapped_bytes() const {
  std::size_t sum = 0;
  for (int level = 0; level < kLevels; ++level) {
    if (levels_[level].load(std::memory_order_relaxed) != nullptr) {
      sum += BucketsAt(level) * sizeof(Bucket);
    }
  }
  return sum;
}

}  // namespace heldby::core
