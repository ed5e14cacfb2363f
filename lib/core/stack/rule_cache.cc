#include "core/stack/rule_cache.h"

namespace heldby::core {
namespace {

// A word: kind + 1 (never 0, so that an empty entry matches no key) | frame_saved_at |
// cfa_offset.
std::uint64_t Pack(const Rule& rule) {
  return (static_cast<std::uint64_t>(rule.kind) + 1) << 48 |
         static_cast<std::uint64_t>(static_cast<std::uint16_t>(rule.frame_saved_at)) << 32 |
         static_cast<std::uint32_t>(rule.cfa_offset);
}

}  // namespace

void RuleCache::Remember(std::uint64_t key, const Rule& rule) {
  if (rule.kind == Rule::Kind::kExpression || rule.frame_expression.size != 0 ||
      rule.frame_saved_at != static_cast<std::int16_t>(rule.frame_saved_at)) {
    return;
  }
  const std::uint64_t value = Pack(rule);
  Entry& entry = entries_[key % kEntries];
  entry.value.store(value, std::memory_order_relaxed);
  entry.check.store(key ^ value, std::memory_order_relaxed);
}

}  // namespace heldby::core
