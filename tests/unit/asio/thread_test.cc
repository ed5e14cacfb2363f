// Threads and jobs of a pool: for whom they work, and what they are called.
#include "heldby/thread.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

#include "heldby/labels.h"
#include "heldby/propagate.h"
#include "tests/unit/asio/registry_view.h"

namespace heldby {
namespace {

TEST(StartThread, ItsTaskHasANameAParentAConnectionAndLabels) {
  const Connection connection(-1, Direction::kInbound);
  const Task outer("request", {.connection = connection.id()});
  const ScopedLabels labels({{"route", "/thread"}});
  std::promise<void> looked;
  TaskInfo info;
  std::thread thread = StartThread(
      "helper", [&](int argument) { info = argument == 3 ? TaskNamed("helper") : info; }, 3);
  thread.join();
  EXPECT_EQ(info.parent, outer.id());
  EXPECT_EQ(info.connection, connection.id());
  ASSERT_EQ(info.labels.size(), 1u);
  EXPECT_EQ(info.labels[0].second, "/thread");
  EXPECT_TRUE(info.file.ends_with("thread_test.cc")) << info.file;
  EXPECT_NE(info.function.find("TestBody"), std::string::npos) << info.function;
  EXPECT_TRUE(info.running);
  EXPECT_EQ(TaskNamed("helper").id, TaskId::kNone);
}

TEST(StartThread, AJthreadIsStoppedAsEver) {
  std::promise<bool> stopped;
  {
    std::promise<void> runs;
    const std::jthread thread = StartThread<std::jthread>(
        "stoppable",
        [&](const std::stop_token& stop, const std::unique_ptr<int>& owned) {
          runs.set_value();
          while (!stop.stop_requested()) std::this_thread::yield();
          stopped.set_value(*owned == 5);
        },
        std::make_unique<int>(5));
    runs.get_future().wait();
    EXPECT_EQ(TaskNamed("stoppable").running, true);
  }
  EXPECT_TRUE(stopped.get_future().get());
  const std::jthread plain = StartThread<std::jthread>("plain", [] {});
}

TEST(Job, IsQueuedThenRunningThenGone) {
  std::deque<std::function<void()>> queue;
  const Task outer("request");
  TaskInfo running;
  queue.emplace_back(Job("thumbnail", [&] { running = TaskNamed("thumbnail"); }));
  const TaskInfo queued = TaskNamed("thumbnail");
  EXPECT_EQ(queued.state, "queued");
  EXPECT_FALSE(queued.running);
  EXPECT_EQ(queued.parent, outer.id());
  EXPECT_TRUE(queued.file.ends_with("thread_test.cc")) << queued.file;
  std::thread([&] {
    const TaskId before = CurrentTask();  // of who made the thread
    queue.front()();
    EXPECT_EQ(CurrentTask(), before);
  }).join();
  EXPECT_EQ(running.id, queued.id);
  EXPECT_TRUE(running.running);
  EXPECT_EQ(running.state, "");
  EXPECT_EQ(TaskNamed("thumbnail").id, TaskId::kNone) << "over, though still in the queue";
}

TEST(Job, OneThatIsThrownAwayOrThrowsIsGone) {
  {
    const std::function<void()> dropped = Job("dropped", [] {});
    EXPECT_NE(TaskNamed("dropped").id, TaskId::kNone);
  }
  EXPECT_EQ(TaskNamed("dropped").id, TaskId::kNone);
  const std::function<int(int)> throws =
      Job("throws", [](int value) -> int { throw std::runtime_error(std::to_string(value)); });
  EXPECT_THROW(throws(1), std::runtime_error);
  EXPECT_EQ(TaskNamed("throws").id, TaskId::kNone);
  EXPECT_EQ(CurrentTask(), TaskId::kNone);
}

TEST(Propagate, TakesAnyCallableWithArgumentsAndAResult) {
  const Connection connection(-1, Direction::kInbound);
  TaskId outer_id{};
  std::packaged_task<int(int)> job;
  {
    const Task outer("request", {.connection = connection.id()});
    outer_id = outer.id();
    job = std::packaged_task<int(int)>(
        Propagate([owned = std::make_unique<int>(40), &connection, outer_id](int more) {
          EXPECT_EQ(Holder().task(), outer_id);
          EXPECT_EQ(Holder().connection(), connection.id());
          return *owned + more;
        }));
  }
  std::thread([&] { job(2); }).join();
  EXPECT_EQ(job.get_future().get(), 42);
  int value = 1;
  auto refers = Propagate([](int& to) -> int& { return to; });
  EXPECT_EQ(&refers(value), &value);
  const std::function<void()> as_before = Propagate(std::function<void()>([] {}));
  as_before();
}

}  // namespace
}  // namespace heldby
