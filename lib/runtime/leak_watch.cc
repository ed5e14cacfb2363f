#include "runtime/leak_watch.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <fstream>
#include <string_view>

#include "absl/strings/ascii.h"
#include "collect/counted.h"
#include "collect/goroutines.h"
#include "collect/holders.h"
#include "core/base/signals_blocked.h"
#include "heldby/connection.h"
#include "heldby/goroutine.h"
#include "heldby/self.h"
#include "runtime/core_access.h"
#include "watch/watcher.h"

namespace heldby {
namespace runtime {
namespace {

using Clock = std::chrono::steady_clock;

// Whole profiles are dearer than totals, and looked at less closely.
constexpr int kTicksAProfile = 6;
constexpr int kTicksAJudgement = 3;
constexpr std::int64_t kTicksAWindow = 60;
// At most a thousandth of a processor for each of the three, however much there is to look at.
constexpr std::int64_t kCostFactor = 1000;

std::int64_t ThreadCpuNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// What each of the three jobs costs decides when that one is due again: where a profile or a
// judgement is dear, the totals are still noted in time.
class WatchLoop {
 public:
  explicit WatchLoop(WatchHolder* holder) : holder_(*holder) {}

  void Run() {
    std::unique_lock lock(holder_.mutex);
    const auto tick = holder_.state->options.window / kTicksAWindow;
    while (holder_.users > 0) {
      DoIfDue(&totals_next_, tick, [&] { holder_.state->RememberTotals(); });
      DoIfDue(&profiles_next_, kTicksAProfile * tick,
              [&] { holder_.state->RememberProfiles(); });
      DoIfDue(&judge_next_, kTicksAJudgement * tick, [&] { JudgeAndTell(&lock); });
      holder_.wake.wait_until(lock, std::min({totals_next_, profiles_next_, judge_next_}),
                              [this] { return holder_.users == 0; });
    }
    holder_.state.reset();
    {
      const std::lock_guard summary_lock(holder_.summary_mutex);
      holder_.summary = {};
    }
    holder_.thread_runs = false;
    holder_.wake.notify_all();
  }

 private:
  // The processor time of this thread is told as the profiler's, and says when the next is due.
  template <typename Job>
  static void DoIfDue(Clock::time_point* next, std::chrono::nanoseconds at_least,
                      const Job& job) {
    const auto begin = Clock::now();
    if (begin < *next) return;
    const std::int64_t begin_ns = ThreadCpuNs();
    try {
      job();
    } catch (const std::exception&) {
      // No memory: the past has a gap, and the next turn may be luckier.
    }
    const std::int64_t took_ns = ThreadCpuNs() - begin_ns;
    AddProfilerCpuTime(took_ns);
    *next = begin + std::max<std::chrono::nanoseconds>(
                        at_least, std::chrono::nanoseconds(kCostFactor * took_ns));
  }

  void JudgeAndTell(std::unique_lock<std::mutex>* lock) {
    const core::CoreApi& core = holder_.state->core;
    Judgement judgement = Judge(core, holder_.state.get());
    lock->unlock();
    try {
      // Patterns of what is expected need names, and so do dumps.
      const bool with_names = !judgement.expected.empty() || watch::counts().is_running;
      (void)Finish(core, std::move(judgement), with_names);
    } catch (...) {
      lock->lock();
      throw;
    }
    lock->lock();
  }

  WatchHolder& holder_;
  Clock::time_point totals_next_{};
  Clock::time_point profiles_next_{};
  Clock::time_point judge_next_{};
};

void* WatchThread(void*) {
  UnsampledScope unsampled;
  BecomeProfilerThread();
  pthread_setname_np(pthread_self(), "heldby-history");
  WatchLoop(&HolderHere()).Run();
  return nullptr;
}

Status StartThread() {
  const core::SignalsBlocked no_signals;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, &WatchThread, nullptr);
  pthread_attr_destroy(&attributes);
  if (error == 0) return {};
  return {StatusCode::kUnavailable,
          "cannot start the thread that watches for leaks: error " + std::to_string(error)};
}

}  // namespace

Result<std::vector<ExpectedLeak>> ReadExpectedLeaks(const std::string& path) {
  std::vector<ExpectedLeak> expected;
  if (path.empty()) return expected;
  std::ifstream file(path);
  if (!file) {
    return Status(StatusCode::kInvalidArgument,
                  "expected_file is \"" + path +
                      "\", which cannot be read; accepted: a file "
                      "with a pattern and a reason on each line");
  }
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const std::string text(absl::StripAsciiWhitespace(line));
    if (text.empty() || text[0] == '#') continue;
    const auto space = text.find_first_of(" \t");
    if (space == text.npos) {
      return Status(StatusCode::kInvalidArgument,
                    "expected_file " + path + ", line " + std::to_string(number) + " is \"" +
                        text + "\"; accepted: a pattern, a space, and why it is expected");
    }
    expected.push_back(
        {text.substr(0, space), std::string(absl::StripAsciiWhitespace(text.substr(space)))});
  }
  return expected;
}

