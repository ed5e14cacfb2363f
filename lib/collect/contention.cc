#include "collect/contention.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "collect/holder_index.h"
#include "collect/holders.h"
#include "collect/stack_locations.h"
#include "core/base/clock.h"
#include "profile/builder.h"
#include "profile/flat_hash.h"

namespace heldby::collect {
namespace {

constexpr std::uint64_t kContentionUnit = 4096;

std::int64_t RealNowNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

const char* NameOf(core::WaitKind kind) {
  switch (kind) {
    case core::WaitKind::kMutex:
      return "mutex";
    case core::WaitKind::kReadLock:
      return "rwlock, to read";
    case core::WaitKind::kWriteLock:
      return "rwlock, to write";
    case core::WaitKind::kCondition:
      return "condition variable";
    case core::WaitKind::kSemaphore:
      return "semaphore";
    case core::WaitKind::kThread:
      return "end of a thread";
  }
  return "";
}

class ContentionCollector {
 public:
  ContentionCollector(const core::CoreApi& core, const HolderLabels& wanted)
      : core_(core),
        api_(*core.contention),
        wanted_(wanted),
        holders_(*core.registry, wanted),
        builder_({{"contentions", "count"}, {"delay", "nanoseconds"}}) {
    Profile& header = builder_.header();
    header.time_ns = RealNowNs();
    header.period_type = {"contentions", "count"};
    header.period = 1;
  }

  Profile CollectBlock() && {
    // Waits first: what ends after this is added again by Settle(), from its site's totals.
    now_ns_ = api_.now_ns();
    api_.visit_waits(
        [](void* self, const core::WaitView& wait) {
          static_cast<ContentionCollector*>(self)->waits_[wait.site].push_back(wait);
        },
        this);
    VisitSites(core::ContentionTable::kBlock);
    for (auto& [site, waits] : waits_) Settle(site, &waits);
    if (wanted_.connection || wanted_.task) {
      holders_.NameConnections();
      holders_.NameTasks();
    }
    for (const auto& [id, site] : sites_) Add(site, waits_[id]);
    AddWaitComment();
    AddDropComments();
    if (api_.block_rate_ns() == 0) {
      Comment(
          "The block profile is off. HELDBY_BLOCK_PROFILE_RATE=N in the environment, POST "
          "/debug/pprof/block?rate=N or heldby::SetBlockProfileRate(N) switch it on: waits of "
          "N nanoseconds and more are counted, shorter ones sampled; 1 counts all.");
    }
    return std::move(builder_).Build();
  }

  Profile CollectMutex() && {
    VisitSites(core::ContentionTable::kMutex);
    for (const auto& [id, site] : sites_) Add(site, {});
    AddDropComments();
    if (api_.mutex_fraction() == 0) {
      Comment(
          "The mutex profile is off. HELDBY_MUTEX_PROFILE_FRACTION=N in the environment, POST "
          "/debug/pprof/mutex?fraction=N or heldby::SetMutexProfileFraction(N) switch it on: "
          "one contention in N is counted; 1 counts all.");
    }
    return std::move(builder_).Build();
  }

 private:
  using Waits = std::vector<core::WaitView>;
  using Values = std::array<std::int64_t, 2>;

  void Comment(std::string text) { builder_.header().comments.push_back(std::move(text)); }

  void VisitSites(core::ContentionTable table) {
    api_.visit_sites(
        table,
        [](void* self, const core::ContentionSite& site) {
          static_cast<ContentionCollector*>(self)->sites_[site.id] = site;
        },
        this);
  }

  // Reads the site's totals at a moment at which each of `waits` is in one of both: still a
  // wait, or in the totals. Those that have ended leave `waits`.
  void Settle(std::uint32_t site, Waits* waits) {
    constexpr int kTries = 2000;
    constexpr std::chrono::microseconds kPause(100);
    for (int i = 0; i < kTries; ++i) {
      std::erase_if(*waits, [this](const core::WaitView& wait) {
        return api_.wait_phase(wait.id) == core::WaitPhase::kGone;
      });
      sites_[site] = api_.read_block_site(site);
      if (std::ranges::all_of(*waits, [this](const core::WaitView& wait) {
            return api_.wait_phase(wait.id) == core::WaitPhase::kWaiting;
          })) {
        return;
      }
      // Its thread has nanoseconds to go, but may have lost the processor.
      if (i > 0) std::this_thread::sleep_for(kPause);
    }
  }

