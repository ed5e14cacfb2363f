// Coroutines of Boost.Asio as tasks: what the registry says of them while they wait, and that
// they do what they do without us.
#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>

#include "heldby/asio.h"
#include "heldby/labels.h"
#include "tests/unit/asio/registry_view.h"

namespace heldby {
namespace {

namespace net = boost::asio;
using net::awaitable;
using net::use_awaitable;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;

awaitable<int> ReadSome(net::steady_timer& timer) {
  co_await timer.async_wait(net::as_tuple(use_awaitable));
  co_return 7;
}

awaitable<int> ReadLoop(net::steady_timer& timer) {
  int sum = 0;
  for (int i = 0; i < 3; ++i) sum += co_await ReadSome(timer);
  co_await timer.async_wait(net::as_tuple(net::deferred));
  co_return sum;
}

class AsioSpawn : public testing::Test {
 protected:
  ~AsioSpawn() override { EXPECT_TRUE(Tasks().empty()) << Tasks()[0].name; }

  void Poll() {
    io.restart();
    io.poll();
  }
  void WakeUp() {
    timer.cancel();
    Poll();
  }

  net::io_context io;
  net::steady_timer timer{io, 1h};
};

TEST_F(AsioSpawn, ATaskIsQueuedUntilItsCoroutineBegins) {
  asio::co_spawn(io, ReadLoop(timer), net::detached, "reader");
  const TaskInfo queued = TaskNamed("reader");
  EXPECT_EQ(queued.state, "queued");
  EXPECT_NE(queued.function.find("TestBody"), std::string::npos) << queued.function;
  EXPECT_TRUE(queued.file.ends_with("spawn_test.cc")) << queued.file;
  EXPECT_TRUE(ChainOf(queued.id).empty());
  Poll();
  EXPECT_EQ(TaskNamed("reader").id, queued.id);
  EXPECT_EQ(TaskNamed("reader").state, "waiting");
  EXPECT_FALSE(TaskNamed("reader").running);
  for (int i = 0; i < 4; ++i) WakeUp();
  EXPECT_EQ(TaskNamed("reader").id, TaskId::kNone);
}

TEST_F(AsioSpawn, TheChainNamesTheCoroutinesThatWaitInnermostFirst) {
  asio::co_spawn(io, ReadLoop(timer), net::detached);
  Poll();
  ASSERT_EQ(Tasks().size(), 1u);
  EXPECT_EQ(Tasks()[0].name, "TestBody") << "called after who spawned it";
  const TaskId id = Tasks()[0].id;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(IsChain(ChainOf(id), {"ReadSome", "ReadLoop"}));
    WakeUp();
  }
  EXPECT_TRUE(IsChain(ChainOf(id), {"ReadLoop"})) << "it has come back from the inner one";
  WakeUp();
}

awaitable<void> Deep(int depth, net::steady_timer& timer) {
  if (depth == 0) {
    co_await timer.async_wait(net::as_tuple(use_awaitable));
  } else {
    co_await Deep(depth - 1, timer);
  }
}
awaitable<void> Outermost(net::steady_timer& timer) { co_await Deep(40, timer); }

TEST_F(AsioSpawn, AVeryDeepChainKeepsItsInnermostAndItsOutermost) {
  asio::co_spawn(io, Outermost(timer), net::detached);
  Poll();
  const auto chain = ChainOf(Tasks()[0].id);
  ASSERT_EQ(chain.size(), 16u);
  EXPECT_NE(chain[1].function.find("Deep("), std::string::npos) << TextOf(chain);
  EXPECT_NE(chain[15].function.find("Outermost("), std::string::npos) << TextOf(chain);
  WakeUp();
}

TEST_F(AsioSpawn, APieceIsOnTheThreadThatRunsItAndEndsWithEachWait) {
  TaskId within{};
  const ScopedLabels labels({{"route", "/asio"}});
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        within = CurrentTask();
        EXPECT_TRUE(TaskNamed("lambda").running);
        co_await ReadSome(timer);
        EXPECT_EQ(CurrentTask(), within);
      },
      net::detached, "lambda");
  Poll();
  EXPECT_EQ(CurrentTask(), TaskId::kNone);
  EXPECT_EQ(TaskNamed("lambda").id, within);
  ASSERT_EQ(TaskNamed("lambda").labels.size(), 1u);
  EXPECT_EQ(TaskNamed("lambda").labels[0].second, "/asio");
  WakeUp();
}

