// bench/bloom_filter.h - the rejected way to recognise a sampled block, built with care.
//
// Sampled blocks stay where the allocator put them; in front of the exact table stands an array
// of 64-bit words, one per group of keys, two bits of it per key (the shape of Chromium's
// LockFreeAddressHashSet). A free hashes, loads its word and tests two bits.
//
// In its favour here: one thread, hence no fences; sized for the number of keys beforehand, as
// if growing cost nothing, to 4 keys a word (1.5 % of false hits by the formula
// (1 - exp(-2 * 4 / 64))^2 = 1.4 %); a removed key's bits are cleared by summing up what is
// left of its group, so that the filter never silts up.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace heldby::bench {

class BloomFilter {
 public:
  explicit BloomFilter(std::size_t keys)
      : words_(std::bit_ceil(std::max<std::size_t>(keys / kKeysPerWord, kFewestWords))),
        groups_(words_.size()),
        shift_(64 - std::countr_zero(words_.size())) {}

  void Insert(std::uintptr_t key) {
    const std::uint64_t hash = Hash(key);
    groups_[hash >> shift_].push_back(key);
    words_[hash >> shift_] |= Bits(hash);
  }

  void Erase(std::uintptr_t key) {
    const std::size_t at = Hash(key) >> shift_;
    std::erase(groups_[at], key);
    words_[at] = 0;
    for (const std::uintptr_t left : groups_[at]) words_[at] |= Bits(Hash(left));
  }

  __attribute__((always_inline)) bool MayContain(std::uintptr_t key) const {
    const std::uint64_t hash = Hash(key);
    const std::uint64_t bits = Bits(hash);
    return (words_[hash >> shift_] & bits) == bits;
  }

 private:
  static constexpr std::size_t kKeysPerWord = 4;
  static constexpr std::size_t kFewestWords = 256;

  // Fibonacci hashing: the upper bits, which choose the word, depend on all bits of the key;
  // the bit numbers come from the middle ones.
  static std::uint64_t Hash(std::uintptr_t key) { return key * 0x9e3779b97f4a7c15u; }
  static std::uint64_t Bits(std::uint64_t hash) {
    return std::uint64_t{1} << (hash >> 32 & 63) | std::uint64_t{1} << (hash >> 26 & 63);
  }

  std::vector<std::uint64_t> words_;
  std::vector<std::vector<std::uintptr_t>> groups_;
  int shift_;
};

}  // namespace heldby::bench
