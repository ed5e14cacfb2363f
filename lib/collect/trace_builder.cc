#include "collect/trace_builder.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "collect/proc_task.h"
#include "collect/trace_connections.h"
#include "collect/trace_past.h"
#include "collect/trace_writer.h"

namespace heldby::collect {
namespace {

using core::Event;
using core::EventKind;

struct Task {
  TraceLife life;
  bool is_scope = false;
  std::uint32_t labels = 0;
  int threads = 0;          // that it runs on
  std::uint32_t waits = 0;  // the text of what for
  std::size_t flow = 0;     // the event that leads to its first piece, and 1
};

// What is current on a thread, the innermost last.
struct Run {
  core::Holder holder;
  bool is_piece;  // of a task; otherwise labels, or another's task
};
struct Thread {
  TraceLife life;  // id 0: it is not known when it began
  std::vector<Run> runs;
};

class Builder {
 public:
  Builder(const core::CoreApi& core, const TraceLog& log)
      : log_(log), past_(log), writer_(*core.registry, log.totals.start_ns) {}

  Trace Build() && {
    writer_.SetTime(log_.totals.start_ns);
    BeginWhatWasThere();
    for (const Event& event : log_.events) {
      if (event.time_ns > log_.totals.end_ns) break;
      writer_.SetTime(event.time_ns);
      On(event);
    }
    writer_.SetTime(log_.totals.end_ns);
    EndAll();
    return Finish();
  }

 private:
  void BeginWhatWasThere() {
    for (const std::int32_t tid : SortedKeys(log_.threads)) {
      if (log_.threads.at(tid).at_start) BeginThread(tid, 0, {kTraceBefore});
    }
    for (const std::uint32_t id : SortedKeys(past_.connections())) {
      const TracePast::Connection& known = past_.connections().at(id);
      connections_.Begin(id, known.is_outbound, known.state, {kTraceBefore});
    }
    for (const std::uint32_t id : SortedKeys(past_.tasks())) {
      const TracePast::Task& known = past_.tasks().at(id);
      Task& task = BeginTask(id, known, 0, {kTraceBefore});
      task.waits = PlaceText(known.parked);
      if (task.waits != 0) writer_.SetState(&task.life, 0, task.waits);
    }
    for (const std::int32_t tid : SortedKeys(log_.threads)) {
      const core::Holder& holder = past_.HolderAtStart(tid);
      if (holder.task == 0 && holder.labels == 0) continue;
      Push(tid, holder, /*is_piece=*/true);
      const auto task = tasks_.find(holder.task);
      if (task != tasks_.end() && !task->second.is_scope) Runs(&task->second, tid);
    }
  }

  void On(const Event& event) {
    switch (event.kind) {
      case EventKind::kTaskBegin:
        OnTaskBegin(event);
        break;
      case EventKind::kTaskEnd:
        OnTaskEnd(event);
        break;
      case EventKind::kTaskPark:
        OnTaskPark(event);
        break;
      case EventKind::kTaskEnter:
        OnTaskEnter(event);
        break;
      case EventKind::kTaskLeave:
        OnTaskLeave(event);
        break;
      case EventKind::kHolder:
        OnHolder(event);
        break;
      case EventKind::kConnectionBegin:
        connections_.Begin(event.id, (event.flags & Event::kOutbound) != 0, nullptr, {});
        break;
      case EventKind::kConnectionEnd:
        connections_.OnEnd(event, event.b != 0 ? TaskText(event.b) : std::string());
        break;
      case EventKind::kConnectionState:
        connections_.OnState(event);
        break;
      case EventKind::kConnectionPeer:
        connections_.OnPeer(event);
        break;
      case EventKind::kThreadBegin:
        OnThreadBegin(event);
        break;
      case EventKind::kThreadEnd:
        OnThreadEnd(event);
        break;
      case EventKind::kNone:
        break;
    }
  }

  // Threads.

  void BeginThread(std::int32_t tid, std::uint32_t creator, TraceArguments arguments) {
    std::uint32_t name = writer_.Text(past_.ThreadName(tid, threads_begun_[tid]++));
    if (name == 0) name = writer_.Text("thread");
    arguments.emplace_back("tid", absl::StrCat(tid));
    if (creator != 0) arguments.emplace_back("created_by", ThreadText(creator));
    threads_[tid].life = writer_.BeginLife(TraceSubject::kThread, tid, name, arguments);
    thread_names_[tid] = name;
  }
  std::string ThreadText(std::uint32_t tid) {
    const auto name = thread_names_.find(static_cast<std::int32_t>(tid));
    return name == thread_names_.end()
               ? absl::StrCat(tid)
               : absl::StrCat(writer_.trace().texts[name->second], " ", tid);
  }
  void EndThread(std::int32_t tid, const TraceArguments& arguments) {
    const auto thread = threads_.find(tid);
    if (thread == threads_.end()) return;
    PopTo(tid, 0);
    if (thread->second.life.id != 0) writer_.EndLife(&thread->second.life, tid, arguments);
    threads_.erase(thread);
  }
  void OnThreadBegin(const Event& event) {
    EndThread(event.tid, {});  // its number was given again
    TraceArguments arguments;
    if ((event.flags & Event::kNoticed) != 0) arguments.emplace_back("begin", "noticed here");
    BeginThread(event.tid, event.id, std::move(arguments));
  }
  void OnThreadEnd(const Event& event) {
    TraceArguments arguments;
    if ((event.flags & Event::kNoticed) != 0) {
      arguments.emplace_back("end", "noticed here; it was some time in the last 50 ms");
    }
    EndThread(event.tid, arguments);
  }

