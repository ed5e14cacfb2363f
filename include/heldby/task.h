// heldby/task.h - what the program is doing, by name, and for which connection.
//
// Threads    a Task: the thread that made it. SnapshotTasks(): any.
// Signals    unsafe.
// Self       allocations made inside these calls are never sampled.
// Allocates  a Task never does.
// Units      *_ns nanoseconds, *_bytes bytes.
// Bounds     1,048,576 at once; beyond it a Task is not recorded, and is counted
//            (HeapCounters::dropped_tasks_total).
// Source     docs/holders.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "heldby/connection.h"
#include "heldby/status.h"

namespace heldby {

/// Names one task for as long as the process lives; 0 names none.
enum class TaskId : std::uint32_t { kNone = 0 };

struct TaskOptions {
  /// Whom it works for; kNone: whom the task around it works for.
  ConnectionId connection = ConnectionId::kNone;
};

/// Where a call stands in the source: std::source_location, which not every compiler has.
struct SourcePlace {
  const char* file;
  const char* function;
  std::uint32_t line;

  static constexpr SourcePlace Here(const char* file = __builtin_FILE(),
                                    const char* function = __builtin_FUNCTION(),
                                    std::uint32_t line = __builtin_LINE()) {
    return {file, function, line};
  }
};

/// While it lives, it is this thread's current task: what the thread allocates is charged to
/// it, to its connection, and to the labels around it. Nests; the task around it is its parent.
class Task {
 public:
  /// `name`: a string literal, or one that outlives the process's use of it.
  explicit Task(const char* name, const TaskOptions& options = {},
                const SourcePlace& place = SourcePlace::Here());
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task();

  [[nodiscard]] TaskId id() const { return id_; }
  /// What it is doing or waits for. A string literal, as `name`.
  void SetState(const char* state);

 private:
  TaskId id_;
  std::uint32_t before_[3];  // the holder that was current
};

/// `function`, to be called anywhere: while it runs, the task, connection and labels that are
/// current here and now are current there.
[[nodiscard]] std::function<void()> Propagate(std::function<void()> function);

struct TaskInfo {
  TaskId id{};
  TaskId parent{};
  ConnectionId connection{};
  bool ended = false;  // gone, but sampled bytes are still charged to it
  std::string name{};
  std::string function{};  // where it was made
  std::string file{};
  std::uint32_t line = 0;
  std::string state{};
  std::vector<std::pair<std::string, std::string>> labels{};
  std::int64_t age_ns = 0;
  std::int64_t state_age_ns = 0;
  std::int64_t held_bytes = 0;
};

/// All tasks, those that hold most first, then the oldest. Errors as SnapshotConnections().
[[nodiscard]] Result<std::vector<TaskInfo>> SnapshotTasks();

}  // namespace heldby
