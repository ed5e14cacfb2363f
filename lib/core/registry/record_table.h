// core/registry/record_table.h - records that are made, ended, and looked at meanwhile.
//
// A fixed array, reserved as address space and used from its beginning; a free list of slots
// that were used before. An id is a slot and, in the bits above, a generation: it names one
// record until its slot has been used 2^(32 - kSlotBits) - 1 times more, and is 0 for none.
//
//   kFree --Make--> kOpen --End--> kEnded --last reference--> kFree
//
// An ended record stays while something refers to it: the sampled bytes that it holds. That is
// how memory whose connection is gone can still be told by its name.
//
// Invariants
//   I1  A slot is on the free list, or has references > 0, or was never used.
//   I2  The owner's reference is dropped by the one End() that moves kOpen to kEnded.
//   I3  Ref() succeeds only on a slot that has references and the id's generation; the
//       generation moves before a slot is handed out again, while it has no references.
//   I4  A reader that sees the same generation before and after its copy has a copy of that
//       record; fields are atomics, so a copy is never torn within a field.
//
// Progress  Make, End, Ref, Unref: a CAS that is retried only if another thread succeeded.
// Threads   any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Fork      EndAll(): the child begins without open records.
// Bounds    kSlots; past that Make() returns 0 and dropped() grows.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/base/page_arena.h"

namespace heldby::core {

enum class Phase : std::uint32_t { kFree, kOpen, kEnded };

/// What every record begins with.
struct RecordHead {
  std::atomic<std::uint32_t> references{0};
  std::atomic<std::uint32_t> generation{0};  // odd while the record is being filled
  std::atomic<Phase> phase{Phase::kFree};
  std::atomic<std::uint32_t> next_free{0};  // slot + 1
};

template <typename Record, unsigned kSlotBits>
class RecordTable {
 public:
  static constexpr std::uint32_t kSlots = 1u << kSlotBits;

  constexpr RecordTable() = default;

  /// A slot for a new record, which `fill(record)` writes. Its id; 0: none is left.
  template <typename Fill>
  std::uint32_t Make(const Fill& fill) {
    Record* records = Records();
    const std::uint32_t slot = records == nullptr ? kSlots : Take(records);
    if (slot == kSlots) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return 0;
    }
    Record& record = records[slot];
    // Nobody else writes the generation of a slot that has no references.
    std::uint32_t generation = record.head.generation.load(std::memory_order_relaxed) + 2;
    if (IdOf(0, generation) == 0) generation += 2;  // an id is never 0
    record.head.generation.store(generation - 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    fill(record);
    record.head.phase.store(Phase::kOpen, std::memory_order_relaxed);
    record.head.generation.store(generation, std::memory_order_release);
    record.head.references.store(1, std::memory_order_release);
    return IdOf(slot, generation);
  }

  /// nullptr: not open any more, or never.
  Record* Open(std::uint32_t id) {
    Record* record = At(id);
    return record != nullptr &&
                   record->head.phase.load(std::memory_order_relaxed) == Phase::kOpen
               ? record
               : nullptr;
  }

  /// The owner is done with it. False: it was already.
  bool End(std::uint32_t id) {
    Record* record = At(id);
    Phase open = Phase::kOpen;
    if (record == nullptr || !record->head.phase.compare_exchange_strong(
                                 open, Phase::kEnded, std::memory_order_acq_rel)) {
      return false;
    }
    Unref(id);
    return true;
  }

  /// Keeps the record, ended or not. False: it is gone.
  bool Ref(std::uint32_t id) {
    Record* record = At(id);
    if (record == nullptr) return false;
    std::uint32_t references = record->head.references.load(std::memory_order_relaxed);
    do {
      if (references == 0) return false;
    } while (!record->head.references.compare_exchange_weak(references, references + 1,
                                                            std::memory_order_acq_rel));
    if (At(id) != nullptr) return true;
    Drop(*record);  // another record by now: that one's reference is given back
    return false;
  }

  /// REQUIRES: a Ref() of the caller's, or the owner's.
  void Unref(std::uint32_t id) { Drop(Records()[SlotOf(id)]); }

  /// REQUIRES: a reference of the caller's keeps it.
  Record& Get(std::uint32_t id) { return Records()[SlotOf(id)]; }

