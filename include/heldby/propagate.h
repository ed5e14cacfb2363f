// heldby/propagate.h - takes the current task, connection and labels to another thread.
//
// Threads  any; a Scope stays on the thread that opened it.
// Signals  unsafe.
// Self     allocations made inside these calls are never sampled.
// Allocates  never; a callable is moved into another of its size and 12 bytes.
// Units    none.
// Source   docs/holders.md.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#include "heldby/task.h"

namespace heldby {

/// For whom this thread works where the object is made.
class Holder {
 public:
  Holder();
  [[nodiscard]] TaskId task() const { return TaskId{ids_[1]}; }
  [[nodiscard]] ConnectionId connection() const { return ConnectionId{ids_[0]}; }

  /// While it lives, this thread works for that holder. Nests.
  class Scope {
   public:
    explicit Scope(const Holder& holder);
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();

   private:
    std::uint32_t before_[3];
  };

 private:
  std::uint32_t ids_[3];
};

/// `function` with the holder of here and now wherever it is called, with any arguments and
/// result; it can be moved, and copied if `function` can.
template <typename Function>
requires(!std::is_same_v<std::remove_cvref_t<Function>, std::function<void()>>)
    [[nodiscard]] auto Propagate(Function&& function) {
  return [ holder = Holder(), function = std::forward<Function>(function) ](
             auto&&... arguments) mutable -> decltype(auto) requires std::is_invocable_v <
                                                 std::decay_t<Function>
  &, decltype(arguments)... > {
    const Holder::Scope scope(holder);
    return std::invoke(function, std::forward<decltype(arguments)>(arguments)...);
  };
}

}  // namespace heldby
