#include "core/core.h"

#include "core/base/error_line.h"
#include "core/base/self_guard.h"
#include "core/hooks/next_allocator.h"
#include "core/hooks/settings.h"
#include "core/hooks/thread_entry.h"
#include "core/registry/descriptors.h"
#include "core/registry/event_log.h"
#include "core/sampler/heap_sampler.h"

namespace heldby::core {
namespace {

struct SiteVisit {
  void (*visit)(void* context, const HeapSite& site);
  void* context;
};

void OnSite(void* argument, SiteId id, const SiteTable::Key& key, const SiteTotals& totals) {
  const auto& call = *static_cast<SiteVisit*>(argument);
  HeapSite site{};
  if (key.stack != StackId::kNoStack) {
    const StackRecord& record = heap_sampler.stacks().Get(key.stack);
    site.frames = record.frames;
    site.modules = record.modules();
    site.depth = record.depth;
    site.truncated = record.truncated;
  }
  site.labels = key.labels;
  site.id = static_cast<std::uint32_t>(id);
  site.size_class_bytes = key.size_class_bytes;
  site.allocated_objects = totals.allocated_objects;
  site.allocated_bytes = totals.allocated_bytes;
  site.freed_objects = totals.freed_objects;
  site.freed_bytes = totals.freed_bytes;
  call.visit(call.context, site);
}

HookDescription Describe() {
  const HookState state = DescribeHooks();
  return {state.active, state.reason, allocator_facts.name};
}

std::uint64_t SampleBytes() { return heap_sampler.clock().mean_bytes(); }

bool SetSampleBytes(std::uint64_t mean_bytes) {
  if (mean_bytes > kMaxSampleBytes) return false;
  if (DescribeHooks().active) heap_sampler.clock().set_mean_bytes(mean_bytes);
  return true;
}

void VisitHeapSites(void (*visit)(void*, const HeapSite&), void* context) {
  SiteVisit call{visit, context};
  heap_sampler.sites().Visit(&OnSite, &call);
}

Counters ReadCounters() {
  const HeapSampler& sampler = heap_sampler;
  const UnwindCounters unwind = ReadUnwindCounters();
  return {
      .sites = sampler.sites().size(),
      .samples_total = sampler.samples(),
      .live_samples = sampler.live().live(),
      .dropped_samples_total = sampler.live().dropped(),
      .dropped_stacks_total = sampler.stacks().dropped(),
      .dropped_sites_total = sampler.sites().dropped(),
      .truncated_stacks_total = sampler.truncated_stacks(),
      .stale_samples_total = sampler.stale_samples(),
      .untracked_samples_total = sampler.untracked(),
      .table_bytes = sampler.live().mapped_bytes() + sampler.sites().used_bytes() +
                     sampler.stacks().used_bytes(),
      .unwind_rules_read_total = unwind.rules_read_total,
      .unwind_cache_bytes = unwind.cache_bytes,
      .dropped_connections_total = registry.connections.dropped(),
      .dropped_tasks_total = registry.tasks.dropped(),
      .dropped_label_sets_total = registry.labels.dropped(),
      .dropped_places_total = registry.places.dropped(),
      .dropped_threads_total = registry.threads.dropped(),
      .registry_bytes = registry.connections.used_bytes() + registry.tasks.used_bytes() +
                        registry.labels.used_bytes(),
      .dropped_descriptors_total = descriptors.dropped(),
      .dropped_inheritances_total = DroppedInheritances(),
      .dropped_cpu_samples_total = cpu_sampler.dropped_samples_total(),
      .unwatched_cpu_threads_total = cpu_sampler.timers().unwatched_total(),
      .dropped_trace_events_total = event_log.dropped(),
      .opened_connections_total = {registry.opened_total(false), registry.opened_total(true)},
      .closed_connections_total = {registry.closed_total(false), registry.closed_total(true)},
      .dropped_error_lines_total = ErrorLinesLeftOut()};
}

void EnterSelf() { ++thread_slot.self_depth; }
void LeaveSelf() { --thread_slot.self_depth; }

void WriteLine(const char* line, std::size_t bytes) {
  const iovec whole = {const_cast<char*>(line), bytes};
  WriteErrorLine(&whole, 1);
}

void SeedThread(std::uint64_t seed) {
  thread_slot.random = seed;
  thread_slot.mean_bytes = 0;
  thread_slot.ends_in_sample = 0;
  thread_slot.countdown_bytes = 0;  // the next allocation draws
}

constexpr CoreApi kApi = {
    .abi = kCoreAbi,
    .describe_hooks = &Describe,
    .sample_bytes = &SampleBytes,
    .set_sample_bytes = &SetSampleBytes,
    .visit_heap_sites = &VisitHeapSites,
    .read_counters = &ReadCounters,
    .describe_module_at = &DescribeModuleAt,
    .enter_self = &EnterSelf,
    .leave_self = &LeaveSelf,
    .run_in_forked_children = &RunInForkedChildren,
    .write_error_line = &WriteLine,
    .setting = &SettingForThisThread,
    .seed_thread = &SeedThread,
    .registry = &registry_api,
    .threads = &thread_api,
    .cpu = &cpu_api,
    .contention = &contention_api,
    .trace = &trace_api,
};

}  // namespace

constexpr CpuApi cpu_api = {
    .start = [](std::uint64_t period_ns) { return cpu_sampler.Start(period_ns); },
    .stop = [](void (*visit)(void*, const CpuSample&),
               void* context) { cpu_sampler.Stop(visit, context); },
    .signal = [] { return cpu_sampler.timers().signal(); },
    .knows_thread = [](std::int32_t tid) { return cpu_sampler.timers().Knows(tid); },
    .watch_thread = [](std::int32_t tid) { cpu_sampler.timers().Watch(tid); },
    .sweep = [] { cpu_sampler.timers().Sweep(); },
    .drain = [](void (*visit)(void*, const CpuSample&),
                void* context) { return cpu_sampler.Drain(visit, context); },
};

}  // namespace heldby::core

extern "C" const heldby::core::CoreApi* heldby_core_v1() { return &heldby::core::kApi; }

extern "C" const heldby::core::CoreApi* heldby_own_core_v1()
    __attribute__((alias("heldby_core_v1"), visibility("hidden")));

namespace heldby::core {

// The name resolves to whoever comes first in the process, the alias is always this core's.
bool IsTheCoreOfThisProcess() { return &heldby_core_v1 == &heldby_own_core_v1; }

}  // namespace heldby::core
