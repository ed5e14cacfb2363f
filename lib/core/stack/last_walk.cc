#include "core/stack/last_walk.h"

namespace heldby::core {

constinit LastWalk::Slot LastWalk::slots[LastWalk::kSlots] = {};

LastWalk::LastWalk() {
  // Thread pointers are a stack apart, which is a multiple of many powers of two.
  const auto thread = reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
  slot_ = &slots[(thread >> 6) * 0x9e3779b97f4a7c15u >> 58];
  std::uintptr_t by = 0;
  if (!slot_->taken.compare_exchange_strong(by, thread, std::memory_order_acquire)) {
    const bool is_lost =
        by == thread && slot_->missed.fetch_add(1, std::memory_order_relaxed) >= kMissedByOne;
    if (!is_lost) {
      slot_ = nullptr;
      return;
    }
  }
  next_ = slot_->frames[slot_->current];
  end_ = next_ + slot_->frames_count;
  begin_ = written_ = slot_->frames[1 - slot_->current];
  room_ = begin_ + kFrames;
}

LastWalk::~LastWalk() {
  if (slot_ == nullptr) return;
  slot_->current = 1 - slot_->current;
  slot_->frames_count = static_cast<std::uint8_t>(written_ - begin_);
  slot_->missed.store(0, std::memory_order_relaxed);
  slot_->taken.store(0, std::memory_order_release);
}

}  // namespace heldby::core
