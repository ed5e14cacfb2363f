// heldby/asio/wait.h - what the operation that is being started is called while it is awaited.
//
// Threads  the one that starts the operation.
// Signals  unsafe.
// Self     as heldby/task.h.
// Units    none.
// Source   boost/asio/async_result.hpp; coroutine_task.h says who reads it.
#pragma once

#include <boost/asio/associator.hpp>
#include <boost/asio/async_result.hpp>
#include <utility>

#include "heldby/task.h"

namespace heldby::asio::detail {

inline constinit thread_local PlaceId next_wait = PlaceId::kNone;
/// The coroutine that this thread is at.
inline constinit thread_local TaskId running_coroutine = TaskId::kNone;

class WaitScope {
 public:
  explicit WaitScope(PlaceId place) : before_(std::exchange(next_wait, place)) {}
  WaitScope(const WaitScope&) = delete;
  WaitScope& operator=(const WaitScope&) = delete;
  ~WaitScope() { next_wait = before_; }

 private:
  PlaceId before_;
};

/// A word without a place: the coroutines that wait say where.
inline PlaceId InternWait(const char* text) { return InternPlace(text, {"", "", 0}); }

/// An operation that is started by `start(handler)`, whenever the token has it started.
template <typename Signature, typename Token, typename Start>
auto Initiate(Token&& token, PlaceId place, Start start) {
  return boost::asio::async_initiate<Token, Signature>(
      [place, start = std::move(start)](auto&& handler) mutable {
        const WaitScope wait(place);
        std::move(start)(std::forward<decltype(handler)>(handler));
      },
      token);
}

/// A handler of ours around one of the program's, which keeps its executor, allocator and
/// cancellation slot. Outer: has a member `handler`.
template <template <typename, typename> class Associator, typename Outer, typename Default>
struct AssociatedAsInner : Associator<decltype(Outer::handler), Default> {
  using Inner = Associator<decltype(Outer::handler), Default>;
  static typename Inner::type get(const Outer& outer) noexcept {
    return Inner::get(outer.handler);
  }
  static typename Inner::type get(const Outer& outer, const Default& otherwise) noexcept {
    return Inner::get(outer.handler, otherwise);
  }
};

}  // namespace heldby::asio::detail
