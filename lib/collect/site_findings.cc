#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "collect/finding.h"
#include "collect/holders.h"

namespace heldby::collect {
namespace {

using leaks::Growth;
using leaks::GrowthClass;

// What outlived its holder, for at least this part of the window, is worth a word.
constexpr std::int64_t kOutlivedPart = 10;
constexpr std::int64_t kMuchBytes = 16 << 20;
// More are not told, and counted.
constexpr std::size_t kMostSites = 20;

// Sites of one stack, or of one stack under one set of labels.
struct SiteGroup {
  const core::HeapSite* site = nullptr;
  std::uint32_t labels = 0;  // 0: of all
  std::int64_t live_bytes = 0;
  std::int64_t allocated_bytes = 0;
  std::int64_t live_objects = 0;  // in 1/4096
  std::int64_t outlived_bytes = 0;
  std::vector<leaks::Birth> births{};
  FlatHashMap<std::uint32_t, std::int64_t> by_connection{};
  FlatHashMap<std::uint32_t, std::int64_t> by_task{};
  std::vector<leaks::GrowthPoint> points{};
};

using GroupKey = std::pair<const std::uintptr_t*, std::uint32_t>;

class SiteJudge {
 public:
  SiteJudge(const Evidence& evidence, const Past& past) : evidence_(evidence), past_(past) {
    rules_.window_ns = past.window_ns();
    rules_.sample_bytes = static_cast<double>(evidence.core.sample_bytes());
  }

  /// How many were left out.
  std::size_t Run(std::vector<Finding>* findings) {
    AddSites();
    AddSamples();
    ForgetSmall();
    AddPast();
    std::vector<Finding> found;
    for (const auto& [key, group] : groups_) {
      if (key.second != 0) continue;
      if (auto finding = Judge(group)) found.push_back(*std::move(finding));
    }
    std::ranges::stable_sort(found, [](const Finding& a, const Finding& b) {
      return std::tuple(a.verdict.leak_class, -a.verdict.bytes) <
             std::tuple(b.verdict.leak_class, -b.verdict.bytes);
    });
    const std::size_t told = std::min(found.size(), kMostSites);
    std::move(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(told),
              std::back_inserter(*findings));
    return found.size() - told;
  }

 private:
  void AddSites() {
    for (const auto& [id, site] : evidence_.sites) {
      for (const std::uint32_t labels : {0u, site.labels}) {
        SiteGroup& group = groups_[{site.frames, labels}];
        group.site = &site;
        group.labels = labels;
        group.live_bytes += static_cast<std::int64_t>(site.allocated_bytes - site.freed_bytes);
        group.allocated_bytes += static_cast<std::int64_t>(site.allocated_bytes);
        if (site.labels == 0) break;
      }
    }
  }

  void AddSamples() {
    const std::int64_t old_ns = evidence_.now_ns - past_.window_ns() / kOutlivedPart;
    for (const core::LiveSampleView& sample : evidence_.samples) {
      const auto site = evidence_.sites.find(sample.site);
      if (site == evidence_.sites.end()) continue;  // younger than the list of sites
      const auto born_ns = static_cast<std::int64_t>(sample.birth_ns);
      const bool outlived = born_ns < old_ns && HasOutlived(sample);
      for (const std::uint32_t labels : {0u, site->second.labels}) {
        SiteGroup& group = groups_[{site->second.frames, labels}];
        group.births.push_back({born_ns, static_cast<double>(sample.bytes)});
        group.live_objects += static_cast<std::int64_t>(sample.objects);
        if (outlived) group.outlived_bytes += static_cast<std::int64_t>(sample.bytes);
        if (sample.connection != 0) {
          group.by_connection[sample.connection] += static_cast<std::int64_t>(sample.bytes);
        } else if (sample.task != 0) {
          group.by_task[sample.task] += static_cast<std::int64_t>(sample.bytes);
        }
        if (site->second.labels == 0) break;
      }
    }
  }

  bool HasOutlived(const core::LiveSampleView& sample) const {
    const auto connection = evidence_.connection_of.find(sample.connection);
    if (sample.connection != 0 && connection != evidence_.connection_of.end()) {
      return evidence_.connections[connection->second].ended;
    }
    return sample.task != 0 && evidence_.ended_tasks.contains(sample.task);
  }