  // What runs on them.

  void Push(std::int32_t tid, const core::Holder& holder, bool is_piece) {
    std::vector<Run>& runs = threads_[tid].runs;
    const core::Holder outer = runs.empty() ? core::Holder{} : runs.back().holder;
    TraceArguments arguments;
    std::string name;
    if (holder.task != 0 && (is_piece || holder.task != outer.task)) {
      const auto task = tasks_.find(holder.task);
      name = task == tasks_.end() ? absl::StrCat("task ", holder.task)
                                  : writer_.trace().texts[task->second.life.name];
    } else {
      name = writer_.LabelText(holder.labels);
    }
    if (name.empty()) name = holder.connection != 0 ? "connection" : "unlabelled";
    if (holder.task != 0) arguments.emplace_back("task", absl::StrCat(holder.task));
    if (holder.connection != 0) {
      arguments.emplace_back("connection", absl::StrCat(holder.connection));
    }
    writer_.AddLabels(holder.labels, &arguments);
    writer_.Add(TracePhase::kRunBegin, TraceSubject::kTask, 0, tid, writer_.Text(name),
                arguments);
    runs.push_back({holder, is_piece});
  }
  void PopTo(std::int32_t tid, std::size_t depth) {
    std::vector<Run>& runs = threads_[tid].runs;
    for (; runs.size() > depth; runs.pop_back()) {
      writer_.Add(TracePhase::kRunEnd, TraceSubject::kTask, 0, tid, 0);
    }
  }
  // The innermost piece of it, and what is inside.
  void PopPiece(std::int32_t tid, std::uint32_t task) {
    const std::vector<Run>& runs = threads_[tid].runs;
    for (std::size_t depth = runs.size(); depth-- > 0;) {
      if (runs[depth].is_piece && runs[depth].holder.task == task) return PopTo(tid, depth);
    }
  }
  void OnHolder(const Event& event) {
    const core::Holder now = {.connection = event.b, .task = event.id, .labels = event.c};
    if (now.task == 0 && now.labels == 0 && now.connection == 0) return PopTo(event.tid, 0);
    const std::vector<Run>& runs = threads_[event.tid].runs;
    // One that is current again was so before: a scope has ended.
    for (std::size_t depth = runs.size(); depth-- > 0;) {
      const core::Holder& outer = runs[depth].holder;
      if (outer.task == now.task && outer.labels == now.labels &&
          (now.task != 0 || now.labels != 0 || outer.connection == now.connection)) {
        return PopTo(event.tid, depth + 1);
      }
    }
    Push(event.tid, now, /*is_piece=*/false);
  }

  // Tasks.

  std::uint32_t PlaceText(std::uint32_t place) {
    return place == 0 ? 0 : writer_.Text(writer_.Place(place).text);
  }

  Task& BeginTask(std::uint32_t id, const TracePast::Task& known, std::int32_t tid,
                  TraceArguments arguments) {
    const PlaceTexts::Texts made = writer_.Place(known.made);
    arguments.emplace_back("task", absl::StrCat(id));
    if (!made.file.empty()) {
      arguments.emplace_back("made", absl::StrCat(made.file, ":", made.line));
    }
    if (known.parent != 0) arguments.emplace_back("parent", TaskText(known.parent));
    if (known.connection != 0) {
      arguments.emplace_back("connection", absl::StrCat(known.connection));
    }
    writer_.AddLabels(known.labels, &arguments);
    const std::uint32_t name = writer_.Text(made.text.empty() ? "task" : made.text);
    Task& task = tasks_[id];
    task = {.life = writer_.BeginLife(TraceSubject::kTask, tid, name, arguments),
            .is_scope = known.is_scope,
            .labels = known.labels};
    return task;
  }
  std::string TaskText(std::uint32_t id) {
    const auto task = tasks_.find(id);
    return task == tasks_.end()
               ? absl::StrCat(id)
               : absl::StrCat(writer_.trace().texts[task->second.life.name], " ", id);
  }
  void Runs(Task* task, std::int32_t tid) {
    if (task->threads++ == 0) writer_.SetState(&task->life, tid, writer_.Text("running"));
  }

