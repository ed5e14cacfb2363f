// Tests that leave nothing behind, or nothing that counts.
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <latch>

#include "heldby/testing.h"
#include "heldby/thread.h"
#include "leaving.h"

namespace {

TEST(Clean, WhatEndsInTime) {
  const heldby::Connection connection(-1, heldby::Direction::kInbound);
  const heldby::Task task("download", {.connection = connection.id()});
  const heldby::ScopedLabels labels({{"route", "/download"}});
  const auto block = std::make_unique<char[]>(10'000);
  EXPECT_NE(block, nullptr);
}

TEST(Clean, BytesWithoutALabel) { service::FillBuffer(10'000); }

// It ends when the listener has looked already, once or many times.
TEST(Clean, AThreadThatStillFinishes) {
  heldby::StartThread("finishes", [] {
    const heldby::ScopedLabels labels({{"route", "/late"}});
    const auto block = std::make_unique<char[]>(10'000);
    const heldby::Connection connection(-1, heldby::Direction::kInbound);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }).detach();
}

// More at once than glibc has kept stacks of; for each new one it allocates something.
TEST(Clean, WhatLibcKeepsOfThreads) {
  const heldby::Task task("download");
  const heldby::ScopedLabels labels({{"route", "/download"}});
  std::latch all_are_there(8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&all_are_there] { all_are_there.arrive_and_wait(); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Clean, WhatGoogleTestKeeps) {
  const heldby::ScopedLabels labels({{"route", "/download"}});
  SCOPED_TRACE("of the label");
  RecordProperty("route", "/download");
}

[[gnu::noinline]] void KeepOnPurpose() { service::FillRouteCache(5'000); }

TEST(Clean, WhatIsIgnoredByName) {
  service::TheKept().tasks.emplace_back("kept for all tests");
}
TEST(Clean, WhatIsIgnoredByFunction) { KeepOnPurpose(); }
TEST(Clean, WhatIsIgnoredByLabel) {
  const heldby::ScopedLabels labels({{"tenant", "none"}});
  service::FillBuffer(5'000);
}

TEST(Clean, WhatIsAllowed) {
  service::OpenUpstream();
  const heldby::testing::AllowLeftovers allow;
  service::QueueJob();
  service::FillRouteCache(5'000);
}
TEST(Clean, WhatIsAllowedByName) {
  const heldby::testing::AllowLeftovers allow({"thumb*"});
  service::QueueJob();
}

class CleanFixture : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    service = new heldby::AsyncTask("service of all tests");
    connection = new heldby::Connection(-1, heldby::Direction::kOutbound);
  }
  static void TearDownTestSuite() {
    delete service;
    delete connection;
  }
  static heldby::AsyncTask* service;
  static heldby::Connection* connection;

  const heldby::testing::AllowLeftovers allow_{{"thumbnail"}};
  heldby::Connection own_{-1, heldby::Direction::kInbound};
};
heldby::AsyncTask* CleanFixture::service;
heldby::Connection* CleanFixture::connection;

TEST_F(CleanFixture, WhatItsMemberAllows) { service::QueueJob(); }

TEST_F(CleanFixture, BytesForATaskThatWasThereBefore) {
  const heldby::AsyncTask::Piece piece(*service);
  service::FillBuffer(10'000);
}

TEST(CleanDeathTest, ADeathOfItsOwnProcess) {
  testing::GTEST_FLAG(death_test_style) = "fast";
  EXPECT_DEATH(
      {
        service::OpenUpstream();
        std::abort();
      },
      "");
}

// The child comes back to GoogleTest, and to the listener.
TEST(Clean, AForkedChildThatComesBack) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::fclose(stdout);
    service::QueueJob();
    return;
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
