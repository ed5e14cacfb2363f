// heldby/asio/spawn.h - co_spawn() whose coroutine is a task.
//
// Threads  as boost::asio::co_spawn.
// Signals  unsafe.
// Self     what is kept beside the coroutine is never sampled.
// Allocates  one block of 500 bytes, and a frame as any coroutine.
// Units    none.
// Source   docs/holders.md.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <type_traits>
#include <utility>

#include "heldby/asio/coroutine_task.h"
#include "heldby/asio/task_executor.h"
#include "heldby/task.h"

namespace heldby::asio {
namespace detail {

/// Ends the task with the coroutine, or with the function that was to start it.
class TaskOwner {
 public:
  explicit TaskOwner(TaskRef task) : task_(std::move(task)), owns_(true) {}
  TaskOwner(TaskOwner&& other) noexcept
      : task_(std::move(other.task_)), owns_(std::exchange(other.owns_, false)) {}
  TaskOwner& operator=(TaskOwner&&) = delete;
  ~TaskOwner() {
    if (owns_) task_->End();
  }
  const TaskRef& task() const { return task_; }

 private:
  TaskRef task_;
  bool owns_;
};

/// Awaited, it is called with the frame of who awaits it, who then goes on.
struct TellsFrame {
  CoroutineTask* task;
  FrameThread* operator()(Frame* frame) const {
    task->Begin(frame);
    return nullptr;  // the coroutine stays with the thread that pumps it
  }
};

template <typename T, typename Executor, typename Function>
boost::asio::awaitable<T, Executor> RunAsTask(TaskOwner owner, Function function) {
  if constexpr (std::is_same_v<Executor, boost::asio::any_io_executor>) {
    co_await TellsFrame{owner.task().operator->()};
    static_cast<void>(co_await boost::asio::this_coro::executor);
  }
  co_return co_await std::move(function)();
}

template <typename T, typename Executor>
struct GiveAwaitable {
  boost::asio::awaitable<T, Executor> awaitable;
  boost::asio::awaitable<T, Executor> operator()() { return std::move(awaitable); }
};

template <typename Executor, typename Function, typename Token>
auto Spawn(const Executor& executor, Function function, Token&& token, const TaskName& name) {
  using Awaitable = std::invoke_result_t<Function&>;
  using AwaitableExecutor = typename Awaitable::executor_type;
  TaskRef task = TaskRef::Make(name);
  auto run = [owner = TaskOwner(task), function = std::move(function)]() mutable {
    return RunAsTask<typename Awaitable::value_type, AwaitableExecutor>(std::move(owner),
                                                                        std::move(function));
  };
  if constexpr (std::is_same_v<AwaitableExecutor, boost::asio::any_io_executor>) {
    return boost::asio::co_spawn(WithTask(task, executor), std::move(run),
                                 std::forward<Token>(token));
  } else {
    // An executor of a fixed type cannot be adapted: a task without pieces.
    return boost::asio::co_spawn(executor, std::move(run), std::forward<Token>(token));
  }
}

template <typename Where>
decltype(auto) ExecutorOf(Where& where) {
  if constexpr (std::is_convertible_v<Where&, boost::asio::execution_context&>) {
    return where.get_executor();
  } else {
    return (where);
  }
}

}  // namespace detail

/// As boost::asio::co_spawn(); `where` is an executor or an execution context. The coroutine is
/// an AsyncTask from this call to its end, with the labels and the connection of the caller,
/// called `name`, or else after the function that this call stands in.
template <typename Where, typename T, typename Executor, typename Token>
auto co_spawn(Where&& where, boost::asio::awaitable<T, Executor> awaitable, Token&& token,
              const TaskName& name = TaskName::OfCaller()) {
  return detail::Spawn(detail::ExecutorOf(where),
                       detail::GiveAwaitable<T, Executor>{std::move(awaitable)},
                       std::forward<Token>(token), name);
}

/// Of a function that returns an awaitable.
template <typename Where, typename Function, typename Token>
requires std::is_invocable_v < std::decay_t<Function>
& > auto co_spawn(Where&& where, Function&& function, Token&& token,
                  const TaskName& name = TaskName::OfCaller()) {
  return detail::Spawn(detail::ExecutorOf(where),
                       std::decay_t<Function>(std::forward<Function>(function)),
                       std::forward<Token>(token), name);
}

}  // namespace heldby::asio
