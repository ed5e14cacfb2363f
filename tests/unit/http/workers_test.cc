#include "exporters/http/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

namespace heldby::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(StartThread, AnEscapingExceptionEndsTheThreadAlone) {
  const auto thread = StartThread("test", [] { throw std::runtime_error("lost"); });
  ASSERT_TRUE(thread);
  EXPECT_EQ(::pthread_join(*thread, nullptr), 0);
}

TEST(Workers, APlaceIsFreeBeforeItsJobIsReportedDone) {
  Workers workers(1);
  for (int i = 0; i < 200; ++i) {
    std::atomic<bool> done{false};
    ASSERT_TRUE(workers.TryRun([] {}, [&] { done = true; })) << i;
    while (!done) std::this_thread::yield();
  }
  workers.JoinUntil(steady_clock::now() + std::chrono::seconds(2));
}

TEST(Workers, RefusesMoreThanItsLimit) {
  Workers workers(2);
  std::atomic<bool> go{false};
  const auto wait = [&] {
    while (!go) std::this_thread::sleep_for(milliseconds(1));
  };
  EXPECT_TRUE(workers.TryRun(wait, [] {}));
  EXPECT_TRUE(workers.TryRun(wait, [] {}));
  EXPECT_FALSE(workers.TryRun(wait, [] {}));
  go = true;
  workers.JoinUntil(steady_clock::now() + std::chrono::seconds(2));
}

TEST(Workers, JoinGivesUpOnAJobThatDoesNotEnd) {
  auto go = std::make_shared<std::atomic<bool>>(false);
  auto over = std::make_shared<std::atomic<bool>>(false);
  {
    Workers workers(1);
    ASSERT_TRUE(workers.TryRun(
        [go] {
          while (!*go) std::this_thread::sleep_for(milliseconds(1));
        },
        [over] { *over = true; }));
    const auto start = steady_clock::now();
    workers.JoinUntil(start + milliseconds(100));
    EXPECT_LT(steady_clock::now() - start, milliseconds(1000));
  }
  *go = true;
  while (!*over) std::this_thread::sleep_for(milliseconds(1));
}

}  // namespace
}  // namespace heldby::http
