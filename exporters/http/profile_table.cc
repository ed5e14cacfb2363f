#include "exporters/http/profile_table.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "exporters/http/delta_series.h"
#include "exporters/pprof/goroutine_text.h"
#include "exporters/pprof/text.h"
#include "heldby/connection.h"
#include "heldby/contention.h"
#include "heldby/custom_profile.h"
#include "heldby/goroutine.h"
#include "heldby/heap.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

std::int64_t NowNs() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

Profile Empty(std::vector<ValueType> sample_types, ValueType period_type, std::int64_t period,
              std::string comment) {
  Profile profile;
  profile.sample_types = std::move(sample_types);
  profile.period_type = std::move(period_type);
  profile.period = period;
  profile.time_ns = NowNs();
  profile.comments.push_back(std::move(comment));
  return profile;
}

Result<Profile> TakeHeap(const TakeOptions& options) {
  auto heap = SnapshotHeap({.all_frames = options.all_frames, .labels = options.labels});
  if (heap || heap.status().code() != StatusCode::kUnavailable) return heap;
  return Empty({{"alloc_objects", "count"},
                {"alloc_space", "bytes"},
                {"inuse_objects", "count"},
                {"inuse_space", "bytes"}},
               {"space", "bytes"}, std::max<std::int64_t>(HeapSampleBytes(), 1),
               Concat("The heap is not being sampled: ", heap.status().message()));
}

Result<Profile> TakeAllocs(const TakeOptions& options) {
  auto heap = TakeHeap(options);
  if (heap) heap->default_sample_type = "alloc_space";
  return heap;
}

std::size_t CountHeap() { return static_cast<std::size_t>(ReadHeapCounters().sites); }

Result<Profile> TakeConnections(const TakeOptions& options) {
  return SnapshotConnectionProfile(options.labels);
}

Result<Profile> TakeGoroutine(const TakeOptions& options) {
  return SnapshotGoroutines({.labels = options.labels, .each = options.each});
}

Result<Profile> TakeThreadCreate(const TakeOptions&) { return SnapshotThreadCreation(); }

Result<Profile> OrEmptyContention(Result<Profile> taken) {
  if (taken || taken.status().code() != StatusCode::kUnavailable) return taken;
  return Empty({{"contentions", "count"}, {"delay", "nanoseconds"}}, {"contentions", "count"},
               1, Concat("Waits are not being recorded: ", taken.status().message()));
}

Result<Profile> TakeBlock(const TakeOptions& options) {
  return OrEmptyContention(
      SnapshotBlock({.all_frames = options.all_frames, .labels = options.labels}));
}

Result<Profile> TakeMutex(const TakeOptions& options) {
  return OrEmptyContention(
      SnapshotMutex({.all_frames = options.all_frames, .labels = options.labels}));
}

Result<std::string> TextOfHeap(const Profile& profile) {
  const HeapHooks hooks = DescribeHeapHooks();
  std::vector<std::string> trailer = profile.comments;
  trailer.push_back(Concat("hooks_active = ", hooks.active ? 1 : 0));
  trailer.push_back(Concat("allocator = ", hooks.allocator));
  if (!hooks.reason.empty()) trailer.push_back(Concat("reason = ", hooks.reason));
  trailer.push_back(Concat("sample_bytes = ", HeapSampleBytes()));
  const HeapCounters counters = ReadHeapCounters();
  const std::pair<const char*, std::int64_t> counted[] = {
      {"sites", counters.sites},
      {"live_samples", counters.live_samples},
      {"samples_total", counters.samples_total},
      {"dropped_samples_total", counters.dropped_samples_total},
      {"dropped_stacks_total", counters.dropped_stacks_total},
      {"dropped_sites_total", counters.dropped_sites_total},
      {"truncated_stacks_total", counters.truncated_stacks_total},
      {"stale_samples_total", counters.stale_samples_total},
      {"untracked_samples_total", counters.untracked_samples_total},
      {"table_bytes", counters.table_bytes},
      {"unwind_rules_read_total", counters.unwind_rules_read_total},
      {"unwind_cache_bytes", counters.unwind_cache_bytes},
      {"dropped_connections_total", counters.dropped_connections_total},
      {"dropped_tasks_total", counters.dropped_tasks_total},
      {"dropped_label_sets_total", counters.dropped_label_sets_total},
      {"dropped_places_total", counters.dropped_places_total},
      {"dropped_threads_total", counters.dropped_threads_total},
      {"registry_bytes", counters.registry_bytes},
      {"dropped_descriptors_total", counters.dropped_descriptors_total},
      {"dropped_inheritances_total", counters.dropped_inheritances_total},
      {"dropped_cpu_samples_total", counters.dropped_cpu_samples_total},
      {"unwatched_cpu_threads_total", counters.unwatched_cpu_threads_total},
      {"dropped_trace_events_total", counters.dropped_trace_events_total},
  };
  trailer.push_back(Concat("dropped_delta_stacks_total = ", DroppedDeltaStacksTotal()));
  for (const auto& [name, count] : counted) trailer.push_back(Concat(name, " = ", count));
  // The usual next question: how much of the process the heap explains. Linux counts in KiB.
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    trailer.push_back(Concat("MaxRSS = ", static_cast<std::int64_t>(usage.ru_maxrss) * 1024));
  }
  return HeapText(profile, std::max<std::int64_t>(profile.period, 1), trailer);
}

