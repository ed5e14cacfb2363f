#include "core/registry/place_table.h"

namespace heldby::core {
namespace {

std::uint32_t BucketOf(const Place& place, std::uint32_t buckets) {
  std::uint64_t hash = reinterpret_cast<std::uintptr_t>(place.text);
  hash = hash * 0x9e3779b97f4a7c15u + reinterpret_cast<std::uintptr_t>(place.function);
  hash = hash * 0x9e3779b97f4a7c15u + place.line;
  return static_cast<std::uint32_t>(hash * 0x9e3779b97f4a7c15u >> 33) % buckets;
}

}  // namespace

// An entry is complete before the release store that links it, and never changes afterwards.
// Who loses the race for a bucket looks at what was linked there; if that is the same place,
// the entry taken in vain stays unused, which can happen once a thread and place.
std::uint32_t PlaceTable::Intern(const Place& place) {
  std::uint32_t mine = 0;
  std::uint32_t bucket = BucketOf(place, kBuckets);
  for (std::uint32_t probe = 0; probe < kProbes; ++probe, bucket = (bucket + 1) % kBuckets) {
    std::uint16_t known = index_[bucket].load(std::memory_order_acquire);
    if (known == 0) {
      if (mine == 0) {
        if (used_.load(std::memory_order_relaxed) >= kCapacity - 1) break;
        mine = used_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (mine >= kCapacity) break;
        places_[mine] = place;
      }
      if (index_[bucket].compare_exchange_strong(known, static_cast<std::uint16_t>(mine),
                                                 std::memory_order_acq_rel)) {
        return mine;
      }
    }
    if (places_[known] == place) return known;
  }
  dropped_.fetch_add(1, std::memory_order_relaxed);
  return 0;
}

Place PlaceTable::Get(std::uint32_t id) const { return id < kCapacity ? places_[id] : Place{}; }

}  // namespace heldby::core
