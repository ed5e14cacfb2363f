// collect/process_account.h - what the kernel knows of this process, and where its resident
// memory is.
//
// Threads  any.   Signals  unsafe: allocates, reads files.   Units  in the names.
// Source   proc(5): status, stat, limits; mincore(2).
#pragma once

#include <cstdint>

#include "core/core.h"

namespace heldby::collect {

struct ProcessAccount {
  double cpu_seconds = 0;
  std::int64_t virtual_bytes = 0;
  std::int64_t resident_bytes = 0;
  std::int64_t resident_anonymous_bytes = 0;
  std::int64_t resident_file_bytes = 0;
  std::int64_t resident_shared_bytes = 0;
  std::int64_t threads = 0;
  std::int64_t max_fds = 0;            // -1: no limit
  std::int64_t max_virtual_bytes = 0;  // -1: no limit
};

/// Some 30 us.
[[nodiscard]] ProcessAccount ReadProcess();

/// The time the process was started, in seconds since 1970. It does not change; read it once.
[[nodiscard]] double ProcessStartSeconds();

/// A directory read of a size that the kernel tells at once from 6.2 on.
[[nodiscard]] std::int64_t CountOpenDescriptors();

/// Resident memory of the stacks that threads run on now, those of threads that have allocated
/// and of the first one. Some microseconds a thread. Of a stack deeper than the default size
/// (8 MiB at least) no more than that is seen.
[[nodiscard]] std::int64_t ResidentStackBytes(const core::CoreApi& core);

/// Resident memory by what it is for. The parts add up to ProcessAccount::resident_bytes: what
/// is live of the heap is an estimate and may be untouched, and so is only counted as far as
/// there are resident pages for it.
struct ResidentParts {
  std::int64_t heap_bytes = 0;
  std::int64_t allocator_bytes = 0;  // freed, and not given back; fragments; everything else
  std::int64_t stack_bytes = 0;
  std::int64_t profiler_bytes = 0;
  std::int64_t file_bytes = 0;
  std::int64_t shared_bytes = 0;
};
[[nodiscard]] ResidentParts Divide(const ProcessAccount& process, std::int64_t live_bytes,
                                   std::int64_t stack_bytes, std::int64_t profiler_bytes);

}  // namespace heldby::collect
