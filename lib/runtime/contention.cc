#include "heldby/contention.h"

#include <algorithm>
#include <exception>
#include <string>

#include "collect/contention.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/trim.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

using Collect = Profile (*)(const core::CoreApi& core, const HolderLabels& wanted);

Result<Profile> Snapshot(const char* name, Collect collect, const ContentionOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    Profile profile = collect(*core, options.labels);
    SymbolizeProfile(&profile);
    if (!options.all_frames) TrimLockFrames(&profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the ") + name + " profile: " + error.what());
  }
}

std::size_t CountSites(core::ContentionTable table) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  std::size_t count = 0;
  if (core == nullptr) return count;
  core->contention->visit_sites(
      table,
      [](void* counted, const core::ContentionSite&) { ++*static_cast<std::size_t*>(counted); },
      &count);
  return count;
}

}  // namespace

std::int64_t SetBlockProfileRate(std::int64_t rate_ns) {
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return 0;
  const auto rate = static_cast<std::uint64_t>(std::max<std::int64_t>(rate_ns, 0));
  return static_cast<std::int64_t>(core->contention->set_block_rate_ns(rate));
}

std::int64_t BlockProfileRate() {
  const core::CoreApi* core = runtime::Core();
  return core == nullptr ? 0 : static_cast<std::int64_t>(core->contention->block_rate_ns());
}

std::int64_t SetMutexProfileFraction(std::int64_t fraction) {
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return 0;
  return static_cast<std::int64_t>(fraction < 0 ? core->contention->mutex_fraction()
                                                : core->contention->set_mutex_fraction(
                                                      static_cast<std::uint64_t>(fraction)));
}

Result<Profile> SnapshotBlock(const ContentionOptions& options) {
  return Snapshot("block", &collect::CollectBlock, options);
}

Result<Profile> SnapshotMutex(const ContentionOptions& options) {
  return Snapshot("mutex", &collect::CollectMutex, options);
}

std::size_t CountBlockSites() { return CountSites(core::ContentionTable::kBlock); }
std::size_t CountMutexSites() { return CountSites(core::ContentionTable::kMutex); }

__attribute__((noinline)) void RecordMutexWait(std::int64_t delay_ns) {
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr || delay_ns <= 0) return;
  core->contention->record_unlock(
      static_cast<std::uint64_t>(delay_ns),
      reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}

ContentionCounters ReadContentionCounters() {
  ContentionCounters result;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return result;
  const core::ContentionCounters counters = core->contention->read_counters();
  const auto as_signed = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  result.waits_total = as_signed(counters.waits_total);
  result.dropped_waits_total = as_signed(counters.dropped_waits_total);
  result.dropped_locks_total = as_signed(counters.dropped_locks_total);
  result.dropped_sites_total = as_signed(counters.dropped_sites_total);
  result.table_bytes = as_signed(counters.table_bytes);
  return result;
}

}  // namespace heldby