TEST_F(AsioSpawn, AStrandAndAnyOtherExecutorIsServedAlike) {
  asio::co_spawn(net::make_strand(io), ReadLoop(timer), net::detached, "strand");
  asio::co_spawn(net::any_io_executor(net::make_strand(io)), ReadLoop(timer), net::detached,
                 "any");
  Poll();
  for (const char* name : {"strand", "any"}) {
    EXPECT_TRUE(IsChain(ChainOf(TaskNamed(name).id), {"ReadSome", "ReadLoop"})) << name;
  }
  for (int i = 0; i < 4; ++i) WakeUp();
}

TEST_F(AsioSpawn, ACoroutineMayStartOthersOnItsExecutorWithoutEnd) {
  // Each would be adapted once more if the adaptor were not taken off.
  struct Chain {
    static awaitable<void> Next(int left) {
      co_await net::post(use_awaitable);  // co_spawn would run the next one within this one
      if (left == 0) co_return;
      asio::co_spawn(co_await net::this_coro::executor, Next(left - 1), net::detached, "next");
    }
  };
  asio::co_spawn(io, Chain::Next(10'000), net::detached, "next");
  Poll();
}

TEST_F(AsioSpawn, ASpawnedChildIsATaskOfItsOwnWithItsParent) {
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        asio::co_spawn(co_await net::this_coro::executor, ReadLoop(timer), net::detached,
                       "child");
        co_await ReadSome(timer);
      },
      net::detached, "parent");
  Poll();
  EXPECT_EQ(TaskNamed("child").parent, TaskNamed("parent").id);
  EXPECT_TRUE(IsChain(ChainOf(TaskNamed("child").id), {"ReadSome", "ReadLoop"}));
  for (int i = 0; i < 4; ++i) WakeUp();
}

TEST_F(AsioSpawn, AsiosOwnSpawnInsideIsPartOfTheTask) {
  TaskId within{};
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        net::co_spawn(
            co_await net::this_coro::executor,
            [&]() -> awaitable<void> {
              co_await ReadSome(timer);
              within = CurrentTask();
            },
            net::detached);
        co_await ReadLoop(timer);
      },
      net::detached, "outer");
  Poll();
  const TaskId outer = TaskNamed("outer").id;
  EXPECT_TRUE(IsChain(ChainOf(outer), {"ReadSome", "ReadLoop", "operator()"}));
  WakeUp();
  EXPECT_EQ(within, outer);
  for (int i = 0; i < 3; ++i) WakeUp();
}

awaitable<int> Wait(net::steady_timer& timer) {
  co_await timer.async_wait(use_awaitable);
  co_return 1;
}

TEST_F(AsioSpawn, BothSidesOfAnOperatorBelongToTheTask) {
  using namespace net::experimental::awaitable_operators;  // NOLINT: how Asio has it used
  std::string order;
  net::steady_timer soon(io, 1ms);
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        const auto either = co_await (Wait(timer) || Wait(soon));
        order += either.index() == 1 ? "second " : "first ";
        const auto [one, other] = co_await (ReadSome(timer) && ReadSome(timer));
        order += std::to_string(one + other);
      },
      net::detached, "operators");
  for (int i = 0; i < 1000 && order.empty(); ++i) io.run_one_for(20ms);
  Poll();
  EXPECT_EQ(Tasks().size(), 1u);
  EXPECT_FALSE(ChainOf(TaskNamed("operators").id).empty());
  WakeUp();
  EXPECT_EQ(order, "second 14");
}

