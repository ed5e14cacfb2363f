#include "core/sampler/site_table.h"

namespace heldby::core {

std::uint32_t SiteTable::Search(std::uint32_t from, std::uint32_t until, const Key& key) const {
  for (std::uint32_t at = from; at != until;) {
    const auto& site = *static_cast<const Site*>(arena_.At(at));
    if (site.stack == static_cast<std::uint32_t>(key.stack) && site.labels == key.labels &&
        site.size_class_bytes == key.size_class_bytes) {
      return at;
    }
    at = site.next;
  }
  return 0;
}

// Same publication rule as StackTable (its I1, I2): complete before the CAS that links it, and
// the loser of a race looks at what was linked meanwhile.
SiteId SiteTable::Find(StackId stack, std::uint64_t size_bytes, std::uint32_t labels) {
  const Key key = {stack, labels, SizeClassBytes(size_bytes)};
  const std::uint64_t hash = ((std::uint64_t{static_cast<std::uint32_t>(stack)} << 20) ^
                              std::uint64_t{labels} << 40 ^ key.size_class_bytes) *
                             0x9e3779b97f4a7c15u;
  std::atomic<std::uint32_t>& bucket = buckets_[(hash >> 40) % kBuckets];
  std::uint32_t head = bucket.load(std::memory_order_acquire);
  if (std::uint32_t found = Search(head, 0, key)) return SiteId{found};

  const std::uint32_t at = arena_.Allocate(sizeof(Site));
  if (at == 0) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return SiteId{0};
  }
  auto* site = static_cast<Site*>(arena_.At(at));  // zeroed pages: totals start at 0
  site->stack = static_cast<std::uint32_t>(stack);
  site->labels = labels;
  site->size_class_bytes = key.size_class_bytes;
  for (;;) {
    site->next = head;
    const std::uint32_t seen = head;
    if (bucket.compare_exchange_strong(head, at, std::memory_order_acq_rel)) {
      size_.fetch_add(1, std::memory_order_relaxed);
      return SiteId{at};
    }
    if (std::uint32_t found = Search(head, seen, key)) return SiteId{found};
  }
}

void SiteTable::AddAllocated(SiteId id, std::uint64_t bytes, std::uint64_t objects) {
  Site& site = Get(id);
  site.allocated_objects.fetch_add(objects, std::memory_order_relaxed);
  site.allocated_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void SiteTable::AddFreed(SiteId id, std::uint64_t bytes, std::uint64_t objects) {
  Site& site = Get(id);
  // Release: a reader that acquires this also sees the allocation it answers.
  site.freed_objects.fetch_add(objects, std::memory_order_release);
  site.freed_bytes.fetch_add(bytes, std::memory_order_release);
}

SiteTable::Key SiteTable::ReadSite(const Site& site, SiteTotals* totals) {
  totals->freed_objects = site.freed_objects.load(std::memory_order_acquire);
  totals->freed_bytes = site.freed_bytes.load(std::memory_order_acquire);
  totals->allocated_objects = site.allocated_objects.load(std::memory_order_relaxed);
  totals->allocated_bytes = site.allocated_bytes.load(std::memory_order_relaxed);
  return {StackId{site.stack}, site.labels, site.size_class_bytes};
}

SiteTable::Key SiteTable::Read(SiteId id, SiteTotals* totals) {
  return ReadSite(Get(id), totals);
}

void SiteTable::Visit(Visitor visit, void* context) const {
  const auto read = [&](SiteId id, const Site& site) {
    SiteTotals totals;
    const Key key = ReadSite(site, &totals);
    if (totals.allocated_objects == 0) return;
    visit(context, id, key, totals);
  };
  for (const auto& bucket : buckets_) {
    for (std::uint32_t at = bucket.load(std::memory_order_acquire); at != 0;) {
      const auto& site = *static_cast<const Site*>(arena_.At(at));
      read(SiteId{at}, site);
      at = site.next;
    }
  }
  read(SiteId{0}, other_);
}

void SiteTable::ForgetTotals() {
  const auto forget = [](Site& site) {
    for (auto* total : {&site.allocated_objects, &site.allocated_bytes, &site.freed_objects,
                        &site.freed_bytes}) {
      total->store(0, std::memory_order_relaxed);
    }
  };
  for (const auto& bucket : buckets_) {
    for (std::uint32_t at = bucket.load(std::memory_order_acquire); at != 0;) {
      auto& site = *static_cast<Site*>(arena_.At(at));
      forget(site);
      at = site.next;
    }
  }
  forget(other_);
}

}  // namespace heldby::core
