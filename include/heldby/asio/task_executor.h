// heldby/asio/task_executor.h - an executor whose functions run as pieces of a task.
//
// Threads  any.
// Signals  unsafe.
// Self     as heldby/task.h.
// Units    none.
// Source   boost/asio/strand.hpp, which adapts an executor in the same way.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <type_traits>
#include <utility>

#include "heldby/asio/coroutine_task.h"

namespace heldby::asio::detail {

/// What a TaskExecutor hands to the executor beneath.
template <typename Function>
struct PieceOfTask {
  TaskRef task;
  Function function;

  void operator()() {
    if (CurrentTask() == task->id() && task->id() != TaskId::kNone) {
      std::move(function)();  // dispatched from a piece of it
      return;
    }
    const AsyncTask::Piece piece(task->id());
    struct Restore {
      TaskId before;
      ~Restore() { running_coroutine = before; }
    } const restore{std::exchange(running_coroutine, task->id())};
    task->Resumed();
    std::move(function)();
  }
};

/// Any executor, kept apart, so that a TaskExecutor of it is small: any_io_executor keeps a
/// small one in place, which coroutine_task.h relies on, and allocates for a large one.
class SharedExecutor {
 public:
  explicit SharedExecutor(boost::asio::any_io_executor executor)
      : executor_(std::make_shared<const boost::asio::any_io_executor>(std::move(executor))) {}
  const boost::asio::any_io_executor& get() const { return *executor_; }
  bool operator==(const SharedExecutor& other) const { return get() == other.get(); }

 private:
  std::shared_ptr<const boost::asio::any_io_executor> executor_;
};

inline const boost::asio::any_io_executor& Beneath(const SharedExecutor& shared) {
  return shared.get();
}
template <typename Executor>
const Executor& Beneath(const Executor& executor) {
  return executor;
}

template <typename Inner>
class TaskExecutor {
  using Executor = std::decay_t<decltype(Beneath(std::declval<const Inner&>()))>;
  template <typename Property>
  static constexpr bool kMayBeAsked =
      !std::is_convertible_v<Property, boost::asio::execution::blocking_t::always_t>;

 public:
  TaskExecutor(TaskRef task, Inner inner) : task_(std::move(task)), inner_(std::move(inner)) {}
  TaskExecutor(const TaskExecutor& other) noexcept : task_(other.task_), inner_(other.inner_) {
    if (task_) task_->Copied(&other);
  }
  TaskExecutor(TaskExecutor&& other) noexcept = default;
  TaskExecutor& operator=(const TaskExecutor&) = default;
  TaskExecutor& operator=(TaskExecutor&&) noexcept = default;
  ~TaskExecutor() = default;

  const Executor& beneath() const { return Beneath(inner_); }
  bool operator==(const TaskExecutor& other) const noexcept {
    return task_ == other.task_ && inner_ == other.inner_;
  }
  bool operator!=(const TaskExecutor& other) const noexcept { return !(*this == other); }

  template <typename Property>
  requires(boost::asio::can_query<const Executor&, Property>::value) decltype(auto)
      query(const Property& property) const {
    return boost::asio::query(beneath(), property);
  }
  template <typename Property>
  requires(kMayBeAsked<Property>&& boost::asio::can_require<
           const Executor&, Property>::value) auto require(const Property& property) const {
    return With(boost::asio::require(beneath(), property));
  }
  template <typename Property>
  requires(kMayBeAsked<Property>&& boost::asio::can_prefer<
           const Executor&, Property>::value) auto prefer(const Property& property) const {
    return With(boost::asio::prefer(beneath(), property));
  }

  template <typename Function>
  void execute(Function&& function) const {
    beneath().execute(
        PieceOfTask<std::decay_t<Function>>{task_, std::forward<Function>(function)});
  }

 private:
  template <typename Other>
  TaskExecutor<Other> With(Other executor) const {
    return {task_, std::move(executor)};
  }

  TaskRef task_;
  Inner inner_;
};

/// `executor`, or the one beneath it if it is that of another task: a coroutine that starts one
/// on its own executor is not charged for what that does, and a chain of them does not grow.
inline boost::asio::any_io_executor WithoutTask(const boost::asio::any_io_executor& executor) {
  using boost::asio::io_context;
  using boost::asio::thread_pool;
  if (auto* of_task = executor.target<TaskExecutor<io_context::executor_type>>()) {
    return of_task->beneath();
  }
  if (auto* of_task = executor.target<TaskExecutor<thread_pool::executor_type>>()) {
    return of_task->beneath();
  }
  if (auto* of_task = executor.target<TaskExecutor<SharedExecutor>>()) {
    return of_task->beneath();
  }
  return executor;
}

inline boost::asio::any_io_executor WithTask(const TaskRef& task,
                                             const boost::asio::any_io_executor& any) {
  using boost::asio::io_context;
  using boost::asio::thread_pool;
  const boost::asio::any_io_executor executor = WithoutTask(any);
  if (auto* io = executor.target<io_context::executor_type>()) {
    return TaskExecutor<io_context::executor_type>(task, *io);
  }
  if (auto* pool = executor.target<thread_pool::executor_type>()) {
    return TaskExecutor<thread_pool::executor_type>(task, *pool);
  }
  return TaskExecutor<SharedExecutor>(task, SharedExecutor(executor));
}

}  // namespace heldby::asio::detail
