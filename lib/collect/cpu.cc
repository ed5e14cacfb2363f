#include "collect/cpu.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "collect/holder_index.h"
#include "collect/holders.h"
#include "collect/proc_task.h"
#include "collect/stack_locations.h"
#include "collect/threads.h"
#include "profile/builder.h"

namespace heldby::collect {
namespace {

// Each of them, or 50 ms: on a busy machine a thread may be kept waiting for a processor
// longer.
void WaitUntilTheyRan(const std::vector<std::pair<std::int32_t, std::string>>& threads) {
  constexpr int kSteps = 10;
  constexpr std::chrono::milliseconds kStep(5);
  const auto has_run = [](const auto& thread) {
    return ProcTask(thread.first).TimeRun() != thread.second;
  };
  for (int i = 0; i < kSteps && !std::ranges::all_of(threads, has_run); ++i) {
    std::this_thread::sleep_for(kStep);
  }
}

}  // namespace

// A file of the kernel's for each thread, so those that do are looked at again now and then
// only.
bool CpuCollector::IsLeftOut(std::int32_t tid) {
  constexpr int kLooksBetween = 20;
  const bool is_known = blocking_.contains(tid);
  if (is_known && looks_ % kLooksBetween != 0) return true;
  const bool blocks = ProcTask(tid).Blocks(core_.cpu->signal());
  if (blocks) blocking_.insert(tid);
  if (!blocks && is_known) blocking_.erase(tid);
  return blocks;
}

void CpuCollector::FindThreads() {
  core_.cpu->sweep();
  ++looks_;
  constexpr int kDrainedEvery = 100;
  int found = 0;
  std::vector<std::pair<std::int32_t, std::string>> running;
  const auto self = static_cast<std::int32_t>(::syscall(SYS_gettid));
  for (const std::int32_t tid : ThreadIds()) {
    core::ThreadView view{};
    if (tid == self || core_.cpu->knows_thread(tid) || IsOwnThread(core_, tid, &view)) continue;
    if (++found % kDrainedEvery == 0) Drain();  // those found are being sampled already
    if (IsLeftOut(tid)) continue;
    if (ProcTask(tid).Read().state == 'R') {
      running.emplace_back(tid, ProcTask(tid).TimeRun());
    } else {
      core_.cpu->watch_thread(tid);
    }
  }
  // One that was woken from sigwait() and has not run since has its mask only when it does.
  WaitUntilTheyRan(running);
  for (const auto& [tid, time_run] : running) {
    if (!IsLeftOut(tid)) core_.cpu->watch_thread(tid);
  }
}

// The core's frames are between this and whoever catches: it must come to the end of its work.
void CpuCollector::Take(void* collector, const core::CpuSample& sample) {
  auto* self = static_cast<CpuCollector*>(collector);
  try {
    self->Add(sample);
  } catch (...) {
    self->failed_ = std::current_exception();
  }
}

void CpuCollector::RethrowFailure() const {
  if (failed_ != nullptr) std::rethrow_exception(failed_);
}

void CpuCollector::Drain() {
  core_.cpu->drain(&CpuCollector::Take, this);
  RethrowFailure();
}

void CpuCollector::Stop() {
  core_.cpu->stop(&CpuCollector::Take, this);
  RethrowFailure();
}

void CpuCollector::Add(const core::CpuSample& sample) {
  Key key;
  key.frames.assign(sample.stack.frames, sample.stack.frames + sample.stack.depth);
  key.modules.assign(sample.stack.modules, sample.stack.modules + sample.stack.depth);
  key.truncated = sample.stack.truncated;
  key.labels = sample.holder.labels;
  key.connection = sample.holder.connection;
  key.task_made = sample.task_made;
  key.guessed = sample.guessed;
  weights_[std::move(key)] += sample.weight;
}

Profile CpuCollector::Finish(const HolderLabels& labels, std::int64_t began_ns,
                             std::int64_t duration_ns) const {
  ProfileBuilder builder({{"samples", "count"}, {"cpu", "nanoseconds"}});
  Profile& header = builder.header();
  header.time_ns = began_ns;
  header.duration_ns = duration_ns;
  header.period_type = {"cpu", "nanoseconds"};
  header.period = static_cast<std::int64_t>(period_ns_);
  StackLocations locations(core_, &builder);
  PlaceTexts texts(*core_.registry);
  HolderIndex connections(*core_.registry, {.connection = labels.connection,
                                            .task = false,
                                            .state = labels.state,
                                            .age = labels.age});
  if (labels.any()) connections.NameConnections();

  std::vector<std::pair<std::int64_t, const Key*>> sorted;
  for (const auto& [key, weight] : weights_) sorted.emplace_back(weight, &key);
  std::ranges::sort(sorted, [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [weight, key] : sorted) {
    std::vector<Label> with = UserLabels(*core_.registry, key->labels);
    const auto named = connections.LabelsOfConnection(key->connection);
    with.insert(with.end(), named.begin(), named.end());
    if (labels.connection && key->guessed) {
      with.push_back({.key = "attribution", .text = "implicit"});
    }
    if (const std::string& task = texts.Of(key->task_made).text; labels.task && !task.empty()) {
      with.push_back({.key = "task", .text = task});
    }
    builder.AddSample(locations.Of(key->frames.data(), key->modules.data(), key->frames.size(),
                                   key->truncated),
                      {weight, weight * static_cast<std::int64_t>(period_ns_)},
                      std::move(with));
  }
  const core::Counters now = core_.read_counters();
  if (const auto n = now.dropped_cpu_samples_total - before_.dropped_cpu_samples_total) {
    header.comments.push_back(
        absl::StrCat("heldby: ", n, " samples dropped: drained too late"));
  }
  if (const auto n = now.unwatched_cpu_threads_total - before_.unwatched_cpu_threads_total) {
    header.comments.push_back(
        absl::StrCat("heldby: ", n, " times no timer for a thread: RLIMIT_SIGPENDING"));
  }
  if (!blocking_.empty()) {
    header.comments.push_back(absl::StrCat("heldby: ", blocking_.size(),
                                           " threads are not in it: they block signal ",
                                           core_.cpu->signal()));
  }
  return std::move(builder).Build();
}

}  // namespace heldby::collect
