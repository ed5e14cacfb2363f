// heldby/coroutine.h - for coroutine types of one's own: tasks that show where they wait.
//
// Threads  a coroutine is on one thread at a time; which, may change with each wait.
// Signals  unsafe.
// Self     as heldby/task.h.
// Allocates  never: what is kept lies in the promise.
// Units    none.
// Bounds   those of heldby/task.h.
// Source   docs/holders.md; a whole Task<T> with its scheduler is in
//          tests/unit/asio/coroutine_test.cc.
//
// A promise is derived from TracedPromise, and says three things:
//
//   auto initial_suspend() { return Traced(std::suspend_always()); }
//   auto final_suspend() noexcept { return TracedFinal(ResumesAwaiter()); }
//   child.promise().AwaitedBy(parent.promise());  // in await_suspend() of its own awaiter
//
// Who starts an outermost coroutine calls BeginTask() on its promise.
#pragma once

#include <coroutine>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "heldby/task.h"

namespace heldby {

template <typename Awaiter>
class TracedAwaiter;
template <typename Awaiter>
struct FinalAwaiter;

/// Between two waits the task of the outermost coroutine is current; while it waits, the chain
/// of its coroutines is in the registry. Without BeginTask() nothing of this happens.
class TracedPromise {
 public:
  TracedPromise() = default;
  TracedPromise(const TracedPromise&) = delete;
  TracedPromise& operator=(const TracedPromise&) = delete;
  ~TracedPromise() {
    // Destroyed while it waits, outermost first or innermost first: nobody may follow it.
    if (root_ != nullptr && !root_->piece) Park(root_->task.id(), PlaceId::kNone);
    if (is_outermost_) EndTask();
  }

  /// This coroutine and all that it awaits are a task from here to its end, for whom the
  /// caller works, called `name` or else after the function that this call stands in. REQUIRES:
  /// it has not begun.
  void BeginTask(const TaskName& name = TaskName::OfCaller()) {
    root_ = std::make_shared<Root>(AsyncTask(name.text, {}, name.place));
    is_outermost_ = true;
    root_->task.SetState("queued", name.place);
  }
  /// It runs for `awaiter`, which goes on after it.
  void AwaitedBy(TracedPromise& awaiter) {
    root_ = awaiter.root_;
    frame_.awaiter = &awaiter.frame_;
  }

  /// What co_await calls: awaits `awaitable` as before, and remembers where. Its state is
  /// called "waiting", or as `static constexpr const char* kWait` of the awaiter says.
  template <typename Awaitable>
  auto await_transform(Awaitable&& awaitable, const SourcePlace& place = SourcePlace::Here()) {
    return Traced(std::forward<Awaitable>(awaitable), place);
  }
  /// For what co_await does not pass through await_transform(): initial_suspend, yield_value.
  template <typename Awaitable>
  auto Traced(Awaitable&& awaitable, const SourcePlace& place = SourcePlace::Here()) {
    if constexpr (requires { std::forward<Awaitable>(awaitable).operator co_await(); }) {
      using Awaiter = decltype(std::forward<Awaitable>(awaitable).operator co_await());
      return TracedAwaiter<Awaiter>{std::forward<Awaitable>(awaitable).operator co_await(),
                                    this, place};
    } else if constexpr (requires { operator co_await(std::forward<Awaitable>(awaitable)); }) {
      using Awaiter = decltype(operator co_await(std::forward<Awaitable>(awaitable)));
      return TracedAwaiter<Awaiter>{operator co_await(std::forward<Awaitable>(awaitable)), this,
                                    place};
    } else {
      return TracedAwaiter<Awaitable&&>{std::forward<Awaitable>(awaitable), this, place};
    }
  }
  /// `awaiter` runs when the coroutine has ended; the task of an outermost one ends before.
  template <typename Awaiter>
  auto TracedFinal(Awaiter awaiter) noexcept {
    return FinalAwaiter<Awaiter>{std::move(awaiter), this};
  }

 private:
  template <typename Awaiter>
  friend class TracedAwaiter;
  template <typename Awaiter>
  friend struct FinalAwaiter;

  struct Root {
    AsyncTask task;
    std::optional<AsyncTask::Piece> piece{};  // while it is on a thread
    explicit Root(AsyncTask made) : task(std::move(made)) {}
  };

  void Resumes() {
    if (root_ == nullptr || root_->piece) return;
    root_->piece.emplace(root_->task);
    Park(root_->task.id(), PlaceId::kNone);  // the same place again would keep its age
  }
  void Suspends(void* coroutine, PlaceId place) {
    if (root_ == nullptr) return;
    frame_.code = *static_cast<const void* const*>(coroutine);  // where it is resumed
    frame_.place = place;
    Park(root_->task.id(), place, &frame_);
    root_->piece.reset();
  }
  void EndTask() {
    root_->piece.reset();
    root_->task.End();
  }
  void Finish() {
    if (std::exchange(is_outermost_, false)) EndTask();
    root_ = nullptr;  // if it is the awaiter's, that goes on
  }

  AwaitFrame frame_;
  // Shared: those that are awaited may be destroyed after the one that awaits them.
  std::shared_ptr<Root> root_;
  bool is_outermost_ = false;
};

/// Any awaiter, seen when its coroutine suspends and when it goes on. Awaiter may be a
/// reference, to what lives as long as the co_await.
template <typename Awaiter>
class TracedAwaiter {
 public:
  TracedAwaiter(Awaiter&& awaiter, TracedPromise* promise, const SourcePlace& place)
      : awaiter_(std::forward<Awaiter>(awaiter)), promise_(promise), place_(place) {}

  bool await_ready() { return awaiter_.await_ready(); }
  template <typename Promise>
  auto await_suspend(std::coroutine_handle<Promise> handle) {
    // Before the awaiter has it: it may be resumed elsewhere at once.
    promise_->Suspends(handle.address(), InternPlace(Text(), place_));
    struct GoesOn {
      TracedPromise* promise;
      ~GoesOn() {
        if (promise != nullptr) promise->Resumes();
      }
    } if_it_throws{promise_};
    if constexpr (std::is_void_v<decltype(awaiter_.await_suspend(handle))>) {
      awaiter_.await_suspend(handle);
      if_it_throws.promise = nullptr;
    } else {
      auto next = awaiter_.await_suspend(handle);
      if_it_throws.promise = nullptr;
      return next;
    }
  }
  decltype(auto) await_resume() {
    promise_->Resumes();
    return std::forward<Awaiter>(awaiter_).await_resume();
  }

 private:
  static constexpr const char* Text() {
    if constexpr (requires { std::remove_cvref_t<Awaiter>::kWait; }) {
      return std::remove_cvref_t<Awaiter>::kWait;
    } else {
      return "waiting";
    }
  }

  Awaiter awaiter_;
  TracedPromise* promise_;
  SourcePlace place_;
};

/// See TracedFinal().
template <typename Awaiter>
struct FinalAwaiter {
  Awaiter awaiter;
  TracedPromise* promise;

  bool await_ready() noexcept {
    promise->Finish();
    return awaiter.await_ready();
  }
  auto await_suspend(auto handle) noexcept { return awaiter.await_suspend(handle); }
  void await_resume() noexcept {}
};

}  // namespace heldby
