// The registry's part of the one door (core.h): copies of records, taken while others change
// them.
#include <string.h>

#include "core/base/clock.h"
#include "core/base/self_guard.h"
#include "core/core.h"
#include "core/hooks/thread_entry.h"
#include "core/registry/descriptors.h"
#include "core/registry/event_log.h"
#include "core/registry/registry.h"
#include "core/sampler/heap_sampler.h"

namespace heldby::core {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

std::uint32_t OpenConnection(int fd, bool outbound, std::uintptr_t caller) {
  StackTable* stacks = &heap_sampler.stacks();
  if (const std::uint32_t seen = descriptors.TakeOver(fd, outbound, caller, stacks)) {
    return seen;
  }
  const std::uint32_t id =
      registry.OpenConnection(fd, outbound, /*implicit=*/false, caller, stacks);
  descriptors.Bind(fd, id);
  return id;
}
void EndConnection(std::uint32_t id) {
  descriptors.Unbind(id);
  registry.EndConnection(id);
}
void SetConnectionDescriptor(std::uint32_t id, int fd) {
  registry.SetDescriptor(id, fd);
  descriptors.Bind(fd, id);  // ends what a wrapped connect() has seen of it
}

void SetConnectionState(std::uint32_t id, const char* state) {
  registry.SetConnectionState(id, state);
}
void SetConnectionQueuedBytes(std::uint32_t id, std::uint64_t bytes) {
  if (ConnectionRecord* record = registry.connections.Open(id)) {
    record->queued_bytes.store(bytes, kRelaxed);
  }
}

std::uint32_t BeginTask(const Registry::TaskStart& start) {
  return registry.BeginTask(start, &heap_sampler.stacks());
}
void EndTask(std::uint32_t id) { registry.EndTask(id); }
std::uint32_t BeginScope(const Registry::TaskStart& start, Holder* before) {
  return registry.BeginScope(start, before, &heap_sampler.stacks());
}
void EndScope(std::uint32_t id, const Holder& before) { registry.EndScope(id, before); }
void SetTaskConnection(std::uint32_t id, std::uint32_t connection) {
  registry.SetTaskConnection(id, connection);
}
std::uint32_t InternPlace(const Place& place) { return registry.places.Intern(place); }
Place PlaceOf(std::uint32_t id) { return registry.places.Get(id); }
void ParkTask(std::uint32_t id, std::uint32_t place, const AwaitFrame* chain) {
  registry.ParkTask(id, place, chain);
}
Holder EnterTask(std::uint32_t id) { return registry.EnterTask(id); }
void LeaveTask(std::uint32_t id, const Holder& before) { registry.LeaveTask(id, before); }

std::uint32_t TaskRuns(std::uint32_t id) {
  std::atomic_thread_fence(std::memory_order_acquire);
  const TaskRecord* record = registry.tasks.Open(id);
  return record != nullptr ? record->runs.load(kRelaxed) : 1;
}

bool ReadThread(std::int32_t tid, ThreadView* thread) {
  ThreadSlot slot;
  if (!registry.threads.Read(tid, &slot)) return false;
  bool guessed = false;
  *thread = {slot.is_own, registry.HolderOf(slot, &guessed), slot.created_by, slot.stack_high};
  return true;
}
std::uint32_t InternStack(std::uintptr_t caller) {
  SelfGuard self;
  Stack stack;
  CaptureStack(caller, &stack);
  return static_cast<std::uint32_t>(heap_sampler.stacks().Intern(stack));
}
StackView StackOf(std::uint32_t id) {
  if (static_cast<StackId>(id) == StackId::kNoStack) return {};
  const StackRecord& record = heap_sampler.stacks().Get(static_cast<StackId>(id));
  return {record.frames, record.modules(), record.depth, record.truncated};
}
void BecomeOwn() {
  registry.threads.ListSelf();
  thread_slot.is_own = true;
  ++thread_slot.self_depth;
}

Holder CurrentHolder() { return thread_slot.holder; }
Holder SetHolder(Holder holder) { return registry.SetHolder(holder); }

std::uint32_t MergeLabels(std::uint32_t outer, const Label* labels, int count) {
  return registry.labels.Merge(outer, labels, count);
}
void VisitLabels(std::uint32_t id, void (*visit)(void*, const char*, const char*),
                 void* context) {
  registry.labels.Visit(id, visit, context);
}

std::uint32_t VisitConnectionsPart(std::uint32_t first, std::uint32_t count,
                                   void (*visit)(void*, const ConnectionView&), void* context) {
  const auto copy = [&](std::uint32_t id, const ConnectionRecord& record) {
    descriptors.Reconcile(id);
    if (record.head.phase.load(kRelaxed) == Phase::kFree) return;  // it was closed unseen
    ConnectionView view{};
    view.id = id;
    view.outbound = record.direction.load(kRelaxed) == 1;
    view.implicit = record.implicit.load(kRelaxed);
    view.ended = record.head.phase.load(kRelaxed) == Phase::kEnded;
    view.fd = record.fd.load(kRelaxed);
    view.task = record.task.load(kRelaxed);
    view.labels = record.labels.load(kRelaxed);
    view.state = record.state.load(kRelaxed);
    view.state_since_ns = record.state_since_ns.load(kRelaxed);
    view.born_ns = record.born_ns.load(kRelaxed);
    view.cookie = record.cookie.load(kRelaxed);
    view.queued_bytes = record.queued_bytes.load(kRelaxed);
    view.held_bytes = record.held_bytes.load(kRelaxed);
    std::uint64_t words[4];
    for (int i = 0; i < 4; ++i) words[i] = record.peer[i].load(kRelaxed);
    memcpy(&view.peer, words, sizeof(view.peer));
    view.stack = record.stack.load(kRelaxed);
    if (!registry.connections.StillIs(id)) return;  // another one by now
    visit(context, view);
  };
  return registry.connections.ForEachIn(first, count, copy);
}
void VisitConnections(void (*visit)(void*, const ConnectionView&), void* context) {
  VisitConnectionsPart(0, registry.connections.kSlots, visit, context);
}

std::uint32_t VisitTasksPart(std::uint32_t first, std::uint32_t count,
                             void (*visit)(void*, const TaskView&), void* context) {
  const auto copy = [&](std::uint32_t id, const TaskRecord& record) {
    TaskView view{};
    view.id = id;
    view.ended = record.head.phase.load(kRelaxed) == Phase::kEnded;
    view.is_scope = record.is_scope.load(kRelaxed);
    view.runs = record.runs.load(std::memory_order_acquire);
    view.running = RunsOf::IsRunning(view.runs);
    view.made_id = record.made.load(kRelaxed);
    view.parked_id = record.parked.load(kRelaxed);
    view.chain = record.chain.load(std::memory_order_acquire);
    view.parked_since_ns = record.parked_since_ns.load(kRelaxed);
    view.born_ns = record.born_ns.load(kRelaxed);
    view.held_bytes = record.held_bytes.load(kRelaxed);
    view.parent = record.parent.load(kRelaxed);
    view.connection = record.connection.load(kRelaxed);
    view.labels = record.labels.load(kRelaxed);
    view.stack = record.stack.load(kRelaxed);
    if (registry.tasks.StillIs(id)) visit(context, view);
  };
  return registry.tasks.ForEachIn(first, count, copy);
}
void VisitTasks(void (*visit)(void*, const TaskView&), void* context) {
  VisitTasksPart(0, registry.tasks.kSlots, visit, context);
}

struct LiveVisit {
  void (*visit)(void* context, const LiveSampleView& sample);
  void* context;
};

void VisitLiveSamples(void (*visit)(void*, const LiveSampleView&), void* context) {
  LiveVisit call{visit, context};
  heap_sampler.live().Visit(
      [](void* argument, std::uintptr_t, const LiveSample& sample) {
        const auto& live = *static_cast<LiveVisit*>(argument);
        live.visit(live.context, {.site = static_cast<std::uint32_t>(sample.site),
                                  .connection = sample.connection,
                                  .task = sample.task,
                                  .bytes = sample.weight_bytes,
                                  .objects = sample.weight_objects,
                                  .birth_ns = sample.birth_ns,
                                  .guessed = sample.guessed});
      },
      &call);
}

void KeepTaskStacks(bool keep) {
  if (keep) {
    registry.task_stack_askers.fetch_add(1, kRelaxed);
  } else {
    registry.task_stack_askers.fetch_sub(1, kRelaxed);
  }
}

EventLog::Started StartTrace() {
  WatchThreadEnds();
  return event_log.Start();
}
EventLog::Totals StopTrace() { return event_log.Stop(); }
std::uint64_t VisitEvents(void (*visit)(void*, const Event&), void* context) {
  return event_log.Visit(visit, context);
}
void ReleaseTrace() { event_log.Release(); }

}  // namespace

