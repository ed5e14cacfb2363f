// collect/trace_past.h - what was there before a trace began, out of its log and of what was
// still there at its end.
//
// Threads  any, after construction.   Signals  unsafe: allocates.
//
// Only the end of a trace is looked at: a look at the beginning would see what happens while it
// looks. What was there before and ended meanwhile has said in its last event what it was.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "collect/trace_log.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

class TracePast {
 public:
  struct Task {
    std::uint32_t made = 0;  // places
    std::uint32_t parked = 0;
    std::uint32_t parent = 0;
    std::uint32_t connection = 0;
    std::uint32_t labels = 0;
    bool is_scope = false;
  };
  struct Connection {
    bool is_outbound = false;
    const char* state = nullptr;  // throughout; nullptr: it changed, or there is none
  };

  explicit TracePast(const TraceLog& log);

  /// By id. One whose id was given again during the trace is here once, as the first.
  const FlatHashMap<std::uint32_t, Task>& tasks() const { return tasks_; }
  const FlatHashMap<std::uint32_t, Connection>& connections() const { return connections_; }
  /// None if anything happened on the thread before it could be read.
  const core::Holder& HolderAtStart(std::int32_t tid) const;
  /// Of the `nth` thread with this number.
  std::string ThreadName(std::int32_t tid, int nth) const;

  /// Of a kTaskBegin or a kTaskEnd.
  static Task TaskOf(const core::Event& event);

 private:
  void ReadTasks();
  void ReadConnections();
  void ReadThreads();

  const TraceLog& log_;
  FlatHashMap<std::uint32_t, Task> tasks_;
  FlatHashMap<std::uint32_t, Connection> connections_;
  FlatHashMap<std::int32_t, core::Holder> holders_;
  FlatHashMap<std::int32_t, std::vector<std::string>> thread_names_;
};

}  // namespace heldby::collect
