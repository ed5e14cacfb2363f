#include "exporters/prometheus/attached.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heldby/metrics.h"
#include "heldby/prometheus.h"

namespace heldby::prometheus_text {
namespace {

std::string Page() {
  std::string text;
  FamilyNames written;
  AppendAttached(&written, &text);
  return text;
}

TEST(AttachedMetrics, AreOnThePageWhileTheyLive) {
  {
    AttachedMetrics first([] { return std::string("a 1\n"); });
    AttachedMetrics moved(std::move(first));
    EXPECT_EQ(Page(), "a 1\n");
    moved = AttachedMetrics([] { return std::string("b 2\n"); });
    EXPECT_EQ(Page(), "b 2\n");
  }
  EXPECT_EQ(Page(), "");
}

TEST(AttachedMetrics, WhatOneOfThemThrowsCostsNobodyElse) {
  const AttachedMetrics bad([]() -> std::string { throw std::runtime_error("broken"); });
  const AttachedMetrics worse([]() -> std::string { throw 17; });
  const AttachedMetrics good([] { return std::string("a 1\n"); });
  const std::int64_t before = AttachedDroppedTotal();
  EXPECT_EQ(Page(), "a 1\n");
  EXPECT_EQ(AttachedDroppedTotal(), before + 2);
}

TEST(AttachedMetrics, TooMuchIsLeftOutAndCounted) {
  const AttachedMetrics endless([] { return std::string((1 << 20) + 1, '\n'); });
  const std::int64_t before = AttachedDroppedTotal();
  EXPECT_EQ(Page(), "");
  EXPECT_EQ(AttachedDroppedTotal(), before + 1);
}

TEST(AttachedMetrics, EndReturnsWhenNoCallIsUnderWay) {
  std::atomic<bool> called{false};
  std::atomic<bool> may_return{false};
  std::atomic<bool> is_over{false};
  auto attached = std::make_unique<AttachedMetrics>([&] {
    called = true;
    while (!may_return) std::this_thread::yield();
    EXPECT_FALSE(is_over);
    return std::string("a 1\n");
  });
  std::thread scrape([] { EXPECT_EQ(Page(), "a 1\n"); });
  while (!called) std::this_thread::yield();
  std::thread end([&] {
    attached.reset();
    is_over = true;
  });
  may_return = true;
  scrape.join();
  end.join();
  EXPECT_EQ(Page(), "");
}

TEST(AttachedMetrics, OneThatNeverReturnsCostsOthersTheirPartOfThePageAlone) {
  std::atomic<bool> called{false};
  std::atomic<bool> may_return{false};
  const AttachedMetrics stuck([&] {
    called = true;
    while (!may_return) std::this_thread::yield();
    return std::string("a 1\n");
  });
  std::thread first([] { (void)Page(); });
  while (!called) std::this_thread::yield();
  const std::int64_t before = AttachedDroppedTotal();
  EXPECT_EQ(Page(), "");
  EXPECT_EQ(AttachedDroppedTotal(), before + 1);
  may_return = true;
  first.join();
}

TEST(AttachedMetrics, AForkedChildStillHasThem) {
  const AttachedMetrics attached([] { return std::string("a 1\n"); });
  const pid_t child = fork();
  if (child == 0) _exit(Page() == "a 1\n" ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(AttachedMetrics, AFunctionMayEndItselfAndOthersAndMakeNewOnes) {
  std::optional<AttachedMetrics> own;
  std::optional<AttachedMetrics> next;
  std::optional<AttachedMetrics> made;
  own.emplace([&] {
    own.reset();
    next.reset();
    made.emplace([] { return std::string("c 1\n"); });
    return std::string("a 1\n");
  });
  next.emplace([] { return std::string("b 1\n"); });
  EXPECT_EQ(Page().substr(0, 4), "a 1\n");
  EXPECT_EQ(Page(), "c 1\n");
}

TEST(AttachedMetrics, OnesMadeInAForkedChildAreNotTheParents) {
  std::atomic<bool> called{false};
  std::atomic<bool> may_return{false};
  auto attached = std::make_unique<AttachedMetrics>([&] {
    called = true;
    while (!may_return) std::this_thread::yield();
    return std::string("a 1\n");
  });
  std::thread scrape([] { (void)Page(); });
  while (!called) std::this_thread::yield();
  const pid_t child = fork();  // while a scrape holds the lock
  if (child == 0) {
    std::vector<AttachedMetrics> made;
    for (int i = 0; i < 50; ++i) made.emplace_back([] { return std::string("b 1\n"); });
    attached.reset();
    made.erase(made.begin() + 1, made.end());
    _exit(Page() == "b 1\n" ? 0 : 1);
  }
  const pid_t daemon = fork();
  if (daemon == 0) {
    const pid_t grandchild = fork();  // before anything is attached again
    if (grandchild == 0) _exit(Page().empty() ? 0 : 1);
    int grandchilds = 1;
    waitpid(grandchild, &grandchilds, 0);
    _exit(grandchilds == 0 ? 0 : 1);
  }
  int daemons = 1;
  waitpid(daemon, &daemons, 0);
  EXPECT_EQ(daemons, 0);
  may_return = true;
  scrape.join();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// One that has its own place on the page as a member, and whose last owner lets go of it while
// it is asked: it ends within its own call.
class SelfAttached : public ::prometheus::Collectable {
 public:
  explicit SelfAttached(std::shared_ptr<SelfAttached>* owner) : owner_(owner) {}
  std::vector<::prometheus::MetricFamily> Collect() const override {
    owner_->reset();
    return {};
  }
  std::optional<AttachedMetrics> attached;

 private:
  std::shared_ptr<SelfAttached>* owner_;
};

TEST(AttachCollectable, OneWhoseLastOwnerLetsGoDuringAScrapeEndsThere) {
  std::shared_ptr<SelfAttached> owner;
  owner = std::make_shared<SelfAttached>(&owner);
  owner->attached.emplace(AttachCollectable(owner));
  EXPECT_EQ(Page(), "");
  EXPECT_EQ(owner, nullptr);
  EXPECT_EQ(Page(), "");
}

TEST(AttachCollectable, ARegistryThatIsGoneLeavesNothing) {
  auto registry = std::make_shared<::prometheus::Registry>();
  ::prometheus::BuildCounter().Name("a_total").Help("one\ntwo").Register(*registry).Add({});
  const AttachedMetrics attached = AttachCollectable(registry);
  EXPECT_EQ(Page(), "# HELP a_total one\\ntwo\n# TYPE a_total counter\na_total 0\n");
  registry.reset();
  EXPECT_EQ(Page(), "");
}

TEST(PrometheusCollector, GivesWhatTheEndpointGives) {
  const auto families = CollectMetrics();
  ASSERT_TRUE(families);
  const auto collected = PrometheusCollector().Collect();
  ASSERT_EQ(collected.size(), families->size());
  for (std::size_t i = 0; i < collected.size(); ++i) {
    EXPECT_EQ(collected[i].name, (*families)[i].name);
    EXPECT_EQ(collected[i].metric.size(), (*families)[i].samples.size());
  }
}

}  // namespace
}  // namespace heldby::prometheus_text
