// A coroutine type of one's own, as a service would write it, with heldby/coroutine.h in its
// promise; and what the registry says of it.
#include "heldby/coroutine.h"

#include <gtest/gtest.h>

#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/asio/registry_view.h"

namespace heldby {
namespace {

// The example begins.

/// A lazy coroutine that is awaited once, and goes to its awaiter and back without a scheduler.
template <typename T>
class Task {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;

  struct ResumesAwaiter {
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(Handle ended) noexcept {
      const auto awaiter = ended.promise().awaiter;
      return awaiter ? awaiter : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };

  struct promise_type : TracedPromise {
    Task get_return_object() { return Task(Handle::from_promise(*this)); }
    auto initial_suspend() { return Traced(std::suspend_always()); }
    auto final_suspend() noexcept { return TracedFinal(ResumesAwaiter()); }
    void return_value(T result) { value = std::move(result); }
    void unhandled_exception() { error = std::current_exception(); }

    std::coroutine_handle<> awaiter;
    std::optional<T> value;
    std::exception_ptr error;
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Task() {
    if (handle_) handle_.destroy();
  }
  Handle handle() const { return handle_; }

  bool await_ready() const { return false; }
  template <typename Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> awaiter) {
    handle_.promise().AwaitedBy(awaiter.promise());
    handle_.promise().awaiter = awaiter;
    return handle_;
  }
  T await_resume() {
    if (handle_.promise().error) std::rethrow_exception(handle_.promise().error);
    return std::move(*handle_.promise().value);
  }

 private:
  explicit Task(Handle handle) : handle_(handle) {}

  Handle handle_;
};

class Scheduler {
 public:
  void Spawn(Task<int> task, const TaskName& name = TaskName::OfCaller()) {
    task.handle().promise().BeginTask(name);
    ready_.push_back(task.handle());
    tasks_.push_back(std::move(task));
  }
  struct Sleeps {
    static constexpr const char* kWait = "sleep";
    Scheduler* scheduler;
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<> handle) { scheduler->asleep_.push_back(handle); }
    void await_resume() {}
  };
  /// Awaited: until the next Wake().
  auto Sleep() { return Sleeps{this}; }
  void Wake() { ready_.insert(ready_.end(), asleep_.begin(), asleep_.end()), asleep_.clear(); }
  void Run() {
    while (!ready_.empty()) {
      const auto next = ready_.front();
      ready_.pop_front();
      next.resume();
    }
  }

