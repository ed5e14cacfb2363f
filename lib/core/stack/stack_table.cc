#include "core/stack/stack_table.h"

#include <string.h>

namespace heldby::core {
namespace {

std::uint64_t HashOf(const Stack& stack) {
  std::uint64_t hash = 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(stack.truncated);
  for (int i = 0; i < stack.depth; ++i) {
    hash =
        (hash ^ stack.frames[i] ^ std::uint64_t{stack.modules[i]} << 48) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace

std::uint32_t StackTable::Find(std::uint32_t from, std::uint32_t until, const Stack& stack,
                               std::uint64_t hash) const {
  for (std::uint32_t at = from; at != until;) {
    const auto& record = *static_cast<const StackRecord*>(arena_.At(at));
    if (record.hash == hash && record.depth == stack.depth &&
        record.truncated == stack.truncated &&
        memcmp(record.frames, stack.frames,
               static_cast<std::size_t>(stack.depth) * sizeof(std::uintptr_t)) == 0 &&
        memcmp(record.modules(), stack.modules,
               static_cast<std::size_t>(stack.depth) * sizeof(std::uint16_t)) == 0) {
      return at;
    }
    at = record.next;
  }
  return 0;
}

StackId StackTable::Intern(const Stack& stack) {
  const std::uint64_t hash = HashOf(stack);
  std::atomic<std::uint32_t>& bucket = buckets_[hash % kBuckets];
  std::uint32_t head = bucket.load(std::memory_order_acquire);
  if (std::uint32_t found = Find(head, 0, stack, hash)) return StackId{found};

  const std::size_t frames_bytes =
      static_cast<std::size_t>(stack.depth) * sizeof(std::uintptr_t);
  const std::size_t modules_bytes =
      static_cast<std::size_t>(stack.depth) * sizeof(std::uint16_t);
  const std::uint32_t at = arena_.Allocate(sizeof(StackRecord) + frames_bytes + modules_bytes);
  if (at == 0) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return StackId::kNoStack;
  }
  auto* record = static_cast<StackRecord*>(arena_.At(at));
  record->depth = static_cast<std::uint16_t>(stack.depth);
  record->truncated = stack.truncated;
  record->hash = hash;
  memcpy(record->frames, stack.frames, frames_bytes);
  memcpy(record->frames + stack.depth, stack.modules, modules_bytes);

  for (;;) {
    record->next = head;
    const std::uint32_t seen = head;
    if (bucket.compare_exchange_strong(head, at, std::memory_order_acq_rel)) return StackId{at};
    if (std::uint32_t found = Find(head, seen, stack, hash)) return StackId{found};
  }
}

}  // namespace heldby::core
