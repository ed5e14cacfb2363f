// collect/trace_log.h - a trace while it is recorded, and all that is known when it is over.
//
// Threads  one at a time.   Signals  unsafe: allocates.
// Units    *_ns CLOCK_MONOTONIC nanoseconds.
// Bounds   as core/registry/event_log.h; kMaxQuietTasks tasks that nothing happened to.
// Source   docs/trace.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/core.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

struct TracedThread {
  std::string name{};
  std::uint64_t seen_ns = 0;  // first
  std::uint64_t gone_ns = 0;  // not there any more; 0: it is
  bool at_start = false;
  core::Holder holder{};  // when it was first seen
};

struct TracedConnection {
  core::ConnectionView view{};
  std::string peer{};
  std::string local{};
};

struct TraceLog {
  static constexpr std::size_t kMaxQuietTasks = 10'000;

  std::int64_t wall_ns = 0;  // at the start, since 1970
  core::EventLog::Totals totals{};
  std::uint64_t unfinished = 0;
  std::vector<core::Event> events{};  // by time; those of one thread as it wrote them
  FlatHashMap<std::int32_t, TracedThread> threads{};  // but the profiler's own
  // Those that were open at the end and were not made after it.
  std::vector<TracedConnection> connections{};
  std::vector<core::TaskView> tasks{};
  std::int64_t quiet_tasks_left_out = 0;
};

/// Records from Start() until Finish() or its destruction.
class TraceRecorder {
 public:
  explicit TraceRecorder(const core::CoreApi& core) : core_(core) {}
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;
  ~TraceRecorder();

  [[nodiscard]] core::EventLog::Started Start();
  /// Which threads there are now: to be called some times a second. Nobody else tells of the
  /// end of a thread that was there before.
  void Look();
  /// REQUIRES: Start() was kYes.
  [[nodiscard]] TraceLog Finish() &&;

 private:
  void TakeEvents();
  void AddThreadEvents();
  void ReadConnections();
  void ReadTasks();

  const core::CoreApi& core_;
  enum class State { kNew, kRecording, kStopped, kReleased } state_ = State::kNew;
  std::uint64_t start_coarse_ns_ = 0;
  TraceLog log_;
};

}  // namespace heldby::collect