 private:
  std::deque<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> asleep_;
  std::vector<Task<int>> tasks_;
};

// The example ends.

Task<int> ReadSome(Scheduler& scheduler) {
  co_await scheduler.Sleep();
  co_return 1;
}

Task<int> ReadLoop(Scheduler& scheduler) {
  int sum = 0;
  for (int i = 0; i < 2; ++i) sum += co_await ReadSome(scheduler);
  co_await scheduler.Sleep();
  co_return sum;
}

TEST(TracedCoroutine, ItsTaskIsQueuedRunsAndWaitsByName) {
  Scheduler scheduler;
  scheduler.Spawn(ReadLoop(scheduler), "reader");
  EXPECT_EQ(TaskNamed("reader").state, "queued");
  EXPECT_TRUE(TaskNamed("reader").file.ends_with("coroutine_test.cc"));
  scheduler.Run();
  const TaskInfo waits = TaskNamed("reader");
  EXPECT_EQ(waits.state, "sleep");
  EXPECT_FALSE(waits.running);
  EXPECT_NE(waits.state_at.find("coroutine_test.cc:"), std::string::npos) << waits.state_at;
  for (int i = 0; i < 3; ++i) scheduler.Wake(), scheduler.Run();
  EXPECT_EQ(TaskNamed("reader").id, TaskId::kNone);
}

TEST(TracedCoroutine, TheChainIsWhoAwaitsWhomAndWhere) {
  Scheduler scheduler;
  scheduler.Spawn(ReadLoop(scheduler), "reader");
  scheduler.Run();
  for (int i = 0; i < 2; ++i) {
    const auto chain = ChainOf(TaskNamed("reader").id);
    ASSERT_TRUE(IsChain(chain, {"ReadSome", "ReadLoop"}));
    EXPECT_TRUE(chain[0].at.starts_with("ReadSome:")) << TextOf(chain);
    EXPECT_TRUE(chain[1].at.starts_with("ReadLoop:")) << TextOf(chain);
    scheduler.Wake();
    scheduler.Run();
  }
  EXPECT_TRUE(IsChain(ChainOf(TaskNamed("reader").id), {"ReadLoop"}));
}

TEST(TracedCoroutine, ItIsCurrentBetweenItsWaitsOnWhateverThread) {
  Scheduler scheduler;
  std::vector<TaskId> seen;
  const auto look = [](Scheduler& on, std::vector<TaskId>& ids) -> Task<int> {
    ids.push_back(CurrentTask());
    co_await ReadSome(on);
    ids.push_back(CurrentTask());
    co_return 0;
  };
  scheduler.Spawn(look(scheduler, seen), "looks");
  const TaskId id = TaskNamed("looks").id;
  scheduler.Run();
  EXPECT_EQ(CurrentTask(), TaskId::kNone);
  scheduler.Wake();
  std::thread([&] { scheduler.Run(); }).join();
  EXPECT_EQ(seen, (std::vector<TaskId>{id, id}));
  EXPECT_TRUE(Tasks().empty());
}

TEST(TracedCoroutine, OneThatIsDestroyedWhileItWaitsLeavesNothing) {
  {
    Scheduler scheduler;
    scheduler.Spawn(ReadLoop(scheduler), "destroyed");
    scheduler.Run();
    EXPECT_FALSE(ChainOf(TaskNamed("destroyed").id).empty());
  }
  EXPECT_TRUE(Tasks().empty());
}

struct Throws {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<>) { throw std::runtime_error("cannot wait"); }
  void await_resume() {}
};
struct DoesNotSuspend {
  bool await_ready() { return false; }
  bool await_suspend(std::coroutine_handle<>) { return false; }
  int await_resume() { return 5; }
};
struct Converts {
  DoesNotSuspend operator co_await() const { return {}; }
};

TEST(TracedCoroutine, AwaitersThatThrowOrDoNotSuspendStayWithinTheTask) {
  Scheduler scheduler;
  int result = 0;
  const auto body = [](int* to) -> Task<int> {
    const TaskId mine = CurrentTask();
    try {
      co_await Throws();
    } catch (const std::runtime_error&) {
      *to = CurrentTask() == mine ? 1 : 0;
    }
    *to += co_await DoesNotSuspend() + co_await Converts();
    *to += CurrentTask() == mine ? 100 : 0;
    co_return 0;
  };
  scheduler.Spawn(body(&result));
  EXPECT_EQ(Tasks()[0].name, "TestBody") << "called after who spawned it";
  scheduler.Run();
  EXPECT_EQ(result, 111);
}

TEST(TracedCoroutine, WithoutATaskItIsACoroutineAsAnyOther) {
  Scheduler scheduler;
  Task<int> plain = ReadLoop(scheduler);
  plain.handle().resume();
  EXPECT_TRUE(Tasks().empty());
  for (int i = 0; i < 3; ++i) scheduler.Wake(), scheduler.Run();
  EXPECT_EQ(plain.await_resume(), 2);
}

Task<int> Leaf() { co_return 1; }
Task<int> Sum(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await Leaf();
  co_return sum;
}

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr int kMany = 1'000'000;
#else
constexpr int kMany = 1000;  // g++ transfers by a tail call, which these builds do not make
#endif

TEST(TracedCoroutine, AwaitingAMillionTimesTakesNoStack) {
  Task<int> sum = Sum(kMany);
  sum.handle().promise().BeginTask("sum");
  sum.handle().resume();
  EXPECT_EQ(sum.await_resume(), kMany);
}

}  // namespace
}  // namespace heldby
