// Verdicts and the past over the real core: real sockets, tasks, locks, and a fork.
#include "heldby/leaks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "heldby/connection.h"
#include "heldby/contention.h"
#include "heldby/heap.h"
#include "heldby/labels.h"
#include "heldby/task.h"
#include "profile/validate.h"
#include "watched_sockets.h"

namespace heldby {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// However loaded the machine is.
constexpr seconds kPatience(120);

struct Pair {
  int ours;
  int theirs;
};

Pair TcpPair() {
  const watched::Listener listener;
  const int theirs = listener.Connect();
  return {accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC), theirs};
}

int Times(int count) {
  volatile int unknown = count;
  return unknown;
}

// One place for all of a loop, whatever the optimizer makes of it.
__attribute__((noinline)) Connection& Open(std::vector<Connection>* connections, int fd,
                                           Direction direction) {
  return connections->emplace_back(fd, direction);
}

void Fill(int fd) {
  const std::string block(65536, 'x');
  while (send(fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
}

LeakReport Judged() {
  auto report = JudgeLeaks();
  EXPECT_TRUE(report) << report.status().message();
  return report ? *std::move(report) : LeakReport();
}

const LeakVerdict* Find(const LeakReport& report, LeakKind kind) {
  const auto found = std::ranges::find(report.verdicts, kind, &LeakVerdict::kind);
  return found == report.verdicts.end() ? nullptr : &*found;
}

// The first report that is as wanted, or else the last one.
LeakReport JudgedUntil(const std::function<bool(const LeakReport&)>& is_wanted) {
  const auto end = steady_clock::now() + kPatience;
  LeakReport report = Judged();
  while (!is_wanted(report) && steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(200));
    report = Judged();
  }
  return report;
}

class ExpectedFile {
 public:
  explicit ExpectedFile(const std::string& text) {
    char name[] = "expected-XXXXXX";
    close(mkstemp(name));
    path_ = name;
    std::ofstream(path_) << text;
  }
  ~ExpectedFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Verdicts, ConnectionsInTroubleAreNamedByRouteWithCountAndBytes) {
  const ExpectedFile expected("/mirror[eu]  the mirror is read at night\n");
  const auto watch = LeakWatch::Start({.window = seconds(1), .expected_file = expected.path()});
  ASSERT_TRUE(watch) << watch.status().message();
  std::vector<Connection> connections;
  connections.reserve(32);
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < Times(3); ++i) {
    const ScopedLabels labels({{"route", "/download"}});
    const int ours = TcpPair().ours;
    Fill(ours);
    Open(&connections, ours, Direction::kInbound).SetQueuedBytes(8 << 20);
  }
  for (int i = 0; i < Times(4); ++i) {
    const ScopedLabels labels({{"route", "/mirror[eu]"}});
    const Pair pair = TcpPair();
    ASSERT_EQ(send(pair.theirs, "12345", 5, 0), 5);
    Open(&connections, pair.ours, Direction::kOutbound);
  }
  for (int i = 0; i < Times(5); ++i) {
    const ScopedLabels labels({{"route", "/unclosed"}});
    Open(&connections, TcpPair().ours, Direction::kOutbound);
    tasks.emplace_back("body", TaskOptions{.connection = connections.back().id()});
    tasks.back().SetState("waits for its reader");
  }
  // Of these nobody can say for how long something has been in them.
  for (int i = 0; i < Times(6); ++i) {
    const ScopedLabels labels({{"route", "/unix"}});
    int ends[2] = {};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ASSERT_EQ(send(ends[1], "12345", 5, 0), 5);
    Open(&connections, ends[0], Direction::kOutbound);
  }
  const LeakReport report = JudgedUntil([](const LeakReport& now) {
    // Each of a kind is in trouble for its own time: they come one by one.
    const auto has = [&now](LeakKind kind, std::int64_t count) {
      const LeakVerdict* verdict = Find(now, kind);
      return verdict != nullptr && verdict->count == count;
    };
    return has(LeakKind::kStuckReaders, 3) && has(LeakKind::kUnreadResponses, 4) &&
           has(LeakKind::kUnclosedConnections, 5);
  });
  const LeakVerdict* stuck = Find(report, LeakKind::kStuckReaders);
  ASSERT_NE(stuck, nullptr);
  EXPECT_EQ(stuck->leak_class, LeakClass::kLeak);
  EXPECT_EQ(stuck->count, 3);
  EXPECT_EQ(stuck->bytes, 24 << 20) << "what is queued lies in the heap, and counts once";
  EXPECT_GE(stuck->since_s, 10);
  EXPECT_TRUE(stuck->summary.starts_with("3 connections of /download hold 24.00MB"))
      << stuck->summary;
  const LeakVerdict* unread = Find(report, LeakKind::kUnreadResponses);
  ASSERT_NE(unread, nullptr);
  EXPECT_EQ(unread->leak_class, LeakClass::kLeak);
  EXPECT_EQ(unread->count, 4);
  EXPECT_EQ(unread->expected, "the mirror is read at night");
  const LeakVerdict* unclosed = Find(report, LeakKind::kUnclosedConnections);
  ASSERT_NE(unclosed, nullptr);
  EXPECT_EQ(unclosed->leak_class, LeakClass::kLeak);
  EXPECT_EQ(unclosed->count, 5);
  EXPECT_EQ(report.leaks(), 2u);
  for (const LeakVerdict& verdict : report.verdicts) {
    EXPECT_EQ(verdict.summary.find("/unix"), std::string::npos) << verdict.summary;
  }
}

