// core/stack/stack_memory.h - loads from a stack that cannot fault.
//
// A rule may be wrong, a frame pointer garbage, a stack a fiber's that is unmapped and mapped
// anew in another size. So an address is loaded only from pages known to be readable, in one of
// two ways:
//
//   own     the stack that the kernel or glibc gave this thread. It ends where the thread's
//           control block is (glibc puts that at the top of every thread's stack, one that the
//           program brought, too), or, for the main thread, where the process was started.
//           What lies readable without a gap between the stack pointer and there is that
//           stack, and stays as long as the thread: remembered in the thread slot, asked for
//           once.
//   other   fibers, alternate signal stacks, wherever a wrong rule leads: pages asked for in
//           this walk, forgotten with it.
//
// Asking is a system call a page. A thread that stays on its own stack makes none.
//
// Threads  for the calling thread.
// Signals  safe: a handler's walk can only make the remembered part larger, by one word.
// Allocates  never.   errno kept.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/base/thread_slot.h"

namespace heldby::core {

/// Asks the kernel, without touching it. In the file of the architecture.
bool PageIsReadable(std::uintptr_t address);

class StackMemory {
 public:
  static constexpr bool kTellsTheFramePointer = true;

  explicit StackMemory(std::uintptr_t stack_pointer) {
    if (!IsOwn(stack_pointer & ~std::uintptr_t{7})) Join(stack_pointer);
  }

  bool Load(std::uintptr_t address, std::uint64_t* value) {
    if (!IsOwn(address) && !IsAsked(address)) [[unlikely]] {
      if (!Ask(address)) return false;
    }
    std::memcpy(value, reinterpret_cast<const void*>(address), sizeof(*value));
    return true;
  }

 private:
  static constexpr std::uintptr_t kPage = 4096;
  static constexpr std::uintptr_t kMaxOwnBytes = 64 << 20;

  static std::uintptr_t PageOf(std::uintptr_t address) { return address & ~(kPage - 1); }

  // By one subtraction, so that no address overflows: high - 8 is 0, low is reach - 1, and
  // everything else more than that.
  static bool IsOwn(std::uintptr_t address) {
    return thread_slot.stack_high - sizeof(std::uint64_t) - address < thread_slot.stack_reach;
  }
  bool IsAsked(std::uintptr_t address) const {
    return asked_high_ - sizeof(std::uint64_t) - address < asked_reach_;
  }

  static std::uintptr_t ReachFrom(std::uintptr_t low, std::uintptr_t high) {
    return high - low - sizeof(std::uint64_t) + 1;
  }

  /// One past the last page of the thread's own stack. In stack_memory.cc.
  static std::uintptr_t OwnEnd();

  // Is this the own stack, deeper than ever? It is, if nothing lies between.
  static void Join(std::uintptr_t stack_pointer) {
    const std::uintptr_t end = OwnEnd();
    const std::uintptr_t page = PageOf(stack_pointer);
    if (page >= end || end - page > kMaxOwnBytes || page == thread_slot.foreign_page) return;
    const std::uintptr_t known = thread_slot.stack_reach != 0
                                     ? end - thread_slot.stack_reach - sizeof(std::uint64_t) + 1
                                     : end;
    for (std::uintptr_t at = page; at < known; at += kPage) {
      if (!PageIsReadable(at)) {
        thread_slot.foreign_page = page;
        return;
      }
    }
    thread_slot.stack_high = end;
    thread_slot.stack_reach = ReachFrom(page, end);
  }

  bool Ask(std::uintptr_t address) {
    const std::uintptr_t page = PageOf(address);
    if (address % sizeof(std::uint64_t) != 0 || page == 0 || !PageIsReadable(page))
      return false;
    const std::uintptr_t low = asked_high_ - asked_reach_ - sizeof(std::uint64_t) + 1;
    if (asked_reach_ != 0 && page == asked_high_) {
      asked_high_ += kPage;
      asked_reach_ += kPage;
    } else if (asked_reach_ != 0 && page + kPage == low) {
      asked_reach_ += kPage;
    } else {
      asked_high_ = page + kPage;
      asked_reach_ = ReachFrom(page, asked_high_);
    }
    return true;
  }

  std::uintptr_t asked_high_ = 0;  // as stack_high and stack_reach, of this walk
  std::uintptr_t asked_reach_ = 0;
};

}  // namespace heldby::core
