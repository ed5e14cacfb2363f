// core/stack/rule_cache.h - unwind rules by program counter, shared by all threads.
//
// Reading call-frame instructions takes about a microsecond; a program has few thousand
// distinct return addresses in its allocation stacks.
//
// Shape. 16,384 entries of two words, value and key ^ value, in groups of four that share a
// cache line; a key belongs to one group. An entry written by two threads at once, or read
// half-way, fails the check and counts as a miss: no lock, no wait, no generation. The key
// mixes the program counter with its module's Hash(), so that another object loaded at the
// place of an unloaded one finds no rules of its predecessor.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never.   Bounds  256 KiB, static.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/stack/cfi.h"

namespace heldby::core {

/// A rule by the two registers and without expressions, as one word, never 0:
///   bits 0-23 cfa_offset | 24-39 frame_saved_at | 40-43 kind + 1 | 44-63 zero, for LastWalk.
using RuleWord = std::uint64_t;
inline constexpr int kRuleWordBits = 44;

/// 0: the rule does not fit.
constexpr RuleWord PackRule(const Rule& rule) {
  if (rule.kind == Rule::Kind::kExpression || rule.kind == Rule::Kind::kOtherPlus ||
      rule.exact_above || rule.frame_expression.size != 0 || rule.cfa_offset < 0 ||
      rule.cfa_offset >= 1 << 24 ||
      rule.frame_saved_at != static_cast<std::int16_t>(rule.frame_saved_at)) {
    return 0;
  }
  return (static_cast<RuleWord>(rule.kind) + 1) << 40 |
         static_cast<RuleWord>(static_cast<std::uint16_t>(rule.frame_saved_at)) << 24 |
         static_cast<RuleWord>(rule.cfa_offset);
}

/// Of *rule, sets what a word can say.
inline void UnpackRule(RuleWord word, Rule* rule) {
  rule->kind = static_cast<Rule::Kind>((word >> 40 & 15) - 1);
  rule->frame_saved_at = static_cast<std::int16_t>(word >> 24);
  rule->cfa_offset = static_cast<std::int32_t>(word & 0xffffff);
}

class RuleCache {
 public:
  constexpr RuleCache() = default;

  /// `exact`: pc is an instruction, not the inside of a call; what ends a walk there differs.
  static std::uint64_t KeyOf(std::uint64_t module_hash, std::uintptr_t pc, bool exact) {
    const std::uint64_t mixed =
        (pc ^ module_hash ^ std::uint64_t{exact} << 63) * 0xff51afd7ed558ccdu;
    return mixed ^ (mixed >> 32);
  }

  /// 0: not here.
  RuleWord Find(std::uint64_t key) const {
    for (const Entry& entry : groups_[key % kGroups].entries) {
      const RuleWord word = entry.word.load(std::memory_order_relaxed);
      if ((entry.check.load(std::memory_order_relaxed) ^ word) == key && word != 0) return word;
    }
    return 0;
  }

  /// A rule that was just read, in place of any other of its group once that is full; 0 is only
  /// counted.
  void Remember(std::uint64_t key, RuleWord word);

  std::uint64_t read_total() const { return read_total_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint64_t kWays = 4;
  static constexpr std::uint64_t kGroups = (1 << 14) / kWays;
  struct Entry {
    std::atomic<std::uint64_t> check;
    std::atomic<RuleWord> word;
  };
  struct alignas(64) Group {
    Entry entries[kWays];
  };
  Group groups_[kGroups] = {};
  std::atomic<std::uint64_t> read_total_{0};
};

}  // namespace heldby::core
