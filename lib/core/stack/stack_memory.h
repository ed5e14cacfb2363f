// core/stack/stack_memory.h - loads from a stack that cannot fault.
//
// A rule may be wrong, a frame pointer garbage, a stack a fiber's whose neighbour is unmapped.
// So an address is loaded only from pages known to be readable: pages are asked for once per
// thread, one system call each, and remembered as one range around the current stack. A thread
// that stays on its stack asks no more.
//
// Threads  for the calling thread.   Signals  safe.   Allocates  never.   errno kept.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/base/thread_slot.h"

namespace heldby::core {

/// Asks the kernel, without touching it. In the file of the architecture.
bool PageIsReadable(std::uintptr_t address);

class StackMemory {
 public:
  explicit StackMemory(std::uintptr_t stack_pointer) { Begin(stack_pointer); }

  /// From now on every page is asked for anew: the walk goes by a guess, and what was readable
  /// once (a fiber's stack, unmapped since, another in its place) may lie where guesses lead.
  void Distrust() { trusted_ = false; }

  bool Load(std::uintptr_t address, std::uint64_t* value) {
    if (!trusted_) [[unlikely]] {
      if (!ReadableNow(address)) return false;
    } else if (address < thread_slot.stack_low ||
               address + sizeof(*value) > thread_slot.stack_high) [[unlikely]] {
      if (!Extend(address)) return false;
    }
    std::memcpy(value, reinterpret_cast<const void*>(address), sizeof(*value));
    return true;
  }

 private:
  static constexpr std::uintptr_t kPage = 4096;
  static constexpr std::uintptr_t kReach = 64 * kPage;  // frames are rarely larger than that

  static bool ReadableNow(std::uintptr_t address) {
    return address % sizeof(std::uint64_t) == 0 && address >= kPage &&
           PageIsReadable(PageOf(address));
  }

  static std::uintptr_t PageOf(std::uintptr_t address) { return address & ~(kPage - 1); }

  // Nothing is known of the stack pointer's own page either: the code that a signal interrupted
  // may have run out of its stack.
  static void Begin(std::uintptr_t stack_pointer) {
    const std::uintptr_t page = PageOf(stack_pointer);
    if (page >= thread_slot.stack_low && page < thread_slot.stack_high) return;
    std::uintptr_t low = thread_slot.stack_low;
    if (page < low && low - page <= kReach) {
      // Deeper than ever on what may be the same stack: it is, if nothing lies between.
      while (low > page && PageIsReadable(low - kPage)) low -= kPage;
      if (low == page) {
        thread_slot.stack_low = page;
        return;
      }
    }
    thread_slot.stack_low = thread_slot.stack_high = page;
  }

  static bool Extend(std::uintptr_t address) {
    const std::uintptr_t last = PageOf(address + sizeof(std::uint64_t) - 1);
    if (address % sizeof(std::uint64_t) != 0 || address < kPage || last < address - kPage) {
      return false;
    }
    if (address >= thread_slot.stack_low && last - thread_slot.stack_high < kReach) {
      while (thread_slot.stack_high <= last && PageIsReadable(thread_slot.stack_high)) {
        thread_slot.stack_high += kPage;
      }
      if (thread_slot.stack_high > last) return true;
    }
    // Another stack: behind a signal frame on an alternate one, beyond a guard page.
    if (!PageIsReadable(last)) return false;
    thread_slot.stack_low = last;
    thread_slot.stack_high = last + kPage;
    return true;
  }

  bool trusted_ = true;
};

}  // namespace heldby::core