extern const TraceApi trace_api = {
    .start = &StartTrace,
    .stop = &StopTrace,
    .visit = &VisitEvents,
    .release = &ReleaseTrace,
};

extern const ThreadApi thread_api = {
    .read = &ReadThread,
    .intern_stack = &InternStack,
    .capture_parked = &CaptureParked,
    .capture_by_signal = &CaptureBySignal,
    .become_own = &BecomeOwn,
};

extern const RegistryApi registry_api = {
    .open_connection = &OpenConnection,
    .end_connection = &EndConnection,
    .set_connection_descriptor = &SetConnectionDescriptor,
    .set_connection_state = &SetConnectionState,
    .set_connection_queued_bytes = &SetConnectionQueuedBytes,
    .begin_task = &BeginTask,
    .end_task = &EndTask,
    .set_task_connection = &SetTaskConnection,
    .intern_place = &InternPlace,
    .place = &PlaceOf,
    .park_task = &ParkTask,
    .enter_task = &EnterTask,
    .leave_task = &LeaveTask,
    .task_runs = &TaskRuns,
    .holder = &CurrentHolder,
    .set_holder = &SetHolder,
    .merge_labels = &MergeLabels,
    .visit_labels = &VisitLabels,
    .visit_connections = &VisitConnections,
    .visit_tasks = &VisitTasks,
    .visit_connections_part = &VisitConnectionsPart,
    .visit_tasks_part = &VisitTasksPart,
    .visit_live_samples = &VisitLiveSamples,
    .stack = &StackOf,
    .now_ns = &CoarseNowNs,
    .begin_scope = &BeginScope,
    .end_scope = &EndScope,
    .keep_task_stacks = &KeepTaskStacks,
};

}  // namespace heldby::core
