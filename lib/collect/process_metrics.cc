// The families of collect/metrics.h that are about the process as the kernel sees it.
#include <chrono>

#include "collect/metrics.h"
#include "collect/process_account.h"

namespace heldby::collect {
namespace {

std::int64_t ProfilerBytes(const core::CoreApi& core) {
  const core::Counters counters = core.read_counters();
  return static_cast<std::int64_t>(counters.table_bytes + counters.registry_bytes +
                                   counters.unwind_cache_bytes +
                                   core.contention->read_counters().table_bytes);
}

}  // namespace

void MetricsCollector::AddMemory(const core::CoreApi& core, const ProcessAccount& process,
                                 MetricList* list) {
  const std::int64_t stack_bytes =
      stack_bytes_.Get([&core] { return ResidentStackBytes(core); });
  const ResidentParts parts = Divide(process, live_bytes_, stack_bytes, ProfilerBytes(core));
  list->Gauge("heldby_resident_bytes",
              "Resident memory by what it is for; adds up to process_resident_memory_bytes. "
              "allocator: freed and not given back, or in fragments.");
  list->Add({{"kind", "heap"}}, parts.heap_bytes);
  list->Add({{"kind", "allocator"}}, parts.allocator_bytes);
  list->Add({{"kind", "stacks"}}, parts.stack_bytes);
  list->Add({{"kind", "profiler"}}, parts.profiler_bytes);
  list->Add({{"kind", "file"}}, parts.file_bytes);
  list->Add({{"kind", "shared"}}, parts.shared_bytes);

  // Asking takes the allocator's own locks.
  const AllocatorStats& allocator =
      allocator_.Get([&core] { return ReadAllocatorStats(core.describe_hooks().allocator); },
                     std::chrono::seconds(10));
  if (allocator.known) {
    list->Gauge("heldby_allocator_bytes",
                "What the allocator has from the system, by its own count, some seconds old.");
    list->Add({{"kind", "in_use"}}, allocator.in_use_bytes);
    list->Add({{"kind", "cached"}}, allocator.cached_bytes);
    list->Gauge("heldby_allocator_mapped_bytes", "What the allocator has from the system.")
        .Add(allocator.mapped_bytes);
  }

  const CgroupDirs& dirs = cgroup_dirs_.Get([] { return FindCgroupDirs("/proc/thread-self"); },
                                            std::chrono::minutes(1));
  const CgroupMemory cgroup = ReadCgroupMemory(dirs);
  if (cgroup.is_limited) {
    list->Gauge("heldby_cgroup_memory_limit_bytes",
                "Memory limit of the control group with the least room left.")
        .Add(cgroup.limit_bytes);
    list->Gauge("heldby_cgroup_memory_used_bytes",
                "What that group uses, without file pages that can go at once.")
        .Add(cgroup.used_bytes);
  }
  list->Gauge("heldby_cgroup_memory_bytes",
              "What the process's own control group uses, by kind; sock: buffers of sockets.");
  for (const auto& [kind, bytes] : cgroup.by_kind) list->Add({{"kind", kind}}, bytes);

  list->Gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
      .Add(process.resident_bytes);
  list->Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
      .Add(process.virtual_bytes);
  list->Gauge("process_virtual_memory_max_bytes",
              "Maximum amount of virtual memory available in bytes; -1: no limit.")
      .Add(process.max_virtual_bytes);
}

void MetricsCollector::AddProcess(const ProcessAccount& process, MetricList* list) {
  if (start_seconds_ == 0) start_seconds_ = ProcessStartSeconds();
  list->Counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
      .Add(process.cpu_seconds);
  list->Gauge("process_open_fds", "Number of open file descriptors.").Add(open_fds_.Get([] {
    return CountOpenDescriptors();
  }));
  list->Gauge("process_max_fds", "Maximum number of open file descriptors; -1: no limit.")
      .Add(process.max_fds);
  list->Gauge("process_start_time_seconds",
              "Start time of the process since unix epoch in seconds.")
      .Add(start_seconds_);
  list->Gauge("process_threads", "Number of OS threads in the process.").Add(process.threads);
}

}  // namespace heldby::collect