  // Most sites are: what they have is less than what could ever be called growth.
  void ForgetSmall() {
    std::erase_if(groups_, [this](const auto& entry) {
      const SiteGroup& group = entry.second;
      return static_cast<double>(group.live_bytes) < rules_.least_growth ||
             group.births.empty();
    });
  }

  void AddPast() {
    const leaks::SiteHistory& history = past_.heap();
    for (auto& [key, group] : groups_) group.points = EmptyPoints(history);
    FlatHashMap<std::uint32_t, leaks::SiteTotals> before;
    history.Visit([&](std::size_t snapshot, const leaks::SiteTotals& totals) {
      const auto site = evidence_.sites.find(totals.site);
      if (site == evidence_.sites.end()) return;
      leaks::SiteTotals& last = before[totals.site];
      for (const std::uint32_t labels : {0u, site->second.labels}) {
        const auto group = groups_.find({site->second.frames, labels});
        if (group != groups_.end()) {
          leaks::GrowthPoint& point = group->second.points[snapshot];
          point.live += static_cast<double>(totals.live_bytes() - last.live_bytes());
          point.allocated += static_cast<double>(totals.allocated_bytes - last.allocated_bytes);
        }
        if (site->second.labels == 0) break;
      }
      last = totals;
    });
    for (auto& [key, group] : groups_) {
      AddUp(&group.points);
      if (!group.points.empty() && group.points.back().time_ns < evidence_.now_ns) {
        group.points.push_back({evidence_.now_ns, static_cast<double>(group.live_bytes),
                                static_cast<double>(group.allocated_bytes),
                                group.points.back().load});
      }
    }
  }

  std::optional<Finding> Judge(const SiteGroup& group) const {
    Growth growth = leaks::JudgeGrowth(group.points, group.births, rules_);
    const SiteGroup* shown = &group;
    // A leak under one label may drown in what the others do; and one that does not is better
    // told with it.
    const auto* frames = group.site->frames;
    for (auto at = groups_.upper_bound({frames, 0}); at != groups_.end(); ++at) {
      const SiteGroup& part = at->second;
      if (at->first.first != frames) break;
      const bool is_most = 10 * part.live_bytes >= 8 * group.live_bytes;
      if (growth.verdict == GrowthClass::kLeak && !is_most) continue;
      const Growth of_part = leaks::JudgeGrowth(part.points, part.births, rules_);
      if (of_part.verdict != GrowthClass::kLeak) continue;
      growth = of_part;
      shown = &part;
    }
    if (growth.verdict == GrowthClass::kSteady) return Outlived(group);
    return Describe(*shown, growth);
  }

  // No time is needed for this: who asked for it is gone, and it is still there.
  std::optional<Finding> Outlived(const SiteGroup& group) const {
    if (group.outlived_bytes < kMuchBytes || group.outlived_bytes * 5 < evidence_.live_bytes) {
      return std::nullopt;
    }
    Finding finding = Basics(group);
    LeakVerdict& verdict = finding.verdict;
    verdict.kind = LeakKind::kOutlivedHolders;
    verdict.leak_class = LeakClass::kSuspect;
    verdict.bytes = group.outlived_bytes;
    verdict.summary = absl::StrCat(BytesText(group.outlived_bytes),
                                   " outlived the connections and tasks that they were for");
    verdict.evidence =
        absl::StrCat(BytesText(group.outlived_bytes), " of ", BytesText(group.live_bytes),
                     " of this stack are charged to holders that have ended; the site as a "
                     "whole does not grow");
    verdict.doubt = "A cache that requests fill looks the same.";
    verdict.command =
        "go tool pprof -tagfocus=holder=ended "
        "'http://HOST:PORT/debug/pprof/heap?labels=connection,task'";
    return finding;
  }

  Finding Basics(const SiteGroup& group) const {
    Finding finding;
    finding.verdict.count = (group.live_objects + 2048) / 4096;
    finding.verdict.bytes = group.live_bytes;
    finding.verdict.holders = HeaviestOf(group);
    const core::HeapSite& site = *group.site;
    finding.stacks.push_back(
        {.role = "allocated at",
         .stack = {site.frames, site.modules, site.depth, site.truncated}});
    return finding;
  }