WatchState::WatchState(const core::CoreApi& of, LeakWatchOptions with,
                       std::vector<ExpectedLeak> known)
    : core(of),
      options(std::move(with)),
      expected(std::move(known)),
      past(of, options.window.count(), options.history_bytes / 4 * 3),
      goroutines(leaks::BandsFor(options.window.count()), options.history_bytes / 8),
      connections(leaks::BandsFor(options.window.count()), options.history_bytes / 8) {}

void WatchState::RememberTotals() { past.Remember(); }

void WatchState::RememberProfiles() {
  const auto now_ns = static_cast<std::int64_t>(core.registry->now_ns());
  // Nobody asked for this one: no thread is disturbed for it.
  if (auto bytes = EncodePprof(collect::CollectGoroutines(core, {.may_signal = false}))) {
    goroutines.Add(now_ns, *std::move(bytes));
  }
  if (auto bytes = EncodePprof(collect::CollectConnectionProfile(core, {}))) {
    connections.Add(now_ns, *std::move(bytes));
  }
}

WatchSummary ReadWatchSummary() {
  WatchHolder& holder = HolderHere();
  const std::lock_guard lock(holder.summary_mutex);
  return holder.summary;
}

WatchHolder& HolderHere() {
  static std::atomic<WatchHolder*> kept{nullptr};
  WatchHolder* now = kept.load(std::memory_order_acquire);
  const pid_t pid = getpid();
  while (now == nullptr || now->pid != pid) {
    auto mine = std::make_unique<WatchHolder>();
    mine->pid = pid;
    if (kept.compare_exchange_strong(now, mine.get(), std::memory_order_acq_rel)) {
      return *mine.release();
    }
  }
  return *now;
}

}  // namespace runtime

namespace {

constexpr std::chrono::seconds kStopTimeout(2);

Status Check(const LeakWatchOptions& options) {
  if (options.window < std::chrono::seconds(1) || options.window > std::chrono::hours(240)) {
    return {StatusCode::kInvalidArgument,
            "window is " +
                std::to_string(std::chrono::duration<double>(options.window).count()) +
                " s; accepted: 1 s to 10 days"};
  }
  if (options.history_bytes < (std::size_t{64} << 10)) {
    return {StatusCode::kInvalidArgument, "history_bytes is " +
                                              std::to_string(options.history_bytes) +
                                              "; accepted: 65536 and more"};
  }
  return {};
}

}  // namespace

Result<LeakWatch> LeakWatch::Start(const LeakWatchOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    if (Status status = Check(options); !status.ok()) return status;
    auto expected = runtime::ReadExpectedLeaks(options.expected_file);
    if (!expected) return expected.status();
    runtime::WatchHolder& holder = runtime::HolderHere();
    std::unique_lock lock(holder.mutex);
    // One that is about to end is waited for: it would take the new one's state with it.
    holder.wake.wait(lock, [&] { return holder.users > 0 || !holder.thread_runs; });
    if (holder.users == 0) {
      holder.state =
          std::make_unique<runtime::WatchState>(*core, options, *std::move(expected));
      if (Status status = runtime::StartThread(); !status.ok()) {
        holder.state.reset();
        return status;
      }
      holder.thread_runs = true;
    }
    ++holder.users;
    return LeakWatch(&holder);
  } catch (const std::exception& error) {
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot watch for leaks: ") + error.what());
  }
}

LeakWatch& LeakWatch::operator=(LeakWatch&& other) noexcept {
  if (this != &other) {
    Stop();
    watched_ = std::exchange(other.watched_, nullptr);
  }
  return *this;
}

void LeakWatch::Stop() {
  const void* const watched = std::exchange(watched_, nullptr);
  if (watched == nullptr) return;
  UnsampledScope unsampled;
  runtime::WatchHolder& holder = runtime::HolderHere();
  // A forked child's copy: what the child has begun itself is not this one's to stop.
  if (watched != &holder) return;
  std::unique_lock lock(holder.mutex);
  if (--holder.users > 0) return;
  holder.wake.notify_all();
  // Not for ever: it may be asking for names, and a program that ends must not wait for that.
  // The thread ends by itself then, and uses nothing that exit() destroys.
  holder.wake.wait_for(lock, kStopTimeout,
                       [&] { return !holder.thread_runs || holder.users > 0; });
}

}  // namespace heldby
