// collect/paced.h - a figure that is looked at again when there is time for it.
//
// Threads  one at a time.   Units  nanoseconds.
// Bounds   at most a thousandth of the time, and no more often than every `at_least`.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace heldby::collect {

template <typename Value>
class Paced {
 public:
  using Clock = std::chrono::steady_clock;

  template <typename Read>
  const Value& Get(const Read& read, std::chrono::nanoseconds at_least = {}) {
    const auto now = Clock::now();
    if (value_ && now < next_) return *value_;
    value_ = read();
    const auto end = Clock::now();
    next_ = end + std::max<std::chrono::nanoseconds>(1000 * (end - now), at_least);
    return *value_;
  }

 private:
  std::optional<Value> value_{};
  Clock::time_point next_{};
};

}  // namespace heldby::collect
