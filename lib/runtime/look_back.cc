// heldby::ProfileSince(): now, less what was.
#include <algorithm>
#include <exception>
#include <utility>

#include "collect/counted.h"
#include "collect/goroutines.h"
#include "collect/heap.h"
#include "heldby/leaks.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/merge.h"
#include "profile/trim.h"
#include "profile/wait_reason.h"
#include "runtime/core_access.h"
#include "runtime/leak_watch.h"

namespace heldby {
namespace {

std::string SecondsText(std::int64_t ns) { return std::to_string(ns / 1'000'000'000) + " s"; }

Status NothingYet() {
  return {StatusCode::kUnavailable,
          "nothing is remembered yet: the first snapshot is taken when the watch begins"};
}

void TellMoment(std::int64_t ago_ns, std::int64_t asked_ns, Profile* profile) {
  profile->duration_ns = std::max<std::int64_t>(ago_ns, 1);
  profile->comments.push_back("heldby: what changed since " + SecondsText(ago_ns) +
                              " ago (asked for: " + SecondsText(asked_ns) + ")");
}

Result<Profile> HeapSince(const core::CoreApi& core, const runtime::WatchState& state,
                          std::int64_t then_ns, std::int64_t* at_ns) {
  const leaks::SiteHistory& history = state.past.heap();
  if (history.times_ns().empty()) return NothingYet();
  const std::size_t snapshot = leaks::NearestBefore(history.times_ns(), then_ns);
  *at_ns = history.times_ns()[snapshot];
  Profile profile = collect::CollectHeapSince(core, history.At(snapshot));
  SymbolizeProfile(&profile);
  TrimAllocationFrames(&profile);
  return profile;
}

Result<Profile> BlobSince(const leaks::BlobHistory& history, const Profile& now,
                          std::int64_t then_ns, std::int64_t* at_ns) {
  if (history.times_ns().empty()) return NothingYet();
  const std::size_t snapshot = leaks::NearestBefore(history.times_ns(), then_ns);
  *at_ns = history.times_ns()[snapshot];
  const Result<Profile> before = DecodePprof(history.At(snapshot));
  if (!before) return before.status();
  auto difference = Diff(now, *before);
  if (difference) SymbolizeProfile(&*difference);
  return difference;
}

Result<Profile> Since(const core::CoreApi& core, const runtime::WatchState& state,
                      const std::string& name, std::int64_t ago_ns) {
  const auto now_ns = static_cast<std::int64_t>(core.registry->now_ns());
  const std::int64_t then_ns = now_ns - ago_ns;
  std::int64_t at_ns = now_ns;
  Result<Profile> since =
      Status(StatusCode::kNotFound, "there is no past of \"" + name +
                                        "\"; accepted: heap, allocs, goroutine, connections");
  if (name == "heap" || name == "allocs") {
    since = HeapSince(core, state, then_ns, &at_ns);
    if (since && name == "allocs") since->default_sample_type = "alloc_space";
  } else if (name == "goroutine") {
    since = BlobSince(state.goroutines, collect::CollectGoroutines(core, {.may_signal = false}),
                      then_ns, &at_ns);
    if (since) NameFutexWaits(&*since);
  } else if (name == "connections") {
    since = BlobSince(state.connections, collect::CollectConnectionProfile(core, {}), then_ns,
                      &at_ns);
    if (since) TrimAllocationFrames(&*since);
  }
  if (since) TellMoment(now_ns - at_ns, ago_ns, &*since);
  return since;
}

}  // namespace

Result<Profile> ProfileSince(const std::string& name, std::chrono::nanoseconds ago) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    Result<Profile> since = Status(StatusCode::kUnavailable,
                                   "nobody remembers the past here: no LeakWatch is running");
    runtime::WithWatch([&](const runtime::WatchState& state) {
      since = Since(*core, state, name, ago.count());
    });
    return since;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the difference: ") + error.what());
  }
}

}  // namespace heldby
