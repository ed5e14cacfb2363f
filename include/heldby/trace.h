// heldby/trace.h - what happened in some seconds to tasks, connections and threads: born,
// parked and what on, woken, ended.
//
// Threads  every function: any thread, any time; one trace at a time in a process.
// Signals  unsafe: RecordTrace() waits and allocates.
// Self     allocations made inside these calls are never sampled; the profiler's own threads
//          are not in it.
// Units    *_ns nanoseconds.
// Bounds   262,144 events (8 MiB while it is recorded); what comes after them is dropped, and
//          the trace says how many. What only existed: 10,000 tasks, the oldest.
// Source   docs/trace.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "heldby/status.h"

namespace heldby {

struct TraceOptions {
  std::int64_t duration_ns = 1'000'000'000;  // at most 300 s
  /// Asked some times a second; true ends the trace early, and what there is is returned.
  std::function<bool()> cancelled{};
};

/// What a line of the trace is about.
enum class TraceSubject : std::uint8_t { kThread, kTask, kConnection };

enum class TracePhase : std::uint8_t {
  kRunBegin,   // on thread `tid` from here on, nested; `name` what runs
  kRunEnd,     // the innermost one of that thread
  kLifeBegin,  // of `subject` number `id`; and states in it, nested
  kLifeEnd,    // the innermost one
  kFlowOut,    // `id`: from what runs on `tid` here ...
  kFlowIn,     // ... to what begins to run there
  kMark        // a remark on the whole trace
};

/// Texts are numbers into Trace::texts, and are the program's bytes: not always UTF-8.
struct TraceEvent {
  std::int64_t time_ns = 0;  // since the trace began; none is less than the one before it
  std::uint64_t id = 0;      // of this trace only: of each subject, no two lives have the same
  std::int32_t tid = 0;      // the thread it happened on
  std::uint32_t name = 0;    // of what begins
  std::uint32_t first_argument = 0;  // in Trace::arguments
  std::uint16_t argument_count = 0;
  TracePhase phase{};
  TraceSubject subject{};
};

struct TraceArgument {
  std::uint32_t key = 0;    // text
  std::uint32_t value = 0;  // text
};

struct TraceThread {
  std::int32_t tid = 0;
  std::string name{};
};

/// Everything that begins also ends, at the latest with the trace; who was there before it
/// began or is still there when it ends has an argument that says so.
struct Trace {
  std::int64_t time_ns = 0;      // since 1970
  std::int64_t duration_ns = 0;  // that is shown: less than asked for if the log was full
  std::int32_t pid = 0;
  std::string process_name{};
  std::vector<TraceThread> threads{};
  std::vector<TraceEvent> events{};
  std::vector<TraceArgument> arguments{};
  std::vector<std::string> texts{};
  std::int64_t recorded_events = 0;
  std::int64_t dropped_events = 0;     // after the log was full
  std::int64_t unfinished_events = 0;  // a thread had begun to write them
  std::int64_t tasks_left_out = 0;     // that only existed
};

/// Records for `duration_ns`. Costs some 60 ns for each thing that happens, and nothing
/// afterwards.
///
/// kInvalidArgument     not a positive duration of at most 300 s
/// kFailedPrecondition  another trace is being recorded
/// kUnavailable         the core of another version, or none
/// kResourceExhausted   no memory for it
[[nodiscard]] Result<Trace> RecordTrace(const TraceOptions& options = {});

/// Trace events as JSON, gzipped: what ui.perfetto.dev and chrome://tracing open.
///
/// kResourceExhausted  no memory for it
[[nodiscard]] Result<std::string> EncodeTrace(const Trace& trace);

}  // namespace heldby