  std::uint64_t AgeNs(const core::WaitView& wait) const {
    return static_cast<std::uint64_t>(core::BetweenNs(wait.start_ns, now_ns_));
  }
  bool IsCertain(const core::WaitView& wait) const {
    return wait.rate_ns != 0 && AgeNs(wait) >= wait.rate_ns;
  }

  void Add(const core::ContentionSite& site, const Waits& waits) {
    const std::vector<LocationId> stack = locations_.Of(site.stack);
    const std::vector<Label> labels = UserLabels(*core_.registry, site.labels);
    auto contentions =
        static_cast<std::int64_t>((site.contentions + kContentionUnit / 2) / kContentionUnit);
    auto delay_ns = static_cast<std::int64_t>(site.delay_ns);
    for (const core::WaitView& wait : waits) {
      if (!IsCertain(wait)) continue;
      const auto age_ns = static_cast<std::int64_t>(AgeNs(wait));
      if (wanted_.any()) {
        builder_.AddSample(stack, Values{1, age_ns}, WithWait(labels, wait));
      } else {
        contentions += 1;
        delay_ns += age_ns;
      }
    }
    if (contentions != 0) builder_.AddSample(stack, Values{contentions, delay_ns}, labels);
  }

  std::vector<Label> WithWait(std::vector<Label> labels, const core::WaitView& wait) const {
    if (wanted_.state) {
      labels.push_back({.key = "state", .text = "waiting"});
      labels.push_back({.key = "lock", .text = NameOf(wait.kind)});
    }
    if (wanted_.state || wanted_.age) {
      labels.push_back({.key = "age",
                        .number = static_cast<std::int64_t>(AgeNs(wait) / 1'000'000'000),
                        .number_unit = "seconds"});
    }
    const auto add = [&labels](std::span<const Label> more) {
      for (const Label& label : more) {
        // The holder's own state and age are not this wait's.
        if (label.key != "state" && label.key != "age") labels.push_back(label);
      }
    };
    add(holders_.LabelsOfConnection(wait.connection));
    add(holders_.LabelsOfTask(wait.task));
    return labels;
  }

  void AddWaitComment() {
    std::size_t count = 0;
    std::uint64_t longest_ns = 0;
    for (const auto& [site, waits] : waits_) {
      count += waits.size();
      for (const core::WaitView& wait : waits) longest_ns = std::max(longest_ns, AgeNs(wait));
    }
    if (count == 0) return;
    const absl::Time since =
        absl::FromUnixNanos(builder_.header().time_ns - static_cast<std::int64_t>(longest_ns));
    Comment(
        absl::StrFormat("waits under way: %d; the longest: %.3f s, since %s", count,
                        static_cast<double>(longest_ns) / 1e9,
                        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", since, absl::UTCTimeZone())));
  }

  void AddDropComments() {
    const core::ContentionCounters counters = api_.read_counters();
    const std::pair<std::uint64_t, const char*> drops[] = {
        {counters.dropped_waits_total, "waits not counted: 16384 under way"},
        {counters.dropped_locks_total, "waits for a lock whose unlocker is not known"},
        {counters.dropped_sites_total, "waits without a site: site table full"},
        {core_.read_counters().dropped_stacks_total,
         "samples without a stack: stack table full"},
    };
    for (const auto& [count, what] : drops) {
      if (count != 0) Comment(absl::StrCat("heldby: ", count, " ", what));
    }
  }

  const core::CoreApi& core_;
  const core::ContentionApi& api_;
  const HolderLabels wanted_;
  HolderIndex holders_;
  ProfileBuilder builder_;
  StackLocations locations_{core_, &builder_};
  std::uint64_t now_ns_ = 0;
  FlatHashMap<std::uint32_t, core::ContentionSite> sites_;
  FlatHashMap<std::uint32_t, Waits> waits_;  // by site
};

}  // namespace

Profile CollectBlock(const core::CoreApi& core, const HolderLabels& wanted) {
  return ContentionCollector(core, wanted).CollectBlock();
}

Profile CollectMutex(const core::CoreApi& core, const HolderLabels& wanted) {
  return ContentionCollector(core, wanted).CollectMutex();
}

}  // namespace heldby::collect
