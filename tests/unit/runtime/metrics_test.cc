// What /metrics is made of, over the real core, and files as the kernel writes them.
#include "heldby/metrics.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "collect/census.h"
#include "collect/cgroup.h"
#include "collect/metrics.h"
#include "collect/process_account.h"
#include "heldby/connection.h"
#include "heldby/task.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

using collect::MetricsCollector;

TEST(LiveVariance, IsThatOfThePoissonSampling) {
  // 400 blocks of each size, 4,000 trials: the variance found is within sqrt(2 / 4000) = 2.2 %
  // of the true one, and 9 % is four times that: one in 16,000 seeds would fail.
  constexpr double kMean = 524'288;
  std::mt19937_64 random(1);
  for (const double size : {1024.0, 65'536.0, 524'288.0, 2'097'152.0}) {
    const double p = -std::expm1(-size / kMean);
    std::binomial_distribution<int> samples(400, p);
    double squares = 0;
    constexpr int kTrials = 4000;
    for (int i = 0; i < kTrials; ++i) {
      const double error = samples(random) * (size / p) - 400 * size;
      squares += error * error;
    }
    const double found = squares / kTrials;
    EXPECT_NEAR(collect::LiveVariance(400 * size, size, kMean) / found, 1, 0.09) << size;
  }
  EXPECT_EQ(collect::LiveVariance(1000, 100, 1), 0) << "every allocation is sampled";
  EXPECT_EQ(collect::LiveVariance(0, 100, kMean), 0);
}

TEST(ResidentParts, AlwaysAddUpToWhatIsResident) {
  const collect::ProcessAccount process{.resident_bytes = 1000,
                                        .resident_anonymous_bytes = 700,
                                        .resident_file_bytes = 250,
                                        .resident_shared_bytes = 50};
  const auto parts = collect::Divide(process, /*live=*/400, /*stacks=*/30, /*profiler=*/20);
  EXPECT_EQ(parts.heap_bytes, 400);
  EXPECT_EQ(parts.allocator_bytes, 250);
  // A heap of which most was never touched.
  const auto untouched = collect::Divide(process, 1'000'000, 30, 20);
  EXPECT_EQ(untouched.heap_bytes, 650);
  EXPECT_EQ(untouched.allocator_bytes, 0);
}

class CgroupFiles : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/heldby-cgroup-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root_;
};

TEST_F(CgroupFiles, TheGroupWithTheLeastRoomLeftIsTheLimit) {
  Write("proc/mountinfo", "30 23 0:26 / " + root_ + "/cg rw,nosuid - cgroup2 cgroup2 rw\n");
  Write("proc/cgroup", "0::/pod/container\n");
  Write("cg/pod/container/memory.max", "max\n");
  Write("cg/pod/container/memory.stat",
        "anon 600\nfile 300\nkernel 50\nsock 7\ninactive_file 200\n");
  Write("cg/pod/memory.max", "5000\n");
  Write("cg/pod/memory.current", "4600\n");
  Write("cg/pod/memory.stat", "anon 1\ninactive_file 500\n");
  const auto dirs = collect::FindCgroupDirs(root_ + "/proc");
  EXPECT_TRUE(dirs.is_v2);
  const auto memory = collect::ReadCgroupMemory(dirs);
  EXPECT_TRUE(memory.is_limited);
  EXPECT_EQ(memory.limit_bytes, 5000);
  EXPECT_EQ(memory.used_bytes, 4100);
  const std::vector<std::pair<std::string, std::int64_t>> kinds = {
      {"anon", 600}, {"file", 300}, {"kernel", 50}, {"sock", 7}};
  EXPECT_EQ(memory.by_kind, kinds);
}

TEST_F(CgroupFiles, AContainersOwnRootIsItsGroup) {
  Write("proc/mountinfo",
        "30 23 0:26 /docker/abc " + root_ + "/cg rw - cgroup cgroup rw,memory\n");
  Write("proc/cgroup", "4:memory:/docker/abc\n0::/\n");
  Write("cg/memory.limit_in_bytes", "1048576\n");
  Write("cg/memory.usage_in_bytes", "1000000\n");
  Write("cg/memory.stat", "cache 1\nrss 2\ntotal_cache 30\ntotal_rss 40\n");
  const auto dirs = collect::FindCgroupDirs(root_ + "/proc");
  EXPECT_FALSE(dirs.is_v2);
  const auto memory = collect::ReadCgroupMemory(dirs);
  EXPECT_EQ(memory.limit_bytes, 1'048'576);
  EXPECT_EQ(memory.used_bytes, 1'000'000);
}