// Readers of these texts skip lines that begin with "#".
Result<std::string> WithComments(Result<std::string> text, const Profile& profile) {
  if (!text) return text;
  for (const std::string& comment : profile.comments)
    absl::StrAppend(&*text, "# ", comment, "\n");
  return text;
}

Result<std::string> TextOfGoroutine(const Profile& profile) {
  return WithComments(CountText("goroutine", profile), profile);
}

Result<std::string> TextOfConnections(const Profile& profile) {
  return WithComments(CountText("connections", profile), profile);
}

Result<std::string> TextOfEachGoroutine(const Profile& profile) {
  return WithComments(GoroutineText(profile), profile);
}

Result<std::string> TextOfThreadCreate(const Profile& profile) {
  return WithComments(CountText("threadcreate", profile), profile);
}

Result<std::string> TextOfContention(ContentionKind kind, const Profile& profile) {
  auto text = WithComments(ContentionText(kind, profile), profile);
  if (!text) return text;
  const ContentionCounters counters = ReadContentionCounters();
  const std::pair<const char*, std::int64_t> counted[] = {
      {"block_profile_rate_ns", BlockProfileRate()},
      {"mutex_profile_fraction", SetMutexProfileFraction(-1)},
      {"waits_total", counters.waits_total},
      {"dropped_waits_total", counters.dropped_waits_total},
      {"dropped_locks_total", counters.dropped_locks_total},
      {"dropped_sites_total", counters.dropped_sites_total},
      {"table_bytes", counters.table_bytes},
  };
  for (const auto& [name, count] : counted)
    absl::StrAppend(&*text, "# ", name, " = ", count, "\n");
  return text;
}

Result<std::string> TextOfBlock(const Profile& profile) {
  return TextOfContention(ContentionKind::kBlock, profile);
}

Result<std::string> TextOfMutex(const Profile& profile) {
  return TextOfContention(ContentionKind::kMutex, profile);
}

ProfileRate BlockRate() {
  return {.parameter = "rate",
          .most = 3'600'000'000'000,
          .meaning = "nanoseconds from 0 (off) and 1 (every wait)",
          .set = &SetBlockProfileRate};
}

ProfileRate MutexRate() {
  return {.parameter = "fraction",
          .most = 10'000,
          .meaning = "one contention in N, from 0 (off) and 1 (all)",
          .set = &SetMutexProfileFraction};
}

const std::vector<ProfileEntry>& Builtin() {
  static const std::vector<ProfileEntry> kBuiltin = {
      {"allocs",
       "Everything allocated since the start, freed or not, by allocating stack (sampled).",
       TakeAllocs, CountHeap, TextOfHeap},
      {.name = "block",
       .description =
           "Where threads wait for locks, conditions and semaphores, those that still "
           "do included. POST block?rate=N sets what is counted.",
       .take = TakeBlock,
       .count = CountBlockSites,
       .text = TextOfBlock,
       .rate = BlockRate()},
      {"connections",
       "Open connections, by the stack that opened them, with what they hold and have queued.",
       TakeConnections, CountConnections, TextOfConnections},
      {"goroutine",
       "Every thread and every parked task, by the stack it is at. debug=2 for each of them.",
       TakeGoroutine, CountGoroutines, TextOfGoroutine, /*supports_delta=*/true,
       TextOfEachGoroutine},
      {"heap", "What is allocated and not yet freed, by allocating stack (sampled).", TakeHeap,
       CountHeap, TextOfHeap},
      {.name = "mutex",
       .description =
           "Who held the locks others waited for: the stacks that unlocked them. POST "
           "mutex?fraction=N sets what is counted.",
       .take = TakeMutex,
       .count = CountMutexSites,
       .text = TextOfMutex,
       .rate = MutexRate()},
      {"threadcreate", "The threads there are, by the stack that created them.",
       TakeThreadCreate, CountThreads, TextOfThreadCreate},
  };
  return kBuiltin;
}

}  // namespace

std::span<const ProfileEntry> BuiltinProfiles() { return Builtin(); }

std::vector<ProfileEntry> CustomProfiles() {
  std::vector<ProfileEntry> entries;
  for (const std::string& name : CustomProfileNames()) {
    entries.push_back(
        {.name = name,
         .description = "",
         .take = [name](const TakeOptions&) { return SnapshotCustomProfile(name); },
         .count = [name] { return CountCustomProfile(name); },
         .text =
             [name](const Profile& profile) {
               return WithComments(CountText(name, profile), profile);
             }});
  }
  return entries;
}

Profile EmptyCpuProfile(std::string_view why) {
  return Empty({{"samples", "count"}, {"cpu", "nanoseconds"}}, {"cpu", "nanoseconds"},
               10'000'000, Concat("Processor time is not sampled: ", why));
}

}  // namespace heldby::http