TEST(Verdicts, OfManyTheWorstHundredAreToldAndTheOthersCounted) {
  std::vector<Connection> connections;
  std::vector<Pair> pairs;
  for (int i = 0; i < Times(130); ++i) {
    const ScopedLabels labels({{"route", "/user/" + std::to_string(i)}});
    pairs.push_back(TcpPair());
    ASSERT_EQ(send(pairs.back().theirs, "12345", 5, 0), 5);
    Open(&connections, pairs.back().ours, Direction::kOutbound).SetQueuedBytes(i);
  }
  const LeakReport report =
      JudgedUntil([](const LeakReport& now) { return now.left_out >= 30; });
  EXPECT_EQ(report.verdicts.size(), 100u);
  EXPECT_EQ(report.left_out, 30);
  for (const LeakVerdict& verdict : report.verdicts) {
    EXPECT_GE(verdict.bytes, 30) << verdict.summary;
  }
  for (const Pair& pair : pairs) {
    close(pair.ours);
    close(pair.theirs);
  }
}

TEST(Verdicts, AConnectionOfAPoolThatWorksNowAndThenIsNotUnclosed) {
  std::vector<Pair> pairs;
  std::vector<Connection> connections;
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < 3; ++i) {
    pairs.push_back(TcpPair());
    connections.emplace_back(pairs.back().ours, Direction::kOutbound);
    tasks.emplace_back("worker", TaskOptions{.connection = connections.back().id()});
    tasks.back().SetState("waits for a job");
  }
  const auto begin = steady_clock::now();
  while (steady_clock::now() - begin < seconds(13)) {
    const auto worked = steady_clock::now();
    for (const Pair& pair : pairs) {
      char byte = 'x';
      ASSERT_EQ(send(pair.ours, &byte, 1, 0), 1);
      ASSERT_EQ(recv(pair.theirs, &byte, 1, 0), 1);
      ASSERT_EQ(send(pair.theirs, &byte, 1, 0), 1);
      ASSERT_EQ(recv(pair.ours, &byte, 1, 0), 1);
    }
    std::this_thread::sleep_for(milliseconds(1500));
    const LeakReport report = Judged();
    if (steady_clock::now() - worked > seconds(8)) continue;  // at rest, as we were
    const LeakVerdict* found = Find(report, LeakKind::kUnclosedConnections);
    ASSERT_EQ(found, nullptr) << found->summary;
  }
}

