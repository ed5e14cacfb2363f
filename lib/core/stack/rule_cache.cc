#include "core/stack/rule_cache.h"

namespace heldby::core {

void RuleCache::Remember(std::uint64_t key, RuleWord word) {
  read_total_.fetch_add(1, std::memory_order_relaxed);
  if (word == 0) return;
  Group& group = groups_[key % kGroups];
  // Bits of the key that did not choose the group choose the victim: as good as random, and the
  // same for every thread that reads this rule now.
  Entry* place = &group.entries[key >> 60 & (kWays - 1)];
  for (Entry& entry : group.entries) {
    if (entry.word.load(std::memory_order_relaxed) == 0) {
      place = &entry;
      break;
    }
  }
  place->word.store(word, std::memory_order_relaxed);
  place->check.store(key ^ word, std::memory_order_relaxed);
}

}  // namespace heldby::core
