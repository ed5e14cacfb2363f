// heldby/asio/post.h - post(), dispatch() and defer() whose function is a task.
//
// Threads  as those of boost::asio.
// Signals  unsafe.
// Self     as heldby/task.h.
// Allocates  as those of boost::asio, 4 bytes more.
// Units    none.
// Source   docs/holders.md.
#pragma once

#include <boost/asio/defer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/post.hpp>
#include <type_traits>
#include <utility>

#include "heldby/asio/wait.h"
#include "heldby/task.h"

namespace heldby::asio {
namespace detail {

template <typename Handler>
struct JobHandler {
  AsyncTask task;
  Handler handler;

  void operator()() {
    // Of its own: the function may destroy what holds this object.
    const AsyncTask mine = std::move(task);
    const AsyncTask::Piece piece(mine);
    Park(mine.id(), PlaceId::kNone);
    std::move(handler)();
  }
};

template <typename Handler>
JobHandler<std::decay_t<Handler>> MakeJob(Handler&& handler, const TaskName& name) {
  AsyncTask task(name.text, {}, name.place);
  task.SetState("queued", name.place);
  return {std::move(task), std::forward<Handler>(handler)};
}

template <typename Where>
concept ExecutorOrContext = std::is_convertible_v<Where&, boost::asio::execution_context&> ||
    boost::asio::is_executor<std::remove_cvref_t<Where>>::value ||
    boost::asio::execution::is_executor<std::remove_cvref_t<Where>>::value;

template <typename Token>
concept JobFunction = std::is_invocable_v < std::decay_t<Token>
& > ;

}  // namespace detail

/// As boost::asio::post(): a `token` that is a function is an AsyncTask from this call to its
/// end, "queued" until it runs, for whom the caller works; called `name`, or else after the
/// function that this call stands in. Any other token is Asio's own affair.
template <detail::ExecutorOrContext Where, typename Token>
auto post(Where&& where, Token&& token, const TaskName& name = TaskName::OfCaller()) {
  if constexpr (detail::JobFunction<Token>) {
    boost::asio::post(where, detail::MakeJob(std::forward<Token>(token), name));
  } else {
    return boost::asio::post(where, std::forward<Token>(token));
  }
}
template <detail::JobFunction Token>
auto post(Token&& token, const TaskName& name = TaskName::OfCaller()) {
  boost::asio::post(detail::MakeJob(std::forward<Token>(token), name));
}

/// As boost::asio::dispatch(), and otherwise as post().
template <detail::ExecutorOrContext Where, typename Token>
auto dispatch(Where&& where, Token&& token, const TaskName& name = TaskName::OfCaller()) {
  if constexpr (detail::JobFunction<Token>) {
    boost::asio::dispatch(where, detail::MakeJob(std::forward<Token>(token), name));
  } else {
    return boost::asio::dispatch(where, std::forward<Token>(token));
  }
}

/// As boost::asio::defer(), and otherwise as post().
template <detail::ExecutorOrContext Where, typename Token>
auto defer(Where&& where, Token&& token, const TaskName& name = TaskName::OfCaller()) {
  if constexpr (detail::JobFunction<Token>) {
    boost::asio::defer(where, detail::MakeJob(std::forward<Token>(token), name));
  } else {
    return boost::asio::defer(where, std::forward<Token>(token));
  }
}

}  // namespace heldby::asio

template <template <typename, typename> class Associator, typename Handler, typename Default>
struct boost::asio::associator<Associator, heldby::asio::detail::JobHandler<Handler>, Default>
    : heldby::asio::detail::AssociatedAsInner<
          Associator, heldby::asio::detail::JobHandler<Handler>, Default> {};