  /// Calls visit(id, record) for each record that is open, or ended and referred to, while
  /// others come and go. `visit` copies what it wants, and asks StillIs(id) afterwards.
  template <typename Visit>
  void ForEach(const Visit& visit) {
    ForEachIn(0, kSlots, visit);
  }
  /// The same for `count` slots from `first` on: for who has no time for all at once. Where the
  /// next part begins; 0: there is none.
  template <typename Visit>
  std::uint32_t ForEachIn(std::uint32_t first, std::uint32_t count, const Visit& visit) {
    Record* records = base_.load(std::memory_order_acquire);
    const std::uint32_t used = std::min(used_.load(std::memory_order_acquire), kSlots);
    if (records == nullptr || first >= used) return 0;
    const std::uint32_t end = count < used - first ? first + count : used;
    for (std::uint32_t slot = first; slot < end; ++slot) {
      const RecordHead& head = records[slot].head;
      const std::uint32_t generation = head.generation.load(std::memory_order_acquire);
      if (generation % 2 != 0 || head.references.load(std::memory_order_relaxed) == 0 ||
          head.phase.load(std::memory_order_relaxed) == Phase::kFree) {
        continue;
      }
      visit(IdOf(slot, generation), records[slot]);
    }
    return end < used ? end : 0;
  }
  bool StillIs(std::uint32_t id) {
    // The copy's loads stay before the one of the generation: I4's second half.
    std::atomic_thread_fence(std::memory_order_acquire);
    return At(id) != nullptr;
  }

  /// In a forked child: what was open belongs to the parent.
  void EndAll() {
    ForEach([this](std::uint32_t id, Record&) { End(id); });
  }

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  std::uint64_t used_bytes() const {
    return std::uint64_t{used_.load(std::memory_order_relaxed)} * sizeof(Record);
  }

 private:
  static constexpr std::size_t kTableBytes = sizeof(Record) * kSlots;

  // Generations count by two. Those of their halves' bits that fit are in the id, so an id
  // comes again after 2^(32 - kSlotBits) records in one slot, which is after its last
  // reference.
  static std::uint32_t IdOf(std::uint32_t slot, std::uint32_t generation) {
    return (generation / 2 << kSlotBits) | slot;
  }
  static std::uint32_t SlotOf(std::uint32_t id) { return id & (kSlots - 1); }

  Record* At(std::uint32_t id) {
    Record* records = base_.load(std::memory_order_acquire);
    if (id == 0 || records == nullptr) return nullptr;
    Record& record = records[SlotOf(id)];
    const std::uint32_t generation = record.head.generation.load(std::memory_order_acquire);
    return generation % 2 == 0 && IdOf(SlotOf(id), generation) == id ? &record : nullptr;
  }

  void Drop(Record& record) {
    if (record.head.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    record.head.phase.store(Phase::kFree, std::memory_order_relaxed);
    Return(static_cast<std::uint32_t>(&record - Records()));
  }

  Record* Records() {
    Record* base = base_.load(std::memory_order_acquire);
    if (base != nullptr) return base;
    auto* mine = static_cast<Record*>(ReservePages(kTableBytes));
    if (mine == nullptr ||
        base_.compare_exchange_strong(base, mine, std::memory_order_acq_rel)) {
      return mine;
    }
    UnmapPages(mine, kTableBytes);  // another thread was first
    return base;
  }

  // The free list: slot + 1 in the low half, a count in the high one, so that a head that was
  // taken and returned in between is noticed.
  std::uint32_t Take(Record* records) {
    std::uint64_t head = free_.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(head) != 0) {
      const std::uint32_t slot = static_cast<std::uint32_t>(head) - 1;
      const std::uint64_t next = records[slot].head.next_free.load(std::memory_order_relaxed);
      if (free_.compare_exchange_weak(head, ((head >> 32) + 1) << 32 | next,
                                      std::memory_order_acq_rel)) {
        return slot;
      }
    }
    std::uint32_t used = used_.load(std::memory_order_relaxed);
    do {
      if (used == kSlots ||
          !UsePages(records, kTableBytes, sizeof(Record) * (std::size_t{used} + 1),
                    &usable_bytes_)) {
        return kSlots;
      }
    } while (!used_.compare_exchange_weak(used, used + 1, std::memory_order_acq_rel));
    return used;
  }
  void Return(std::uint32_t slot) {
    RecordHead& mine = Records()[slot].head;
    std::uint64_t head = free_.load(std::memory_order_relaxed);
    do {
      mine.next_free.store(static_cast<std::uint32_t>(head), std::memory_order_relaxed);
    } while (!free_.compare_exchange_weak(head, ((head >> 32) + 1) << 32 | (slot + 1),
                                          std::memory_order_acq_rel));
  }

  std::atomic<Record*> base_{nullptr};
  std::atomic<std::size_t> usable_bytes_{0};
  std::atomic<std::uint32_t> used_{0};
  std::atomic<std::uint64_t> free_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace heldby::core