// Two that wait for each other for ever, and a mutex whose owner lives in another process.
TEST(Verdicts, ADeadlockIsNamedAndAMutexOfAnotherProcessIsNone) {
  SetBlockProfileRate(1);
  void* const page = mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  auto* const shared = static_cast<pthread_mutex_t*>(page);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(shared, &attributes);
  int told[2];
  ASSERT_EQ(pipe2(told, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    pthread_mutex_lock(shared);
    if (write(told[1], "l", 1) != 1) _exit(1);
    while (true) pause();
  }
  char byte;
  ASSERT_EQ(read(told[0], &byte, 1), 1);
  std::thread([shared] { pthread_mutex_lock(shared); }).detach();
  static std::mutex first;
  static std::mutex second;
  static std::atomic<int> holding{0};
  const auto cross = [](std::mutex* mine, std::mutex* other) {
    mine->lock();
    ++holding;
    while (holding < 2) std::this_thread::yield();
    other->lock();
  };
  std::thread(cross, &first, &second).detach();
  std::thread(cross, &second, &first).detach();
  const LeakReport report = JudgedUntil(
      [](const LeakReport& now) { return Find(now, LeakKind::kLostWakeups) != nullptr; });
  const LeakVerdict* found = Find(report, LeakKind::kLostWakeups);
  // The third wait is as old as these two by then.
  const LeakReport later = Judged();
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(found->summary.starts_with("2 threads wait for each other's mutexes: a deadlock"))
      << found->summary;
  for (const LeakVerdict& verdict : later.verdicts) {
    EXPECT_EQ(verdict.summary.find("whose owner has ended"), std::string::npos)
        << verdict.evidence;
  }
}

TEST(Verdicts, TasksThatPileUpAreALeakWithTheirPlaces) {
  const auto watch = LeakWatch::Start({.window = seconds(1)});
  ASSERT_TRUE(watch) << watch.status().message();
  std::vector<AsyncTask> tasks;
  const auto make = [&tasks] {
    tasks.emplace_back("refresh").SetState("waits for an answer");
    std::this_thread::sleep_for(milliseconds(10));
  };
  const auto end = steady_clock::now() + kPatience;
  std::optional<LeakVerdict> found;
  while (!found && steady_clock::now() < end) {
    for (int i = 0; i < 20; ++i) make();
    const LeakReport report = Judged();
    const LeakVerdict* piling = Find(report, LeakKind::kPilingTasks);
    if (piling != nullptr && piling->leak_class == LeakClass::kLeak) found = *piling;
  }
  ASSERT_TRUE(found);
  EXPECT_EQ(found->count, static_cast<std::int64_t>(tasks.size()));
  EXPECT_NE(found->summary.find("\"refresh\" wait for waits for an answer"), std::string::npos)
      << found->summary;
  EXPECT_GT(found->slope_per_hour, 0);
}

TEST(Expected, AFileThatCannotBeReadAndALineWithoutAReasonAreNamed) {
  const auto missing = LeakWatch::Start({.expected_file = "/nonexistent/expected"});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.status().message().find("/nonexistent/expected"), std::string::npos);
  const ExpectedFile bad("# why\n\nCache::*  by design\nNoReason\n");
  const auto line = LeakWatch::Start({.expected_file = bad.path()});
  ASSERT_FALSE(line);
  EXPECT_EQ(line.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(line.status().message().find("line 4 is \"NoReason\""), std::string::npos)
      << line.status().message();
}

// Answers once the first snapshot has been taken.
Result<Profile> Since(const std::string& name, std::chrono::nanoseconds ago) {
  const auto end = steady_clock::now() + kPatience;
  auto profile = ProfileSince(name, ago);
  while (!profile && profile.status().code() == StatusCode::kUnavailable &&
         steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(20));
    profile = ProfileSince(name, ago);
  }
  return profile;
}

std::int64_t SumOf(const Profile& profile, std::size_t column) {
  std::int64_t sum = 0;
  for (const Sample& sample : profile.samples) sum += sample.values[column];
  return sum;
}

TEST(LookBack, OfEachProfileWhatCameSinceTheWatchBegan) {
  std::vector<Connection> connections;
  std::vector<AsyncTask> tasks;
  for (int i = 0; i < 5; ++i) connections.emplace_back(-1, Direction::kOutbound);
  const auto watch = LeakWatch::Start({.window = seconds(60)});
  ASSERT_TRUE(watch) << watch.status().message();
  for (const std::string name : {"heap", "allocs", "goroutine", "connections"}) {
    const bool is_of_heap = name == "heap" || name == "allocs";
    if (is_of_heap && !DescribeHeapHooks().active) continue;
    const auto profile = Since(name, std::chrono::hours(1));
    ASSERT_TRUE(profile) << name << ": " << profile.status().message();
    EXPECT_TRUE(ValidateProfile(*profile).ok())
        << name << ": " << ValidateProfile(*profile).message();
  }
  for (int i = 0; i < 3; ++i) connections.emplace_back(-1, Direction::kOutbound);
  for (int i = 0; i < 7; ++i) tasks.emplace_back("later").SetState("waits");
  connections.erase(connections.begin());
  // The oldest moment that is remembered, as an hour ago nobody watched.
  const auto opened = Since("connections", std::chrono::hours(1));
  ASSERT_TRUE(opened) << opened.status().message();
  EXPECT_EQ(SumOf(*opened, 0), 2) << "three came, one went";
  const auto begun = Since("goroutine", std::chrono::hours(1));
  ASSERT_TRUE(begun) << begun.status().message();
  EXPECT_EQ(SumOf(*begun, 0), 7);
  EXPECT_EQ(ProfileSince("mutex", seconds(10)).status().code(), StatusCode::kNotFound);
}

TEST(LeakWatch, AForkedChildsOwnOutlivesItsCopyOfTheParents) {
  auto watch = LeakWatch::Start({.window = seconds(1)});
  ASSERT_TRUE(watch) << watch.status().message();
  const pid_t child = fork();
  if (child == 0) {
    auto own = LeakWatch::Start({.window = seconds(1)});
    if (!own) _exit(2);
    watch->Stop();
    _exit(Since("goroutine", seconds(1)) ? 0
                                         : 3);  // of which there is a past without hooks, too
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(Since("goroutine", seconds(1)));
}

TEST(LookBack, WithoutAWatchThereIsNoPast) {
  EXPECT_EQ(ProfileSince("heap", seconds(10)).status().code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace heldby
