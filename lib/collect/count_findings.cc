#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "collect/finding.h"
#include "collect/holders.h"

namespace heldby::collect {
namespace {

using leaks::Growth;
using leaks::GrowthClass;

// Below it, growth of tasks and connections is what a program is about.
constexpr double kSomeTasks = 12;

// Of none of them there is a doubt, and each counts as one.
struct Counted {
  std::vector<leaks::GrowthPoint> points{};
  std::vector<leaks::Birth> births{};
  std::int64_t oldest_ns = 0;
  std::uint32_t stack = 0;
};
using CountedGroups = FlatHashMap<CountHistory::Key, Counted>;

void AddPast(const CountHistory& counts, std::int64_t now_ns, CountedGroups* groups) {
  const leaks::SiteHistory& history = counts.history();
  absl::erase_if(*groups, [](const auto& entry) {
    return static_cast<double>(entry.second.births.size()) < kSomeTasks;
  });
  for (auto& [key, group] : *groups) group.points = EmptyPoints(history);
  FlatHashMap<std::uint32_t, std::int64_t> before;
  history.Visit([&](std::size_t snapshot, const leaks::SiteTotals& totals) {
    const auto group = groups->find(counts.key(totals.site));
    if (group == groups->end()) return;
    std::int64_t& last = before[totals.site];
    group->second.points[snapshot].live += static_cast<double>(totals.live_bytes() - last);
    last = totals.live_bytes();
  });
  for (auto& [key, group] : *groups) {
    AddUp(&group.points);
    if (group.points.empty() || group.points.back().time_ns >= now_ns) continue;
    group.points.push_back(
        {now_ns, static_cast<double>(group.births.size()), 0, group.points.back().load});
  }
}

leaks::GrowthRules RulesOfCounts(const Past& past) {
  return {.window_ns = past.window_ns(), .sample_bytes = 1, .least_growth = kSomeTasks};
}

void DescribeCount(const Growth& growth, const Counted& group, std::int64_t now_ns,
                   LeakVerdict* verdict) {
  verdict->leak_class = ClassOf(growth.verdict);
  verdict->count = static_cast<std::int64_t>(group.births.size());
  verdict->slope_per_hour = growth.slope_per_s * 3600;
  verdict->since_s = (now_ns - growth.since_ns) / 1'000'000'000;
  verdict->evidence = absl::StrFormat(
      "%s: %.0f more in %s, %d that began in that time are there, in %d of its 8 parts; the "
      "oldest is there for %s",
      growth.reason, growth.grown, SpanText(verdict->since_s), growth.survivors, growth.slices,
      SpanText(group.oldest_ns / 1'000'000'000));
}

void AddTaskFindings(const Evidence& evidence, const Past& past,
                     std::vector<Finding>* findings) {
  struct Gathering {
    CountedGroups groups;
    std::int64_t now_ns;
  } gathering{{}, evidence.now_ns};
  evidence.core.registry->visit_tasks(
      [](void* to, const core::TaskView& task) {
        if (!IsParked(task)) return;
        auto& all = *static_cast<Gathering*>(to);
        Counted& group = all.groups[KeyOf(task)];
        const auto born_ns = static_cast<std::int64_t>(task.born_ns);
        group.births.push_back({born_ns, 1});
        group.oldest_ns = std::max(group.oldest_ns, all.now_ns - born_ns);
        if (task.stack != 0) group.stack = task.stack;
      },
      &gathering);
  AddPast(past.tasks(), evidence.now_ns, &gathering.groups);
  PlaceTexts texts(*evidence.core.registry);
  for (const auto& [key, group] : gathering.groups) {
    const Growth growth = leaks::JudgeGrowth(group.points, group.births, RulesOfCounts(past));
    if (growth.verdict == GrowthClass::kSteady) continue;
    const PlaceTexts::Texts made = texts.Of(key.first);
    const PlaceTexts::Texts waits = texts.Of(key.second);
    Finding finding;
    LeakVerdict& verdict = finding.verdict;
    verdict.kind = LeakKind::kPilingTasks;
    DescribeCount(growth, group, evidence.now_ns, &verdict);
    verdict.summary = absl::StrFormat(
        "%d tasks \"%s\" wait for %s, %.0f more each hour, for %s", verdict.count, made.text,
        waits.text, verdict.slope_per_hour, SpanText(verdict.since_s));
    verdict.doubt =
        "Tasks that are kept for work to come, and are still being added to, look like this "
        "until there are enough.";
    verdict.command =
        "go tool pprof 'http://HOST:PORT/debug/pprof/goroutine?labels=task,state'";
    const auto place = [](const PlaceTexts::Texts& at) {
      return std::vector<std::string>{absl::StrCat(at.function, " ", at.file, ":", at.line)};
    };
    finding.names.push_back(made.text);
    finding.stacks.push_back({.role = "made at", .places = place(made)});
    finding.stacks.push_back({.role = "waits at", .places = place(waits)});
    if (group.stack != 0) {
      finding.stacks.push_back(
          {.role = "one was made by", .stack = evidence.core.registry->stack(group.stack)});
    }
    findings->push_back(std::move(finding));
  }
}

void AddGrowingConnections(const Evidence& evidence, const Past& past,
                           std::vector<Finding>* findings) {
  struct Gathering {
    CountedGroups groups;
    std::int64_t now_ns;
  } gathering{{}, evidence.now_ns};
  evidence.core.registry->visit_connections(
      [](void* to, const core::ConnectionView& connection) {
        if (connection.ended) return;
        auto& all = *static_cast<Gathering*>(to);
        Counted& group = all.groups[KeyOf(connection)];
        const auto born_ns = static_cast<std::int64_t>(connection.born_ns);
        group.births.push_back({born_ns, 1});
        group.oldest_ns = std::max(group.oldest_ns, all.now_ns - born_ns);
        group.stack = connection.stack;
      },
      &gathering);
  AddPast(past.connections(), evidence.now_ns, &gathering.groups);
  for (const auto& [key, group] : gathering.groups) {
    Growth growth = leaks::JudgeGrowth(group.points, group.births, RulesOfCounts(past));
    const bool is_ours = key.second != 0;
    // When an inbound connection ends is for the peer to say.
    if (!is_ours && growth.verdict == GrowthClass::kLeak) {
      growth.verdict = GrowthClass::kGrowthWithLoad;
    }
    if (growth.verdict == GrowthClass::kSteady) continue;
    Finding finding;
    LeakVerdict& verdict = finding.verdict;
    verdict.kind = LeakKind::kGrowingConnections;
    DescribeCount(growth, group, evidence.now_ns, &verdict);
    verdict.summary = absl::StrFormat("%d %s connections, %.0f more each hour, for %s",
                                      verdict.count, is_ours ? "outbound" : "inbound",
                                      verdict.slope_per_hour, SpanText(verdict.since_s));
    verdict.doubt = is_ours ? "A pool that is not full yet grows like this."
                            : "Peers open them and decide when they end.";
    verdict.command = "go tool pprof 'http://HOST:PORT/debug/pprof/connections?since=" +
                      std::to_string(std::max<std::int64_t>(verdict.since_s, 1)) + "s'";
    finding.stacks.push_back(
        {.role = "opened at", .stack = evidence.core.registry->stack(group.stack)});
    findings->push_back(std::move(finding));
  }
}

}  // namespace

void AddCountFindings(const Evidence& evidence, const Past& past,
                      std::vector<Finding>* findings) {
  AddTaskFindings(evidence, past, findings);
  AddGrowingConnections(evidence, past, findings);
}

}  // namespace heldby::collect
