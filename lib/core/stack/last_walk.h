// core/stack/last_walk.h - the rules of a thread's previous walk, in the order of its frames.
//
// Why. Two stacks that a thread takes one after the other share most of their outer frames. The
// rule of each lies at a random place of the RuleCache: in a program that works its caches hard
// (a compiler), each frame is a miss, and each waits for the one before it, since the return
// address is the key. Read in order, the rules come with the prefetcher, and the processor
// walks ahead of the loads: the next stack pointer is a sum of offsets.
//
// Not a stack that is believed. A rule is a function of module and program counter, and is used
// only where the key of both is the one it was noted with. The position says where to look.
//
// Shape. 64 slots, chosen by the thread; each is two lists, the previous walk's and the one
// being written. A slot is taken for one walk, never waited for: who finds it taken (a signal
// handler in a walk, another thread of the same number) does without, as does a forked child
// whose slot was taken by a thread that it does not have. Which thread it was, the slot knows:
// who finds its own time and again has jumped out of a walk, by a handler's longjmp, and takes
// it back. A handler that walks as often within one walk spoils rules of that one alone, whose
// loads are safe whatever a rule says.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never.
// Bounds   64 slots of 4 KiB, static; a page that no thread uses costs nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/stack/rule_cache.h"

namespace heldby::core {

class LastWalk {
 public:
  static constexpr std::size_t kBytes = 64 * 4096;  // of all slots together

  LastWalk();
  ~LastWalk();
  LastWalk(const LastWalk&) = delete;
  LastWalk& operator=(const LastWalk&) = delete;

  /// The rule noted with this key for a frame at this stack pointer; 0: none. To be asked from
  /// the innermost frame outwards.
  RuleWord Find(std::uint64_t key, std::uintptr_t stack_pointer) {
    const std::uint64_t mark = MarkOf(stack_pointer);
    // Frames that are gone since lie below: they are passed once, and not looked at again.
    while (next_ != end_ && IsBelow(next_->word >> kRuleWordBits, mark)) ++next_;
    if (next_ == end_ || next_->key != key) return 0;
    return next_++->word & ((RuleWord{1} << kRuleWordBits) - 1);
  }

  void Note(std::uint64_t key, std::uintptr_t stack_pointer, RuleWord word) {
    if (written_ == room_) return;
    *written_++ = {key, word | MarkOf(stack_pointer) << kRuleWordBits};
  }

 private:
  static constexpr int kSlots = 64;
  static constexpr int kFrames = 126;
  static constexpr std::uint32_t kMissedByOne = 64;
  struct Frame {
    std::uint64_t key;
    RuleWord word;  // and the mark of the stack pointer above it
  };
  struct alignas(4096) Slot {
    std::atomic<std::uintptr_t> taken;  // by which thread; 0: free
    std::atomic<std::uint32_t> missed;  // by that thread, in a row
    std::uint8_t current;               // the list that holds the previous walk
    std::uint8_t frames_count;
    Frame frames[2][kFrames];
  };
  static_assert(sizeof(Slot) == kBytes / kSlots);
  static Slot slots[kSlots];

  // 20 bits: enough to order the frames of 8 MiB of stack. Beyond it a rule is looked for at
  // the wrong place, and not found there.
  static constexpr std::uint64_t kMarkMask = (1 << (64 - kRuleWordBits)) - 1;
  static std::uint64_t MarkOf(std::uintptr_t sp) { return sp / 8 & kMarkMask; }
  static bool IsBelow(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t distance = (b - a) & kMarkMask;
    return distance != 0 && distance <= kMarkMask / 2;
  }

  Slot* slot_;  // nullptr: taken by another
  const Frame* next_ = nullptr;
  const Frame* end_ = nullptr;
  Frame* begin_ = nullptr;
  Frame* written_ = nullptr;
  Frame* room_ = nullptr;
};

}  // namespace heldby::core
