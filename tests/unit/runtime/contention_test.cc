// The public contention profiles over the real core: shapes, rates, labels, waits under way.
#include "heldby/contention.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "heldby/connection.h"
#include "heldby/labels.h"
#include "heldby/self.h"
#include "heldby/task.h"
#include "profile/validate.h"

namespace heldby {
namespace {

struct Sum {
  std::int64_t contentions = 0;
  std::int64_t delay_ns = 0;
};

Profile Taken(Result<Profile> taken) {
  EXPECT_TRUE(taken.ok()) << taken.status().message();
  EXPECT_TRUE(ValidateProfile(*taken).ok()) << ValidateProfile(*taken).message();
  return *std::move(taken);
}

std::string LeafOf(const Profile& profile, const Sample& sample) {
  const Location& leaf = profile.locations[static_cast<std::size_t>(sample.stack[0]) - 1];
  if (leaf.lines.empty()) return "";
  return profile.functions[static_cast<std::size_t>(leaf.lines[0].function) - 1].name;
}

const Label* Find(const Sample& sample, const std::string& key) {
  for (const Label& label : sample.labels) {
    if (label.key == key) return &label;
  }
  return nullptr;
}

// Of the samples whose innermost function has `name` in it.
std::vector<Sample> SamplesOf(const Profile& profile, const std::string& name) {
  std::vector<Sample> found;
  for (const Sample& sample : profile.samples) {
    if (LeafOf(profile, sample).find(name) != std::string::npos) found.push_back(sample);
  }
  return found;
}

Sum SumOf(const Profile& profile, const std::string& name) {
  Sum sum;
  for (const Sample& sample : SamplesOf(profile, name)) {
    sum.contentions += sample.values[0];
    sum.delay_ns += sample.values[1];
  }
  return sum;
}

bool SleepsInFutex(int tid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return false;
  int number = -1;
  const bool read = std::fscanf(file, "%d", &number) == 1;
  std::fclose(file);
  return read && number == SYS_futex;
}

extern "C" __attribute__((noinline)) void locks_in_vain(std::mutex* mutex) {
  mutex->lock();
  asm volatile("");
}
extern "C" __attribute__((noinline)) void unlocks_for_another(std::mutex* mutex) {
  mutex->unlock();
  asm volatile("");
}

// A thread that waits for a mutex until it is let go.
class Stuck {
 public:
  explicit Stuck(std::function<void(std::mutex*)> wait = &locks_in_vain) {
    mutex_.lock();
    thread_ = std::thread([this, wait = std::move(wait)] {
      tid_ = static_cast<int>(syscall(SYS_gettid));
      wait(&mutex_);
      mutex_.unlock();
    });
    for (int i = 0; i < 20'000 && (tid_ == 0 || !SleepsInFutex(tid_)); ++i) usleep(1000);
  }
  ~Stuck() { LetGo(); }
  Stuck(const Stuck&) = delete;
  Stuck& operator=(const Stuck&) = delete;

  void LetGo() {
    if (!thread_.joinable()) return;
    unlocks_for_another(&mutex_);
    UnsampledScope join_is_no_wait;
    thread_.join();
  }
  int tid() const { return tid_; }

 private:
  std::mutex mutex_;
  std::atomic<int> tid_{0};
  std::thread thread_;
};

class ContentionTest : public testing::Test {
 protected:
  // ThreadSanitizer sees the mmap() of the core's table of stacks, but not what publishes it:
  // the core is not instrumented. So the table is mapped by the thread that will read it.
  static void SetUpTestSuite() {
    SetMutexProfileFraction(1);
    RecordMutexWait(1);
    SetMutexProfileFraction(0);
  }
  void TearDown() override {
    SetBlockProfileRate(0);
    SetMutexProfileFraction(0);
  }
};

TEST_F(ContentionTest, RatesAreSetAndReadAsGos) {
  EXPECT_EQ(BlockProfileRate(), 0);
  EXPECT_EQ(SetBlockProfileRate(1000), 0);
  EXPECT_EQ(SetBlockProfileRate(-5), 1000);
  EXPECT_EQ(BlockProfileRate(), 0) << "less than 0 is off";
  SetBlockProfileRate(INT64_MAX);
  EXPECT_EQ(BlockProfileRate(), 3'600'000'000'000);
  EXPECT_EQ(SetMutexProfileFraction(5), 0);
  EXPECT_EQ(SetMutexProfileFraction(-1), 5) << "less than 0 only reads";
  EXPECT_EQ(SetMutexProfileFraction(INT64_MAX), 5);
  EXPECT_EQ(SetMutexProfileFraction(0), 10'000);
}

TEST_F(ContentionTest, BothProfilesHaveGosShapeAndSayWhenTheyAreOff) {
  for (const bool is_block : {true, false}) {
    const Profile profile = Taken(is_block ? SnapshotBlock() : SnapshotMutex());
    EXPECT_EQ(profile.sample_types,
              (std::vector<ValueType>{{"contentions", "count"}, {"delay", "nanoseconds"}}));
    EXPECT_EQ(profile.period_type, (ValueType{"contentions", "count"}));
    EXPECT_EQ(profile.period, 1);
    EXPECT_GT(profile.time_ns, 0);
    EXPECT_EQ(profile.duration_ns, 0);
    EXPECT_EQ(profile.default_sample_type, "");
    ASSERT_FALSE(profile.comments.empty());
    EXPECT_NE(profile.comments.back().find("is off"), std::string::npos);
    EXPECT_NE(profile.comments.back().find("POST /debug/pprof/"), std::string::npos);
  }
}

TEST_F(ContentionTest, AWaitIsInTheProfileWhileItLastsAndNoValueFallsWhenItEnds) {
  SetBlockProfileRate(1);
  const Sum before = SumOf(Taken(SnapshotBlock()), "locks_in_vain");
  Stuck stuck;
  Sum last = before;
  for (int i = 0; i < 5; ++i) {
    const Sum now = SumOf(Taken(SnapshotBlock()), "locks_in_vain");
    EXPECT_EQ(now.contentions, before.contentions + 1);
    EXPECT_GT(now.delay_ns, last.delay_ns);
    last = now;
  }
  stuck.LetGo();
  const Sum after = SumOf(Taken(SnapshotBlock()), "locks_in_vain");
  EXPECT_EQ(after.contentions, before.contentions + 1);
  EXPECT_GT(after.delay_ns, last.delay_ns);
  EXPECT_EQ(SumOf(Taken(SnapshotBlock()), "locks_in_vain").delay_ns, after.delay_ns);
}

TEST_F(ContentionTest, AWaitThatIsNotYetSureToBeCountedIsNotInTheProfile) {
  SetBlockProfileRate(3'600'000'000'000);  // an hour
  const Sum before = SumOf(Taken(SnapshotBlock()), "locks_in_vain");
  Stuck stuck;
  const Profile profile = Taken(SnapshotBlock());
  EXPECT_EQ(SumOf(profile, "locks_in_vain").contentions, before.contentions);
  ASSERT_FALSE(profile.comments.empty());
  EXPECT_EQ(profile.comments[0].rfind("waits under way: 1; the longest: ", 0), 0u)
      << profile.comments[0];
}

TEST_F(ContentionTest, WaitsUnderWayAreSamplesOfTheirOwnIfAskedFor) {
  SetBlockProfileRate(1);
  Stuck stuck;
  HolderLabels state;
  state.state = true;
  const Sum plain = SumOf(Taken(SnapshotBlock()), "locks_in_vain");
  const Profile marked = Taken(SnapshotBlock({.labels = state}));
  int waiting = 0;
  for (const Sample& sample : SamplesOf(marked, "locks_in_vain")) {
    const Label* label = Find(sample, "state");
    if (label == nullptr) continue;
    ++waiting;
    EXPECT_EQ(label->text, "waiting");
    ASSERT_NE(Find(sample, "lock"), nullptr);
    EXPECT_EQ(Find(sample, "lock")->text, "mutex");
    ASSERT_NE(Find(sample, "age"), nullptr);
    EXPECT_EQ(Find(sample, "age")->number_unit, "seconds");
    EXPECT_EQ(sample.values[0], 1);
  }
  EXPECT_EQ(waiting, 1);
  EXPECT_EQ(SumOf(marked, "locks_in_vain").contentions, plain.contentions) << "the same sum";
}

TEST_F(ContentionTest, SamplesHaveTheLabelsOfWhoWaitedAndOfWhoUnlocked) {
  SetBlockProfileRate(1);
  SetMutexProfileFraction(1);
  Stuck stuck([](std::mutex* mutex) {
    const ScopedLabels labels({{"route", "/waits"}});
    locks_in_vain(mutex);
  });
  {
    const ScopedLabels labels({{"route", "/holds"}});
    stuck.LetGo();
  }
  for (const auto& [profile, function, route] :
       {std::tuple(Taken(SnapshotBlock()), "locks_in_vain", "/waits"),
        std::tuple(Taken(SnapshotMutex()), "unlocks_for_another", "/holds")}) {
    std::set<std::string> routes;
    for (const Sample& sample : SamplesOf(profile, function)) {
      if (const Label* label = Find(sample, "route")) routes.insert(label->text);
    }
    EXPECT_EQ(routes, std::set<std::string>{route}) << function;
  }
}

TEST_F(ContentionTest, HoldersOfWaitsUnderWayAreToldIfAskedFor) {
  SetBlockProfileRate(1);
  Stuck stuck([](std::mutex* mutex) {
    const Task task("waits for its turn");
    locks_in_vain(mutex);
  });
  HolderLabels wanted;
  wanted.task = true;
  std::vector<std::string> tasks;
  for (const Sample& sample :
       SamplesOf(Taken(SnapshotBlock({.labels = wanted})), "locks_in_vain")) {
    if (const Label* label = Find(sample, "task")) tasks.push_back(label->text);
    EXPECT_EQ(Find(sample, "state"), nullptr) << "not asked for";
  }
  EXPECT_EQ(tasks, std::vector<std::string>{"waits for its turn"});
}

TEST_F(ContentionTest, AWaitToldOfByAnotherLockIsUnderTheCallingStack) {
  RecordMutexWait(1'000'000);
  EXPECT_EQ(SumOf(Taken(SnapshotMutex()), "AWaitToldOf").contentions, 0) << "it is off";
  SetMutexProfileFraction(1);
  RecordMutexWait(1'000'000);
  RecordMutexWait(-5);
  RecordMutexWait(0);
  const Sum sum = SumOf(Taken(SnapshotMutex()), "AWaitToldOf");
  EXPECT_EQ(sum.contentions, 1);
  EXPECT_EQ(sum.delay_ns, 1'000'000);
}

TEST_F(ContentionTest, CountersCountWaits) {
  SetBlockProfileRate(1);
  const ContentionCounters before = ReadContentionCounters();
  { Stuck stuck; }
  const ContentionCounters after = ReadContentionCounters();
  EXPECT_EQ(after.waits_total, before.waits_total + 1);
  EXPECT_EQ(after.dropped_waits_total, 0);
  EXPECT_GT(after.table_bytes, 0);
  EXPECT_GT(CountBlockSites(), 0u);
}

// What a child process is for: the host neither hears of it nor has to wait for it.
TEST(SurvivesInChild, TellsWhatEndsTheProcessFromWhatDoesNot) {
  EXPECT_TRUE(SurvivesInChild([] {}));
  EXPECT_FALSE(SurvivesInChild([] { std::abort(); }));
  EXPECT_FALSE(SurvivesInChild([] { _exit(3); }));
  EXPECT_EQ(waitpid(-1, nullptr, 0), -1) << "no child is left";
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace heldby
