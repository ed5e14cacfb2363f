#include "heldby/heap.h"

#include <exception>
#include <string>
#include <utility>

#include "collect/heap.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/trim.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

constexpr char kOtherCore[] =
    "libheldby.so and libheldby-server.so are of different versions: install both from one "
    "build";

}  // namespace

HeapHooks DescribeHeapHooks() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return {.active = false, .allocator = "unknown", .reason = kOtherCore};
  const core::HookDescription hooks = core->describe_hooks();
  return {.active = hooks.active, .allocator = hooks.allocator, .reason = hooks.reason};
}

std::int64_t HeapSampleBytes() {
  const core::CoreApi* core = runtime::Core();
  return core == nullptr ? 0 : static_cast<std::int64_t>(core->sample_bytes());
}

Status SetHeapSampleBytes(std::int64_t mean_bytes) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return {StatusCode::kUnavailable, kOtherCore};
  if (mean_bytes < 0 || !core->set_sample_bytes(static_cast<std::uint64_t>(mean_bytes))) {
    return {StatusCode::kInvalidArgument, "heap sampling distance is " +
                                              std::to_string(mean_bytes) +
                                              "; accepted: 0 (off) to 1099511627776 bytes"};
  }
  return {};
}

Result<Profile> SnapshotHeap(const HeapSnapshotOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return Status(StatusCode::kUnavailable, kOtherCore);
  const core::HookDescription hooks = core->describe_hooks();
  if (!hooks.active) return Status(StatusCode::kUnavailable, hooks.reason);
  try {
    Profile profile = collect::CollectHeap(*core, options.labels);
    SymbolizeProfile(&profile);
    if (!options.all_frames) TrimAllocationFrames(&profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the heap profile: ") + error.what());
  }
}

HeapCounters ReadHeapCounters() {
  HeapCounters result;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return result;
  const core::Counters counters = core->read_counters();
  const auto as_signed = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  result.sites = as_signed(counters.sites);
  result.live_samples = as_signed(counters.live_samples);
  result.samples_total = as_signed(counters.samples_total);
  result.dropped_samples_total = as_signed(counters.dropped_samples_total);
  result.dropped_stacks_total = as_signed(counters.dropped_stacks_total);
  result.dropped_sites_total = as_signed(counters.dropped_sites_total);
  result.truncated_stacks_total = as_signed(counters.truncated_stacks_total);
  result.stale_samples_total = as_signed(counters.stale_samples_total);
  result.untracked_samples_total = as_signed(counters.untracked_samples_total);
  result.table_bytes = as_signed(counters.table_bytes);
  result.unwind_rules_read_total = as_signed(counters.unwind_rules_read_total);
  result.unwind_cache_bytes = as_signed(counters.unwind_cache_bytes);
  result.dropped_connections_total = as_signed(counters.dropped_connections_total);
  result.dropped_tasks_total = as_signed(counters.dropped_tasks_total);
  result.dropped_label_sets_total = as_signed(counters.dropped_label_sets_total);
  result.dropped_places_total = as_signed(counters.dropped_places_total);
  result.dropped_threads_total = as_signed(counters.dropped_threads_total);
  result.registry_bytes = as_signed(counters.registry_bytes);
  result.dropped_descriptors_total = as_signed(counters.dropped_descriptors_total);
  result.dropped_inheritances_total = as_signed(counters.dropped_inheritances_total);
  result.dropped_cpu_samples_total = as_signed(counters.dropped_cpu_samples_total);
  result.unwatched_cpu_threads_total = as_signed(counters.unwatched_cpu_threads_total);
  result.dropped_trace_events_total = as_signed(counters.dropped_trace_events_total);
  return result;
}

}  // namespace heldby