  void OnTaskBegin(const Event& event) {
    const TracePast::Task known = TracePast::TaskOf(event);
    Task& task = BeginTask(event.id, known, event.tid, {});
    if (task.is_scope) {
      Push(event.tid, {.connection = event.b, .task = event.id, .labels = event.c},
           /*is_piece=*/true);
    } else if (!threads_[event.tid].runs.empty()) {
      writer_.Add(TracePhase::kFlowOut, TraceSubject::kTask, task.life.id, event.tid, 0);
      task.flow = writer_.size();
    }
  }
  void OnTaskEnd(const Event& event) {
    if ((event.flags & Event::kScope) != 0) PopPiece(event.tid, event.id);
    const auto task = tasks_.find(event.id);
    if (task == tasks_.end()) return;
    EndTask(&task->second, event.tid, {});
    tasks_.erase(task);
  }
  void EndTask(Task* task, std::int32_t tid, const TraceArguments& arguments) {
    if (task->flow != 0) flows_to_nowhere_.push_back(task->flow - 1);
    writer_.EndLife(&task->life, tid, arguments);
  }
  void OnTaskPark(const Event& event) {
    const auto task = tasks_.find(event.id);
    if (task == tasks_.end()) return;
    task->second.waits = PlaceText(event.place);
    if (task->second.threads == 0) {
      writer_.SetState(&task->second.life, event.tid, task->second.waits);
    }
  }
  void OnTaskEnter(const Event& event) {
    const auto found = tasks_.find(event.id);
    if (found == tasks_.end()) return;
    Task& task = found->second;
    Push(event.tid, {.connection = 0, .task = event.id, .labels = task.labels},
         /*is_piece=*/true);
    if (std::exchange(task.flow, 0) != 0) {
      writer_.Add(TracePhase::kFlowIn, TraceSubject::kTask, task.life.id, event.tid, 0);
    }
    Runs(&task, event.tid);
  }
  void OnTaskLeave(const Event& event) {
    PopPiece(event.tid, event.id);
    const auto task = tasks_.find(event.id);
    if (task == tasks_.end() || task->second.threads == 0 || --task->second.threads != 0) {
      return;
    }
    const std::uint32_t waits = task->second.waits;
    writer_.SetState(&task->second.life, event.tid,
                     waits != 0 ? waits : writer_.Text("waiting"));
  }

  // The end.

  void EndAll() {
    for (const std::int32_t tid : SortedKeys(threads_)) EndThread(tid, {kTraceAfter});
    for (const std::uint32_t id : SortedKeys(tasks_)) EndTask(&tasks_[id], 0, {kTraceAfter});
    for (const TracedConnection& open : log_.connections) {
      connections_.EndOpen(open,
                           open.view.task != 0 ? TaskText(open.view.task) : std::string());
    }
    connections_.EndAll();
  }

  Trace Finish() {
    Trace& trace = writer_.trace();
    const core::EventLog::Totals& totals = log_.totals;
    if (totals.dropped_total != 0) {
      writer_.Add(TracePhase::kMark, TraceSubject::kThread, 0, getpid(),
                  writer_.Text(absl::StrCat("log full: ", totals.dropped_total,
                                            " events dropped from here on")));
    }
    std::ranges::sort(flows_to_nowhere_);
    std::size_t index = 0;
    std::erase_if(trace.events, [&](const TraceEvent&) {
      return std::ranges::binary_search(flows_to_nowhere_, index++);
    });
    trace.time_ns = log_.wall_ns;
    trace.duration_ns = static_cast<std::int64_t>(totals.end_ns - totals.start_ns);
    trace.pid = getpid();
    trace.process_name = ProcTask(trace.pid).Name();
    for (const std::int32_t tid : SortedKeys(thread_names_)) {
      trace.threads.push_back({tid, trace.texts[thread_names_[tid]]});
    }
    trace.recorded_events = static_cast<std::int64_t>(totals.recorded - log_.unfinished);
    trace.dropped_events = static_cast<std::int64_t>(totals.dropped_total);
    trace.unfinished_events = static_cast<std::int64_t>(log_.unfinished);
    trace.tasks_left_out = log_.quiet_tasks_left_out;
    return std::move(trace);
  }

  const TraceLog& log_;
  const TracePast past_;
  TraceWriter writer_;
  TracedConnections connections_{&writer_};
  FlatHashMap<std::int32_t, Thread> threads_;
  FlatHashMap<std::int32_t, std::uint32_t> thread_names_;
  FlatHashMap<std::int32_t, int> threads_begun_;
  FlatHashMap<std::uint32_t, Task> tasks_;
  std::vector<std::size_t> flows_to_nowhere_;
};

}  // namespace

Trace BuildTrace(const core::CoreApi& core, const TraceLog& log) {
  return Builder(core, log).Build();
}

}  // namespace heldby::collect
