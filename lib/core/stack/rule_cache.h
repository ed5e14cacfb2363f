// core/stack/rule_cache.h - unwind rules by program counter, shared by all threads.
//
// Reading call-frame instructions takes about a microsecond; a program has few thousand
// distinct return addresses in its allocation stacks.
//
// Shape. Direct-mapped, 16,384 entries of two words: value, and key ^ value. An entry written
// by two threads at once, or read half-way, fails the check and counts as a miss: no lock, no
// wait, no generation. The key mixes the program counter with its module's Hash(), so that
// another object loaded at the place of an unloaded one finds no rules of its predecessor.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never.   Bounds  256 KiB, static.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/stack/cfi.h"

namespace heldby::core {

class RuleCache {
 public:
  constexpr RuleCache() = default;

  static std::uint64_t KeyOf(std::uint64_t module_hash, std::uintptr_t pc) {
    const std::uint64_t mixed = (pc ^ module_hash) * 0xff51afd7ed558ccdu;
    return mixed ^ (mixed >> 32);
  }

  /// Changes of *rule only what the rule says: its expressions are empty, as in every rule here.
  bool Find(std::uint64_t key, Rule* rule) const {
    const Entry& entry = entries_[key % kEntries];
    const std::uint64_t value = entry.value.load(std::memory_order_relaxed);
    if ((entry.check.load(std::memory_order_relaxed) ^ value) != key || value == 0) {
      return false;
    }
    rule->kind = static_cast<Rule::Kind>((value >> 48) - 1);
    rule->frame_saved_at = static_cast<std::int16_t>(value >> 32);
    rule->cfa_offset = static_cast<std::int32_t>(value);
    return true;
  }
  /// Rules that do not fit into one word (expressions) are not kept.
  void Remember(std::uint64_t key, const Rule& rule);

 private:
  static constexpr std::uint64_t kEntries = 1 << 14;
  struct Entry {
    std::atomic<std::uint64_t> check;
    std::atomic<std::uint64_t> value;
  };
  Entry entries_[kEntries] = {};
};

}  // namespace heldby::core
