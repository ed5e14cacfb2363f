#include "collect/wall.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "collect/holders.h"
#include "collect/stack_locations.h"
#include "profile/builder.h"

namespace heldby::collect {

// A signal for each look would wake a thread that waits a hundred times a second: only those
// that run are asked.
WallCollector::WallCollector(const core::CoreApi& core, bool may_signal) : core_(core) {
  options_ = {.may_signal = may_signal,
              .may_signal_waiting = false,
              .timeout_ns = 5'000'000,
              .leave_out = static_cast<std::int32_t>(::syscall(SYS_gettid)),
              .seen = &seen_};
}

void WallCollector::Look(std::int64_t ns) {
  for (ThreadState& thread : CollectThreads(core_, options_)) {
    Key key = {.frames = std::move(thread.frames),
               .modules = std::move(thread.modules),
               .truncated = thread.truncated,
               .labels = thread.holder.labels};
    Sum& sum = sums_[std::move(key)];
    ++sum.samples;
    sum.ns += ns;
  }
  for (const auto& [group, count] : CountParkedTasks(*core_.registry)) {
    Sum& sum = parked_[group];
    sum.samples += count;
    sum.ns += count * ns;
  }
}

Profile WallCollector::Finish(std::int64_t period_ns, std::int64_t began_ns,
                              std::int64_t duration_ns) const {
  ProfileBuilder builder({{"samples", "count"}, {"time", "nanoseconds"}});
  Profile& header = builder.header();
  header.time_ns = began_ns;
  header.duration_ns = duration_ns;
  header.period_type = {"wallclock", "nanoseconds"};
  header.period = period_ns;
  StackLocations locations(core_, &builder);
  std::vector<std::pair<Sum, const Key*>> sorted;
  for (const auto& [key, sum] : sums_) sorted.emplace_back(sum, &key);
  std::ranges::sort(sorted,
                    [](const auto& a, const auto& b) { return a.first.ns > b.first.ns; });
  for (const auto& [sum, key] : sorted) {
    std::vector<LocationId> stack = locations.Of(key->frames.data(), key->modules.data(),
                                                 key->frames.size(), key->truncated);
    if (stack.empty()) stack = {locations.Of(StackLocations::Synthetic::kNoStack)};
    builder.AddSample(std::move(stack), {sum.samples, sum.ns},
                      UserLabels(*core_.registry, key->labels));
  }
  PlaceTexts texts(*core_.registry);
  for (const auto& [group, sum] : parked_) {
    builder.AddSample(LocationsOf(group.stack, &texts, &locations), {sum.samples, sum.ns},
                      UserLabels(*core_.registry, group.labels));
  }
  return std::move(builder).Build();
}

}  // namespace heldby::collect