  std::vector<std::string> HeaviestOf(const SiteGroup& group) const {
    std::vector<std::pair<std::int64_t, std::string>> order;
    for (const auto& [id, bytes] : group.by_connection) {
      const auto found = evidence_.connection_of.find(id);
      if (found == evidence_.connection_of.end()) continue;
      const ConnectionInfo& info = evidence_.connections[found->second];
      order.emplace_back(
          bytes, absl::StrCat("connection ", id, " ", info.peer, info.ended ? ", ended" : ""));
    }
    for (const auto& [id, bytes] : group.by_task) {
      const auto ended = evidence_.ended_tasks.find(id);
      const auto live = evidence_.tasks.find(id);
      const bool is_ended = ended != evidence_.ended_tasks.end();
      const std::string name = is_ended                        ? ended->second
                               : live != evidence_.tasks.end() ? live->second
                                                               : std::string();
      order.emplace_back(bytes,
                         absl::StrCat("task ", id, " ", name, is_ended ? ", ended" : ""));
    }
    std::ranges::sort(order, std::ranges::greater());
    std::vector<std::string> holders;
    for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 3); ++i) {
      holders.push_back(absl::StrCat(order[i].second, ": ", BytesText(order[i].first)));
    }
    return holders;
  }

  Finding Describe(const SiteGroup& group, const Growth& growth) const {
    Finding finding = Basics(group);
    LeakVerdict& verdict = finding.verdict;
    verdict.kind = LeakKind::kGrowingSite;
    verdict.leak_class = ClassOf(growth.verdict);
    verdict.slope_per_hour = growth.slope_per_s * 3600;
    verdict.slope_error = growth.slope_error_per_s * 3600;
    verdict.since_s = (evidence_.now_ns - growth.since_ns) / 1'000'000'000;
    std::string labels;
    for (const auto& [key, value] : LabelsOf(*evidence_.core.registry, group.labels)) {
      absl::StrAppend(&labels, " ", key, "=", value);
      if (key == "route") finding.names.push_back(value);
    }
    const bool is_leak = growth.verdict == GrowthClass::kLeak;
    verdict.summary = absl::StrCat(BytesText(group.live_bytes),
                                   labels.empty() ? "" : absl::StrCat(" under", labels),
                                   is_leak ? " and growing by " : ", changing by ",
                                   BytesText(static_cast<std::int64_t>(verdict.slope_per_hour)),
                                   " an hour, for ", SpanText(verdict.since_s));
    verdict.evidence = absl::StrFormat(
        "%s: %s in %s (+/- %s an hour from sampling), %d samples born in that time live, in "
        "%d of its 8 parts; of what was allocated early in it %.3g %% live, of what came late "
        "%.3g %%",
        growth.reason, BytesText(static_cast<std::int64_t>(growth.grown)),
        SpanText(verdict.since_s), BytesText(static_cast<std::int64_t>(verdict.slope_error)),
        growth.survivors, growth.slices, 100 * growth.residue_old, 100 * growth.residue_young);
    if (group.outlived_bytes > 0) {
      absl::StrAppend(&verdict.evidence, "; ", BytesText(group.outlived_bytes),
                      " were for connections and tasks that have ended");
    }
    verdict.doubt =
        "A cache that is not full yet, or a batch whose first round takes longer than the time "
        "watched, grows like this until it is.";
    verdict.command = absl::StrCat(
        "go tool pprof -sample_index=inuse_space "
        "'http://HOST:PORT/debug/pprof/heap?since=",
        std::max<std::int64_t>(verdict.since_s, 1), "s'");
    return finding;
  }

  const Evidence& evidence_;
  const Past& past_;
  leaks::GrowthRules rules_{};
  std::map<GroupKey, SiteGroup> groups_{};
};

}  // namespace

std::size_t AddSiteFindings(const Evidence& evidence, const Past& past,
                            std::vector<Finding>* findings) {
  return SiteJudge(evidence, past).Run(findings);
}

}  // namespace heldby::collect
