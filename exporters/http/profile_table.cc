#include "exporters/http/profile_table.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "exporters/pprof/goroutine_text.h"
#include "exporters/pprof/text.h"
#include "heldby/connection.h"
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

std::string NotCollected(std::string_view what) {
  return Concat("This version of heldby does not collect ", what,
                ": the profile is empty by design, whatever the program does.");
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

Result<Profile> TakeThreadCreate(const TakeOptions&) {
  return Empty({{"threadcreate", "count"}}, {"threadcreate", "count"}, 1,
               NotCollected("thread creation"));
}

Result<Profile> TakeContention(const TakeOptions&) {
  return Empty({{"contentions", "count"}, {"delay", "nanoseconds"}}, {"contentions", "count"},
               1, NotCollected("lock contention"));
}

std::size_t CountNone() { return 0; }

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
      {"dropped_trace_events_total", counters.dropped_trace_events_total},
  };
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

Result<std::string> TextOfBlock(const Profile& profile) {
  return WithComments(ContentionText(ContentionKind::kBlock, profile), profile);
}

Result<std::string> TextOfMutex(const Profile& profile) {
  return WithComments(ContentionText(ContentionKind::kMutex, profile), profile);
}

const std::vector<ProfileEntry>& Builtin() {
  static const std::vector<ProfileEntry> kBuiltin = {
      {"allocs",
       "Everything allocated since the start, freed or not, by allocating stack (sampled).",
       TakeAllocs, CountHeap, TextOfHeap},
      {"block", "Where threads waited for locks and conditions. Not collected by this version.",
       TakeContention, CountNone, TextOfBlock},
      {"connections",
       "Open connections, by the stack that opened them, with what they hold and have queued.",
       TakeConnections, CountConnections, TextOfConnections},
      {"goroutine",
       "Every thread and every parked task, by the stack it is at. debug=2 for each of them.",
       TakeGoroutine, CountGoroutines, TextOfGoroutine, /*supports_delta=*/true,
       TextOfEachGoroutine},
      {"heap", "What is allocated and not yet freed, by allocating stack (sampled).", TakeHeap,
       CountHeap, TextOfHeap},
      {"mutex", "Who held the locks others waited for. Not collected by this version.",
       TakeContention, CountNone, TextOfMutex},
      {"threadcreate", "Stacks that created threads. Not collected by this version.",
       TakeThreadCreate, CountNone, TextOfThreadCreate},
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

Profile EmptyCpuProfile() {
  return Empty({{"samples", "count"}, {"cpu", "nanoseconds"}}, {"cpu", "nanoseconds"},
               10'000'000, NotCollected("CPU samples"));
}

}  // namespace heldby::http
