// heldby/asio/coroutine_task.h - what is kept beside a coroutine that co_spawn() started.
//
// Threads  that of the coroutine, or of the one who holds its handler: never two at once.
// Signals  unsafe.
// Self     its memory is not sampled.
// Units    none.
// Source   Boost 1.81, boost/asio/impl/awaitable.hpp.
//
// How the chain is found. Asio tells nobody that a coroutine suspends. But whoever starts an
// operation asks its handler for its executor, which is a copy of the one in the coroutine's
// own entry frame, where a TaskExecutor lies in place: its copy constructor sees the address
// it is copied from. At that moment the coroutine is suspended (or runs on this thread), its
// handler has one owner, and so the frames stand still: Asio itself reads them then. A copy
// from any other place, such as another coroutine that uses the executor, tells nothing.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/version.hpp>
#include <cstddef>
#include <utility>

#include "heldby/asio/wait.h"
#include "heldby/self.h"
#include "heldby/task.h"

namespace heldby::asio::detail {
struct PeekAtFrames;
}  // namespace heldby::asio::detail

namespace boost::asio::detail {

// Names of Asio's own coroutine frames are private. This template is a friend of theirs, and
// FrameOf below is derived from one of them: no access that C++ does not grant.
template <typename Executor>
class awaitable_handler_base<Executor, heldby::asio::detail::PeekAtFrames> {
 public:
  using Entry = awaitable_frame<awaitable_thread_entry_point, Executor>;
  static awaitable_frame_base<Executor>* TopOf(awaitable_frame_base<Executor>* entry) {
    return static_cast<Entry*>(entry)->top_of_stack_;
  }
};

}  // namespace boost::asio::detail

namespace heldby::asio::detail {

using Frame = boost::asio::detail::awaitable_frame_base<boost::asio::any_io_executor>;
using FrameThread = boost::asio::detail::awaitable_thread<boost::asio::any_io_executor>;

struct FrameOf : Frame {
  static constexpr auto kCaller = &FrameOf::caller_;
  static constexpr auto kHandle = &FrameOf::coro_;
};

class CoroutineTask {
 public:
  explicit CoroutineTask(const TaskName& name) : task_(name.text, {}, name.place) {
    Park(id(), InternPlace("queued", name.place));
  }

  TaskId id() const { return task_.id(); }

  /// `outermost` is suspended on this thread, and will ask for its executor next: the coroutine
  /// whose callees are shown.
  void Begin(Frame* outermost) {
    outermost_ = outermost;
    entry_ = outermost->*FrameOf::kCaller;
    begins_here = this;
  }
  void End() {
    entry_executor_.store(nullptr, std::memory_order_relaxed);
    Park(id(), PlaceId::kNone);
    task_.End();
  }

  /// It came to a thread: what it waits for next, it waits for from then on.
  void Resumed() { resumed_.store(true, std::memory_order_relaxed); }

  /// An executor was copied from `place`.
  void Copied(const void* place) {
    if (begins_here == this) {
      begins_here = nullptr;
      entry_executor_.store(place, std::memory_order_relaxed);
      return;
    }
    if (place == entry_executor_.load(std::memory_order_relaxed)) Suspends();
  }

  void AddReference() { references_.fetch_add(1, std::memory_order_relaxed); }
  void DropReference() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    const UnsampledScope unsampled;
    delete this;
  }

 private:
  static constexpr std::size_t kDepth = 16;
  static inline constinit thread_local const CoroutineTask* begins_here = nullptr;

  void Suspends() {
    static const PlaceId kWaiting = InternWait("waiting");
    if (resumed_.load(std::memory_order_relaxed)) {
      resumed_.store(false, std::memory_order_relaxed);
      Park(id(), PlaceId::kNone);  // the same place again would keep its age
    }
    std::size_t depth = 0;
    using Peek =
        boost::asio::detail::awaitable_handler_base<boost::asio::any_io_executor, PeekAtFrames>;
    Frame* frame = Peek::TopOf(entry_);
    for (; frame != nullptr && frame != outermost_; frame = frame->*FrameOf::kCaller) {
      // Of a deeper one, the innermost and the outermost.
      AwaitFrame& shown = frames_[std::min(depth++, kDepth - 1)];
      shown.awaiter = nullptr;
      // Every implementation's frame begins with where it is resumed.
      shown.code = *static_cast<const void* const*>((frame->*FrameOf::kHandle).address());
    }
    depth = std::min(depth, kDepth);
    for (std::size_t i = 1; i < depth; ++i) frames_[i - 1].awaiter = &frames_[i];
    Park(id(), next_wait != PlaceId::kNone ? next_wait : kWaiting,
         depth != 0 ? frames_ : nullptr);
  }

  AsyncTask task_;
  Frame* outermost_ = nullptr;
  Frame* entry_ = nullptr;
  std::atomic<const void*> entry_executor_{nullptr};
  std::atomic<std::uint32_t> references_{1};
  std::atomic<bool> resumed_{false};
  AwaitFrame frames_[kDepth];
};

/// A reference to a CoroutineTask.
class TaskRef {
 public:
  static TaskRef Make(const TaskName& name) {
    const UnsampledScope unsampled;
    return TaskRef(new CoroutineTask(name));
  }
  TaskRef(const TaskRef& other) : task_(other.task_) {
    if (task_ != nullptr) task_->AddReference();
  }
  TaskRef(TaskRef&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  TaskRef& operator=(TaskRef other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~TaskRef() {
    if (task_ != nullptr) task_->DropReference();
  }

  explicit operator bool() const { return task_ != nullptr; }
  CoroutineTask* operator->() const { return task_; }
  bool operator==(const TaskRef&) const = default;

 private:
  explicit TaskRef(CoroutineTask* task) : task_(task) {}

  CoroutineTask* task_;
};

}  // namespace heldby::asio::detail
