#include "core/sampler/lock_waiters.h"

namespace heldby::core {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;
}

// One more waiter of an entry that is `lock`'s. False: it is not.
bool LockWaiters::Count(Entry& entry, std::uintptr_t lock) {
  if (entry.lock.load(std::memory_order_acquire) != lock) return false;
  std::uint32_t waiters = entry.waiters.load(kRelaxed);
  do {
    if (waiters == 0) return false;  // I1
  } while (
      !entry.waiters.compare_exchange_weak(waiters, waiters + 1, std::memory_order_acq_rel));
  if (entry.lock.load(std::memory_order_acquire) == lock) return true;
  if (entry.waiters.fetch_sub(1, std::memory_order_acq_rel) == 1) {  // I2
    entry.lock.store(0, std::memory_order_release);
  }
  return false;
}

std::uint32_t LockWaiters::Join(const void* lock) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(lock);
  const std::uint32_t number = BucketOf(lock);
  Bucket& bucket = buckets_[number];
  for (std::uint32_t i = 0; i < kEntries; ++i) {
    if (!Count(bucket.entries[i], wanted)) continue;
    CountIn(bucket, 1);
    return number * kEntries + i + 1;
  }
  for (std::uint32_t i = 0; i < kEntries; ++i) {
    Entry& entry = bucket.entries[i];
    std::uintptr_t none = 0;
    if (!entry.lock.compare_exchange_strong(none, kBusy, std::memory_order_acq_rel)) continue;
    entry.word.store(0, kRelaxed);
    entry.waiters.store(1, kRelaxed);
    entry.lock.store(wanted, std::memory_order_release);
    CountIn(bucket, 1);
    return number * kEntries + i + 1;
  }
  dropped_.fetch_add(1, kRelaxed);
  return 0;
}

void LockWaiters::Leave(std::uint32_t id) {
  Entry& entry = At(id);
  CountIn(buckets_[(id - 1) / kEntries], -1u);
  if (entry.waiters.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    entry.lock.store(0, std::memory_order_release);
  }
}

std::uint64_t LockWaiters::WordOf(std::uint32_t entry) const {
  return const_cast<LockWaiters*>(this)->At(entry).word.load(std::memory_order_acquire);
}

bool LockWaiters::IsWaitedFor(const void* lock) const {
  const auto wanted = reinterpret_cast<std::uintptr_t>(lock);
  for (const Entry& entry : buckets_[BucketOf(lock)].entries) {
    if (entry.lock.load(kRelaxed) == wanted) return true;
  }
  return false;
}

void LockWaiters::LeaveWord(const void* lock, std::uint64_t word) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(lock);
  for (Entry& entry : buckets_[BucketOf(lock)].entries) {
    if (entry.lock.load(std::memory_order_acquire) == wanted) {
      entry.word.store(word, std::memory_order_release);
    }
  }
}

// Looks before it writes: what nobody used stays shared with the parent.
void LockWaiters::Clear() {
  const auto clear = [](auto& field) {
    if (field.load(kRelaxed) != 0) field.store(0, kRelaxed);
  };
  clear(waiters_);
  for (Bucket& bucket : buckets_) {
    clear(bucket.waiters);
    for (Entry& entry : bucket.entries) {
      clear(entry.lock);
      clear(entry.waiters);
    }
  }
}

}  // namespace heldby::core
