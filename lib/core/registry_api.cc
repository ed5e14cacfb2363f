// The registry's part of the one door (core.h): copies of records, taken while others change
// them.
#include <string.h>

#include "core/base/clock.h"
#include "core/base/self_guard.h"
#include "core/core.h"
#include "core/registry/descriptors.h"
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

template <typename Record>
void SetState(Record* record, const char* state) {
  // A state that is set again and again to the same keeps its age.
  if (record == nullptr || record->state.load(kRelaxed) == state) return;
  record->state_since_ns.store(CoarseNowNs(), kRelaxed);
  record->state.store(state, kRelaxed);
}
void SetConnectionState(std::uint32_t id, const char* state) {
  SetState(registry.connections.Open(id), state);
}
void SetTaskState(std::uint32_t id, const char* state) {
  SetState(registry.tasks.Open(id), state);
}
void SetConnectionQueuedBytes(std::uint32_t id, std::uint64_t bytes) {
  if (ConnectionRecord* record = registry.connections.Open(id)) {
    record->queued_bytes.store(bytes, kRelaxed);
  }
}

std::uint32_t BeginTask(const Registry::TaskStart& start) { return registry.BeginTask(start); }
void EndTask(std::uint32_t id) { registry.EndTask(id); }

Holder CurrentHolder() { return thread_slot.holder; }
Holder SetHolder(Holder holder) {
  const Holder before = thread_slot.holder;
  thread_slot.holder = holder;
  return before;
}

std::uint32_t MergeLabels(std::uint32_t outer, const Label* labels, int count) {
  return registry.labels.Merge(outer, labels, count);
}
void VisitLabels(std::uint32_t id, void (*visit)(void*, const char*, const char*),
                 void* context) {
  registry.labels.Visit(id, visit, context);
}

void VisitConnections(void (*visit)(void*, const ConnectionView&), void* context) {
  registry.connections.ForEach([&](std::uint32_t id, const ConnectionRecord& record) {
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
    const auto stack = static_cast<StackId>(record.stack.load(kRelaxed));
    if (!registry.connections.StillIs(id)) return;  // another one by now
    if (stack != StackId::kNoStack) {
      const StackRecord& opened = heap_sampler.stacks().Get(stack);
      view.frames = opened.frames;
      view.modules = opened.modules();
      view.depth = opened.depth;
      view.truncated = opened.truncated;
    }
    visit(context, view);
  });
}

void VisitTasks(void (*visit)(void*, const TaskView&), void* context) {
  registry.tasks.ForEach([&](std::uint32_t id, const TaskRecord& record) {
    const TaskView view = {.id = id,
                           .ended = record.head.phase.load(kRelaxed) == Phase::kEnded,
                           .name = record.name.load(kRelaxed),
                           .file = record.file.load(kRelaxed),
                           .function = record.function.load(kRelaxed),
                           .line = record.line.load(kRelaxed),
                           .state = record.state.load(kRelaxed),
                           .state_since_ns = record.state_since_ns.load(kRelaxed),
                           .born_ns = record.born_ns.load(kRelaxed),
                           .held_bytes = record.held_bytes.load(kRelaxed),
                           .parent = record.parent.load(kRelaxed),
                           .connection = record.connection.load(kRelaxed),
                           .labels = record.labels.load(kRelaxed),
                           .tid = record.tid.load(kRelaxed)};
    if (registry.tasks.StillIs(id)) visit(context, view);
  });
}

struct HeldVisit {
  void (*visit)(void* context, const HeldSample& sample);
  void* context;
};

void VisitHeldSamples(void (*visit)(void*, const HeldSample&), void* context) {
  HeldVisit call{visit, context};
  heap_sampler.live().Visit(
      [](void* argument, std::uintptr_t, const LiveSample& sample) {
        if (sample.connection == 0 && sample.task == 0) return;
        const auto& held = *static_cast<HeldVisit*>(argument);
        held.visit(held.context,
                   {static_cast<std::uint32_t>(sample.site), sample.connection, sample.task,
                    sample.weight_bytes, sample.weight_objects, sample.guessed});
      },
      &call);
}

}  // namespace

extern const RegistryApi registry_api = {
    .open_connection = &OpenConnection,
    .end_connection = &EndConnection,
    .set_connection_state = &SetConnectionState,
    .set_connection_queued_bytes = &SetConnectionQueuedBytes,
    .begin_task = &BeginTask,
    .end_task = &EndTask,
    .set_task_state = &SetTaskState,
    .holder = &CurrentHolder,
    .set_holder = &SetHolder,
    .merge_labels = &MergeLabels,
    .visit_labels = &VisitLabels,
    .visit_connections = &VisitConnections,
    .visit_tasks = &VisitTasks,
    .visit_held_samples = &VisitHeldSamples,
    .now_ns = &CoarseNowNs,
};

}  // namespace heldby::core
