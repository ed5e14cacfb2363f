// Tests that leave something behind. listener_test.cc knows each by its name.
#include <future>
#include <stdexcept>

#include "heldby/coroutine.h"
#include "heldby/testing.h"
#include "heldby/thread.h"
#include "leaving.h"

namespace {

TEST(Leaves, AConnection) { service::OpenUpstream(); }

TEST(Leaves, ATask) { service::QueueJob(); }

TEST(Leaves, FiveTasksOfOneKind) {
  for (int i = 0; i < 5; ++i) service::QueueJob();
}

TEST(Leaves, LabelledBytes) { service::FillRouteCache(30'000); }

TEST(Leaves, BytesOfATaskThatEnded) {
  const heldby::Task task("import");
  service::FillBuffer(20'000);
}

TEST(Leaves, BytesOfAConnectionThatEnded) {
  const heldby::Connection connection(-1, heldby::Direction::kInbound);
  const heldby::Holder before;
  heldby::AsyncTask task("reader", {.connection = connection.id()});
  const heldby::AsyncTask::Piece piece(task);
  service::FillBuffer(10'000);
}

TEST(Leaves, AThreadThatIsATask) {
  std::promise<void> begins;
  heldby::StartThread("flusher", [&begins] {
    begins.set_value();
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }).detach();
  begins.get_future().wait();
}

TEST(Leaves, AConnectionAndFails) {
  service::OpenUpstream();
  FAIL() << "for a reason of its own";
}

TEST(Leaves, AConnectionAndThrows) {
  service::OpenUpstream();
  throw std::runtime_error("a reason of its own");
}

TEST(Leaves, AConnectionAndSkips) {
  service::OpenUpstream();
  GTEST_SKIP() << "not here";
}

TEST(Leaves, WhatItsAllowanceDoesNotName) {
  const heldby::testing::AllowLeftovers allow({"another*"});
  service::QueueJob();
}

// The child has a registry of its own, and says nothing.
TEST(LeavesDeathTest, AConnectionBesideADeath) {
  testing::GTEST_FLAG(death_test_style) = "fast";
  service::OpenUpstream();
  EXPECT_DEATH(std::abort(), "");
}

TEST(LeavesDeathTest, AConnectionBesideADeathInANewProcess) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  service::OpenUpstream();
  EXPECT_DEATH(
      {
        service::QueueJob();
        std::abort();
      },
      "");
}

class LeavesInSetUp : public testing::Test {
 protected:
  void SetUp() override { service::OpenUpstream(); }
};
TEST_F(LeavesInSetUp, AConnection) {}

template <typename Count>
class LeavesTyped : public testing::Test {};
using Counts = testing::Types<std::integral_constant<int, 0>, std::integral_constant<int, 2>>;
TYPED_TEST_SUITE(LeavesTyped, Counts);
TYPED_TEST(LeavesTyped, SomeTasks) {
  for (int i = 0; i < TypeParam::value; ++i) service::QueueJob();
}

class LeavesByParameter : public testing::TestWithParam<int> {};
TEST_P(LeavesByParameter, SomeTasks) {
  for (int i = 0; i < GetParam(); ++i) service::QueueJob();
}
INSTANTIATE_TEST_SUITE_P(Numbers, LeavesByParameter, testing::Values(0, 3));

TEST(LeavesNothing, OfMoreConnectionsThanThereAreRecords) {
  std::deque<heldby::Connection> connections;
  for (int i = 0; i < 140'000; ++i) connections.emplace_back(-1, heldby::Direction::kInbound);
}

TEST(LeavesADistance, Coarse) { EXPECT_TRUE(heldby::SetHeapSampleBytes(524288).ok()); }
TEST(LeavesADistance, ToTheNext) {}

struct Detached {
  struct promise_type : heldby::TracedPromise {
    Detached get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    auto initial_suspend() { return Traced(std::suspend_always()); }
    auto final_suspend() noexcept { return TracedFinal(std::suspend_always()); }
    void return_void() {}
    void unhandled_exception() {}
  };
  std::coroutine_handle<promise_type> coroutine;
};
Detached WaitForEver() { co_await std::suspend_always(); }
TEST(Leaves, ACoroutineThatWaits) {
  const Detached waits = WaitForEver();
  waits.coroutine.promise().BeginTask("poller");
  waits.coroutine.resume();
}

}  // namespace