TEST_F(CgroupFiles, NoLimitIsNoLimitInEitherVersion) {
  Write("proc/mountinfo", "30 23 0:26 / " + root_ + "/cg rw - cgroup cgroup rw,memory\n");
  Write("proc/cgroup", "4:memory:/\n");
  Write("cg/memory.limit_in_bytes", "9223372036854771712\n");
  Write("cg/memory.usage_in_bytes", "1000000\n");
  EXPECT_FALSE(collect::ReadCgroupMemory(collect::FindCgroupDirs(root_ + "/proc")).is_limited);
}

TEST_F(CgroupFiles, FilesThatAreNotThereOrMakeNoSenseAreNoLimit) {
  EXPECT_TRUE(collect::FindCgroupDirs(root_ + "/none").dirs.empty());
  Write("proc/mountinfo", "x\n - \n30 23\n1 2 3 / " + root_ + "/cg rw - cgroup2\n");
  Write("proc/cgroup", ":::\n0::/../../other\n");
  EXPECT_TRUE(collect::FindCgroupDirs(root_ + "/proc").dirs.empty());
  Write("proc/mountinfo", "1 2 3 / " + root_ + "/cg rw - cgroup2 c rw\n");
  EXPECT_FALSE(collect::ReadCgroupMemory(collect::FindCgroupDirs(root_ + "/proc")).is_limited);
}

std::int64_t TasksIn(const collect::CensusResult& result) {
  std::int64_t tasks = 0;
  for (const auto& [names, count] : result.tasks) tasks += count.tasks;
  return tasks;
}

