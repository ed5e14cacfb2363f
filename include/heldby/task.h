// heldby/task.h - what the program is doing, by name, and for which connection.
//
// Threads    a Task, a Piece: the thread that made it. AsyncTask and functions: any.
// Signals    unsafe.
// Self       allocations made inside these calls are never sampled.
// Allocates  a Task never does.
// Units      *_ns nanoseconds, *_bytes bytes.
// Bounds     1,048,576 at once; beyond it a Task is not recorded, and is counted
//            (HeapCounters::dropped_tasks_total).
// Source     docs/holders.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "heldby/connection.h"
#include "heldby/status.h"

namespace heldby {

/// Names one task, as long as it is there and for some thousand tasks after; 0 names none.
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

/// A task's name and, unseen, the place of the call that it is written in.
struct TaskName {
  // NOLINTNEXTLINE(google-explicit-constructor): StartThread("flusher", ...) reads well
  constexpr TaskName(const char* name, const SourcePlace& where = SourcePlace::Here())
      : text(name), place(where) {}
  /// Called after the function that the call stands in.
  static constexpr TaskName OfCaller(const SourcePlace& where = SourcePlace::Here()) {
    return {where.function, where};
  }

  const char* text;
  SourcePlace place;
};

/// A place with a word on it, kept once: what AwaitFrame and Park() take.
enum class PlaceId : std::uint32_t { kNone = 0 };
/// `text` and the names in `place`: string literals, or texts that outlive the process's use.
[[nodiscard]] PlaceId InternPlace(const char* text, const SourcePlace& place);

/// One coroutine of a chain, inside its own frame; a reader follows it while the task is
/// parked.
struct AwaitFrame {
  const AwaitFrame* awaiter = nullptr;  // who waits for this one
  const void* code = nullptr;           // any address of its function: where it is resumed
  PlaceId place{};                      // where it waits
};

/// The task that is current on this thread.
[[nodiscard]] TaskId CurrentTask();

/// `task` is in this state, or waits for this, from now on; `chain`, innermost first, has to
/// stay readable until the task runs again. The same place again keeps its age.
void Park(TaskId task, PlaceId place, const AwaitFrame* chain = nullptr);

/// Whom `task` works for from its next piece on; where it is current now, at once.
void SetConnection(TaskId task, ConnectionId connection);

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
  void SetState(const char* state, const SourcePlace& place = SourcePlace::Here()) {
    Park(id_, InternPlace(state, place));
  }

 private:
  TaskId id_;
  std::uint32_t before_[3];  // the holder that was current
};

/// A task that no scope holds: a job in a queue, an operation with a callback, a coroutine. It
/// comes to threads in pieces and is parked in between. Begins with its construction and ends
/// with its destruction, on any threads; inherits what is current where it is made.
class AsyncTask {
 public:
  explicit AsyncTask(const char* name, const TaskOptions& options = {},
                     const SourcePlace& place = SourcePlace::Here());
  AsyncTask(AsyncTask&& other) noexcept : id_(std::exchange(other.id_, TaskId::kNone)) {}
  AsyncTask& operator=(AsyncTask&& other) noexcept;
  ~AsyncTask() { End(); }

  [[nodiscard]] TaskId id() const { return id_; }
  void SetState(const char* state, const SourcePlace& place = SourcePlace::Here()) {
    Park(id_, InternPlace(state, place));
  }
  /// Idempotent.
  void End();

  /// While it lives, the task is current on this thread. Nests, and has to end on the thread
  /// where it began.
  class Piece {
   public:
    explicit Piece(TaskId task);
    explicit Piece(const AsyncTask& task) : Piece(task.id()) {}
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece();

   private:
    TaskId id_;
    std::uint32_t before_[3];
  };

 private:
  TaskId id_;
};

/// `function`, to be called anywhere: while it runs, the task, connection and labels that are
/// current here and now are current there.
[[nodiscard]] std::function<void()> Propagate(std::function<void()> function);

struct TaskInfo {
  TaskId id{};
  TaskId parent{};
  ConnectionId connection{};
  bool ended = false;    // gone, but sampled bytes are still charged to it
  bool running = false;  // on a thread
  std::string name{};
  std::string function{};  // where it was made
  std::string file{};
  std::uint32_t line = 0;
  std::string state{};     // or what it waits for
  std::string state_at{};  // "server.cc:41"
  std::vector<std::pair<std::string, std::string>> labels{};
  std::int64_t age_ns = 0;
  std::int64_t state_age_ns = 0;
  std::int64_t held_bytes = 0;
};

/// Tasks, those that hold most first, then the oldest; at most `most` of them. Errors as
/// SnapshotConnections().
[[nodiscard]] Result<std::vector<TaskInfo>> SnapshotTasks(
    std::size_t most = std::numeric_limits<std::size_t>::max());
/// How many there are now, with those that have ended and still hold memory.
[[nodiscard]] std::size_t CountTasks();

}  // namespace heldby
