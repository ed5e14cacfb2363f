// runtime/leak_watch.h - the one that remembers: a thread, the past, and what was judged last.
//
// Threads  any; With() holds the lock.   Signals  unsafe: allocates.
// Self     its thread is the profiler's own.
// Fork     the child begins with nothing; the parent's copy is left alone, its lock with it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "collect/finding.h"
#include "collect/past.h"
#include "heldby/leaks.h"
#include "leaks/blob_history.h"

namespace heldby::runtime {

struct ExpectedLeak {
  std::string pattern;
  std::string reason;
};

/// One line of the file each; kInvalidArgument names file, line and what is accepted.
[[nodiscard]] Result<std::vector<ExpectedLeak>> ReadExpectedLeaks(const std::string& path);

/// What is told of the last judgement without waiting for the next one to end.
struct WatchSummary {
  bool is_known = false;
  /// By kind and class, those that are expected left out: how many, and their bytes.
  std::map<std::pair<LeakKind, LeakClass>, std::pair<std::int64_t, std::int64_t>> found{};
  std::int64_t judged_ns = 0;  // of the registry's clock
  std::int64_t history_bytes = 0;
  std::int64_t snapshots = 0;
  std::int64_t thinned_total = 0;
  std::int64_t dropped_kinds_total = 0;
  std::int64_t left_out = 0;  // LeakReport::left_out
};

class WatchState {
 public:
  WatchState(const core::CoreApi& of, LeakWatchOptions with, std::vector<ExpectedLeak> known);

  void RememberTotals();
  void RememberProfiles();

  const core::CoreApi& core;
  const LeakWatchOptions options;
  const std::vector<ExpectedLeak> expected;
  collect::Past past;
  leaks::BlobHistory goroutines;
  leaks::BlobHistory connections;
};

/// Calls `use` with the state under its lock; false: nobody watches in this process.
template <typename Use>
bool WithWatch(const Use& use);

struct WatchHolder {
  pid_t pid = 0;
  std::mutex mutex{};
  std::condition_variable wake{};
  int users = 0;
  bool thread_runs = false;
  std::unique_ptr<WatchState> state{};
  std::mutex summary_mutex{};  // never held for longer than a copy
  WatchSummary summary{};
};
[[nodiscard]] WatchHolder& HolderHere();

template <typename Use>
bool WithWatch(const Use& use) {
  WatchHolder& holder = HolderHere();
  const std::lock_guard lock(holder.mutex);
  if (holder.state == nullptr) return false;
  use(*holder.state);
  return true;
}

/// Of this process; is_known is false where nobody watches.
[[nodiscard]] WatchSummary ReadWatchSummary();

/// A report whose stacks are addresses yet.
struct Judgement {
  std::vector<collect::Finding> findings{};
  std::vector<ExpectedLeak> expected{};
  LeakReport report{};
  WatchSummary summary{};  // but for what was found
};

/// With what `state` remembers, if it is not nullptr: then the caller holds its lock.
[[nodiscard]] Judgement Judge(const core::CoreApi& core, const WatchState* state);
/// Names stacks if `with_names`, which may take a second and must not keep the past waiting:
/// the caller does not hold the lock. The summary is told either way.
[[nodiscard]] LeakReport Finish(const core::CoreApi& core, Judgement judgement,
                                bool with_names);

}  // namespace heldby::runtime