TEST_F(AsioSpawn, ResultsThatOnlyMoveAndExceptionsComeThrough) {
  const auto moves = [](std::unique_ptr<int> value) -> awaitable<std::unique_ptr<int>> {
    co_return std::move(value);
  };
  auto moved = asio::co_spawn(io, moves(std::make_unique<int>(42)), net::use_future);
  auto thrown = asio::co_spawn(
      io,
      []() -> awaitable<int> {
        throw std::runtime_error("told");
        co_return 1;
      },
      net::use_future);
  Poll();
  EXPECT_EQ(*moved.get(), 42);
  EXPECT_THROW(thrown.get(), std::runtime_error);
}

TEST_F(AsioSpawn, CancellationReachesTheOperation) {
  net::cancellation_signal signal;
  std::exception_ptr error;
  asio::co_spawn(
      io, [&]() -> awaitable<void> { co_await timer.async_wait(use_awaitable); },
      net::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) { error = e; }));
  Poll();
  EXPECT_EQ(Tasks().size(), 1u);
  signal.emit(net::cancellation_type::all);
  Poll();
  EXPECT_THROW(std::rethrow_exception(error), boost::system::system_error);
}

TEST_F(AsioSpawn, ATaskThatNeverRanEndsWithWhatWasToRunIt) {
  {
    net::io_context never;
    asio::co_spawn(never, ReadLoop(timer), net::detached, "never");
    auto lazy = asio::co_spawn(never, ReadLoop(timer), net::deferred, "lazy");
    EXPECT_EQ(Tasks().size(), 2u);
  }
  EXPECT_TRUE(Tasks().empty());
}

TEST_F(AsioSpawn, ASuspendedCoroutineEndsWithItsContext) {
  {
    net::io_context context;
    net::steady_timer own(context, 1h);
    asio::co_spawn(context, ReadLoop(own), net::detached, "suspended");
    context.poll();
    EXPECT_EQ(TaskNamed("suspended").state, "waiting");
  }
  EXPECT_EQ(TaskNamed("suspended").id, TaskId::kNone);
}

TEST_F(AsioSpawn, AnExecutorMayOutliveItsTask) {
  std::unique_ptr<net::steady_timer> left;
  bool woken = false;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        left = std::make_unique<net::steady_timer>(co_await net::this_coro::executor, 0ms);
      },
      net::detached, "gone");
  Poll();
  EXPECT_TRUE(Tasks().empty());
  left->async_wait([&](boost::system::error_code) { woken = CurrentTask() == TaskId::kNone; });
  io.restart();
  io.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(woken);
}

TEST_F(AsioSpawn, AnAwaitableOfAFixedExecutorIsStillATask) {
  using Fixed = net::awaitable<void, net::io_context::executor_type>;
  using Timer = net::steady_timer::rebind_executor<net::io_context::executor_type>::other;
  Timer own(io, 1h);
  asio::co_spawn(
      io,
      [&]() -> Fixed {
        co_await own.async_wait(
            net::as_tuple(net::use_awaitable_t<net::io_context::executor_type>()));
      },
      net::detached, "fixed");
  Poll();
  EXPECT_EQ(TaskNamed("fixed").state, "queued");
  own.cancel();
  Poll();
}

TEST(AsioSpawnOnAPool, TasksThatHopBetweenThreadsStayWhole) {
  constexpr int kTasks = 100;
  constexpr int kHops = 200;
  net::thread_pool pool(4);
  std::vector<std::future<int>> results;
  for (int i = 0; i < kTasks; ++i) {
    results.push_back(asio::co_spawn(
        pool,
        [&]() -> awaitable<int> {
          const TaskId mine = CurrentTask();
          int right = 0;
          net::steady_timer hop(co_await net::this_coro::executor);
          for (int j = 0; j < kHops; ++j) {
            if (j % 2 == 0) {
              co_await net::post(pool, use_awaitable);
            } else {
              hop.expires_after(std::chrono::microseconds(1));
              co_await hop.async_wait(use_awaitable);
            }
            right += CurrentTask() == mine;
          }
          co_return right;
        },
        net::use_future, "hopper"));
  }
  for (auto& result : results) {
    while (result.wait_for(1ms) != std::future_status::ready) Tasks();  // read meanwhile
    EXPECT_EQ(result.get(), kHops);
  }
  pool.join();
  EXPECT_TRUE(Tasks().empty());
}

}  // namespace
}  // namespace heldby