TEST(Census, FirstWalkIsWholeAndLaterOnesComeInParts) {
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < 10'000; ++i) tasks.emplace_back("many");
  collect::Census census(*runtime::Core()->registry);
  census.Advance(0);
  EXPECT_EQ(TasksIn(census.result()), 10'000);
  tasks.erase(tasks.begin() + 4000, tasks.end());
  census.Advance(0);
  EXPECT_EQ(TasksIn(census.result()), 10'000) << "a walk that is not over shows nothing";
  for (int i = 0; i < 10 && TasksIn(census.result()) == 10'000; ++i) census.Advance(0);
  EXPECT_EQ(TasksIn(census.result()), 4'000);
}

TEST(Census, KnowsWhatConnectionsDoAndWhatTasksWaitFor) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const char text[] = "unread";
  ASSERT_GT(write(pair[0], text, sizeof(text)), 0);
  {
    const Connection reader(pair[1], Direction::kInbound);
    const Connection nothing(-1, Direction::kOutbound);
    const AsyncTask task("waits");
    Park(task.id(), InternPlace("for nothing", {}), nullptr);
    collect::Census census(*runtime::Core()->registry);
    census.Advance(0);
    const auto count = [](const collect::ConnectionCensus& part,
                          collect::ConnectionState state) {
      return part.by_state[static_cast<std::size_t>(state)].connections;
    };
    const collect::CensusResult& result = census.result();
    EXPECT_EQ(count(result.inbound, collect::ConnectionState::kWeStoppedReading), 1);
    EXPECT_EQ(result.inbound.unread_bytes, static_cast<std::int64_t>(sizeof(text)));
    EXPECT_EQ(count(result.outbound, collect::ConnectionState::kUnknown), 1);
    EXPECT_EQ(result.tasks.at({"waits", "for nothing"}).tasks, 1);
  }
  close(pair[0]);
  close(pair[1]);
}

TEST(Census, NamesAreTextHoweverTheyAreCutAndNoTwoLookTheSame) {
  const std::string long_name = std::string(119, 'a') + "\xC3\xBC";
  const AsyncTask cut(long_name.c_str());
  const AsyncTask one("bad \xFE");
  const AsyncTask other("bad \xFF");
  collect::Census census(*runtime::Core()->registry);
  census.Advance(0);
  std::map<std::string, std::int64_t> names;
  for (const auto& [texts, count] : census.result().tasks) names[texts.first] += count.tasks;
  EXPECT_EQ(names[std::string(119, 'a')], 1);
  EXPECT_EQ(names["bad \xEF\xBF\xBD"], 2);
}

double ValueOf(const std::vector<MetricFamily>& families, const std::string& name) {
  const auto family = std::ranges::find(families, name, &MetricFamily::name);
  return family == families.end() || family->samples.empty() ? -1 : family->samples[0].value;
}

TEST(CollectMetrics, OpenedAndClosedConnectionsAreCountedByDirection) {
  const auto before = CollectMetrics();
  { const Connection connection(-1, Direction::kInbound); }
  const Connection open(-1, Direction::kInbound);
  const auto after = CollectMetrics();
  const auto grown = [&](const std::string& name) {
    return ValueOf(*after, name) - ValueOf(*before, name);
  };
  EXPECT_EQ(grown("heldby_connections_opened_total"), 2);
  EXPECT_EQ(grown("heldby_connections_closed_total"), 1);
}

TEST(CollectMetrics, AForkedChildAnswersForItself) {
  ASSERT_TRUE(CollectMetrics());
  const Connection parents(-1, Direction::kInbound);
  const pid_t child = fork();
  if (child == 0) {
    const auto families = CollectMetrics();
    // One; ThreadSanitizer has another.
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    const bool good = families && ValueOf(*families, "heldby_connections_opened_total") == 0 &&
                      ValueOf(*families, "process_threads") ==
                          static_cast<double>(std::distance(begin(tasks), end(tasks)));
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(CollectMetrics, EveryFamilyHasHelpAndNoNameTwice) {
  const auto families = CollectMetrics();
  ASSERT_TRUE(families);
  std::vector<std::string> names;
  for (const MetricFamily& family : *families) {
    EXPECT_FALSE(family.help.empty()) << family.name;
    EXPECT_EQ(family.type == MetricType::kCounter, family.name.ends_with("_total"))
        << family.name;
    names.push_back(family.name);
  }
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(ProcessAccount, AgreesWithWhatThisProcessKnowsOfItself) {
  const collect::ProcessAccount process = collect::ReadProcess();
  EXPECT_EQ(process.resident_bytes, process.resident_anonymous_bytes +
                                        process.resident_file_bytes +
                                        process.resident_shared_bytes);
  EXPECT_GT(process.virtual_bytes, process.resident_bytes);
  EXPECT_EQ(process.threads, 1);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const double age = static_cast<double>(now.tv_sec) - collect::ProcessStartSeconds();
  EXPECT_GE(age, -1);
  EXPECT_LT(age, 600);
  const std::int64_t before = collect::CountOpenDescriptors();
  const int fd = dup(0);
  EXPECT_EQ(collect::CountOpenDescriptors(), before + 1);
  close(fd);
}

TEST(ProcessAccount, TouchedStacksOfThreadsAreSeen) {
  const core::CoreApi& core = *runtime::Core();
  const std::int64_t before = collect::ResidentStackBytes(core);
  std::int64_t during = 0;
  std::thread([&] {
    const AsyncTask listed("lists this thread");
    volatile char deep[512 << 10];
    for (std::size_t i = 0; i < sizeof(deep); i += 1024) deep[i] = 1;
    during = collect::ResidentStackBytes(core);
  }).join();
  EXPECT_GE(during - before, 512 << 10);
}

TEST(ProcessAccount, StacksInABlockOfTheProgramsAreNotTheBlock) {
  constexpr std::size_t kBlock = 64 << 20;
  constexpr std::size_t kStack = 1 << 20;
  void* const mapped = mmap(nullptr, kBlock, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const core::CoreApi& core = *runtime::Core();
  const std::int64_t before = collect::ResidentStackBytes(core);
  std::atomic<int> listed{0};
  std::atomic<bool> over{false};
  auto body = [&] {
    const AsyncTask lists("lists this thread");
    ++listed;
    while (!over) std::this_thread::yield();
  };
  std::vector<pthread_t> threads(4);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, static_cast<char*>(mapped) + kBlock / 2 + i * kStack, kStack);
    pthread_create(
        &threads[i], &attr,
        [](void* run) -> void* {
          (*static_cast<decltype(body)*>(run))();
          return nullptr;
        },
        &body);
    pthread_attr_destroy(&attr);
  }
  while (listed < 4) std::this_thread::yield();
  const std::int64_t stacks = collect::ResidentStackBytes(core) - before;
  over = true;
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  munmap(mapped, kBlock);
  EXPECT_GE(stacks, 4 * static_cast<std::int64_t>(kStack) - (64 << 10));
  EXPECT_LE(stacks, 12 << 20) << "three that end where the next begins, and one of usual size";
}

}  // namespace
}  // namespace heldby
