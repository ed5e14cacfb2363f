// heldby::ProfileSince(): now, less what was.
#include <algorithm>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

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

Status NothingYet(bool is_too_large) {
  if (is_too_large) {
    return {StatusCode::kUnavailable,
            "nothing is remembered: one snapshot is larger than an eighth of its part of "
            "history_bytes (HELDBY_HISTORY_BYTES)"};
  }
  return {StatusCode::kUnavailable,
          "nothing is remembered yet: the first snapshot is taken when the watch begins"};
}

// What was, copied while the lock is held: what takes its time with it, such as names, must
// not keep the past waiting.
struct Before {
  std::int64_t at_ns = 0;
  std::vector<leaks::SiteTotals> sites{};
  std::string blob{};
};

template <typename History>
Result<Before> Find(const History& history, std::int64_t then_ns) {
  if (history.times_ns().empty()) return NothingYet(history.thinned_total() > 0);
  const std::size_t snapshot = leaks::NearestBefore(history.times_ns(), then_ns);
  Before before{.at_ns = history.times_ns()[snapshot]};
  if constexpr (std::is_same_v<History, leaks::SiteHistory>) {
    before.sites = history.At(snapshot);
  } else {
    before.blob = history.At(snapshot);
  }
  return before;
}

Result<Before> FindBefore(const runtime::WatchState& state, const std::string& name,
                          std::int64_t then_ns) {
  if (name == "heap" || name == "allocs") {
    const core::HookDescription hooks = state.core.describe_hooks();
    if (!hooks.active) return Status(StatusCode::kUnavailable, hooks.reason);
    return Find(state.past.heap(), then_ns);
  }
  if (name == "goroutine") return Find(state.goroutines, then_ns);
  if (name == "connections") return Find(state.connections, then_ns);
  return Status(
      StatusCode::kNotFound,
      "there is no past of \"" + name + "\"; accepted: heap, allocs, goroutine, connections");
}

void TellMoment(std::int64_t ago_ns, std::int64_t asked_ns, Profile* profile) {
  profile->duration_ns = std::max<std::int64_t>(ago_ns, 1);
  profile->comments.push_back("heldby: what changed since " + SecondsText(ago_ns) +
                              " ago (asked for: " + SecondsText(asked_ns) + ")");
}

Result<Profile> Difference(const Profile& now, const std::string& blob) {
  const Result<Profile> before = DecodePprof(blob);
  if (!before) return before.status();
  return Diff(now, *before);
}

Result<Profile> Since(const core::CoreApi& core, const std::string& name, Before before) {
  if (name == "goroutine") {
    auto since =
        Difference(collect::CollectGoroutines(core, {.may_signal = false}), before.blob);
    if (!since) return since;
    SymbolizeProfile(&*since);
    NameFutexWaits(&*since);
    return since;
  }
  auto since = name == "connections"
                   ? Difference(collect::CollectConnectionProfile(core, {}), before.blob)
                   : collect::CollectHeapSince(core, std::move(before.sites));
  if (!since) return since;
  SymbolizeProfile(&*since);
  TrimAllocationFrames(&*since);
  if (name == "allocs") since->default_sample_type = "alloc_space";
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
    Result<Before> before = Status(StatusCode::kUnavailable,
                                   "nobody remembers the past here: no LeakWatch is running");
    std::int64_t now_ns = 0;
    runtime::WithWatch([&](const runtime::WatchState& state) {
      now_ns = static_cast<std::int64_t>(core->registry->now_ns());
      before = FindBefore(state, name, now_ns - ago.count());
    });
    if (!before) return before.status();
    const std::int64_t at_ns = before->at_ns;
    auto since = Since(*core, name, *std::move(before));
    if (since) TellMoment(now_ns - at_ns, ago.count(), &*since);
    return since;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the difference: ") + error.what());
  }
}

}  // namespace heldby
