// heldby/thread.h - threads and jobs that work for whom they were made.
//
// Threads  StartThread() and Job(): any.
// Signals  unsafe.
// Self     as heldby/task.h.
// Allocates  Job(): one block, which holds the function.
// Units    none.
// Bounds   those of heldby/task.h.
// Source   docs/holders.md.
//
//   std::jthread flusher = heldby::StartThread<std::jthread>("flusher", &Cache::Flush, &cache);
//   pool.Submit(heldby::Job("thumbnail", [image] { Shrink(image); }));
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>

#include "heldby/propagate.h"
#include "heldby/self.h"
#include "heldby/task.h"

namespace heldby {

/// A std::thread, or as asked for a std::jthread (whose stop_token a function gets that takes
/// one first), that runs `function(arguments...)` as a Task of this name, with the connection
/// and the labels of the caller, whose task is its parent.
template <typename Thread = std::thread, typename Function, typename... Arguments>
[[nodiscard]] Thread StartThread(const TaskName& name, Function&& function,
                                 Arguments&&... arguments) {
  const auto run = [name, holder = Holder()](auto&& call, auto&&... with) {
    const Holder::Scope scope(holder);
    const Task task(name.text, {}, name.place);
    std::invoke(std::forward<decltype(call)>(call), std::forward<decltype(with)>(with)...);
  };
  if constexpr (std::is_same_v<Thread, std::jthread>) {
    return Thread(
        [run](const std::stop_token& stop, auto call, auto... with) {
          if constexpr (std::is_invocable_v<decltype(call), std::stop_token,
                                            decltype(with)...>) {
            run(std::move(call), std::stop_token(stop), std::move(with)...);
          } else {
            run(std::move(call), std::move(with)...);
          }
        },
        std::forward<Function>(function), std::forward<Arguments>(arguments)...);
  } else {
    return Thread(run, std::forward<Function>(function), std::forward<Arguments>(arguments)...);
  }
}

/// `function` for a pool's queue, as an AsyncTask from here to its end: "queued" until it is
/// called, once, with the connection and the labels of here. It can be copied, as a queue of
/// std::function demands; copies are the same job.
template <typename Function>
[[nodiscard]] auto Job(const TaskName& name, Function&& function) {
  struct State {
    AsyncTask task;
    std::decay_t<Function> function;
  };
  std::shared_ptr<State> state;
  {
    const UnsampledScope unsampled;
    state = std::make_shared<State>(
        State{AsyncTask(name.text, {}, name.place), std::forward<Function>(function)});
  }
  state->task.SetState("queued", name.place);
  return [state =
              std::move(state)](auto&&... arguments) -> decltype(auto) requires std::invocable <
                                                            std::decay_t<Function>
  &, decltype(arguments)... > {
    struct Ends {
      AsyncTask* task;
      ~Ends() { task->End(); }
    } const ends{&state->task};
    const AsyncTask::Piece piece(state->task);
    Park(state->task.id(), PlaceId::kNone);
    return std::invoke(state->function, std::forward<decltype(arguments)>(arguments)...);
  };
}

}  // namespace heldby
