#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "collect/finding.h"
#include "collect/holders.h"

namespace heldby::collect {
namespace {

struct Gathering {
  Evidence* evidence;
  PlaceTexts texts;
};

void AddTask(Gathering* gathering, const core::TaskView& task) {
  Evidence& evidence = *gathering->evidence;
  if (task.ended) {
    evidence.ended_tasks.emplace(task.id, gathering->texts.Of(task.made_id).text);
    return;
  }
  if (task.held_bytes > 0) {
    evidence.tasks.emplace(task.id, gathering->texts.Of(task.made_id).text);
  }
  if (task.connection == 0) return;
  AtWork& work = evidence.work_of[task.connection];
  const std::string waits_for = IsParked(task) ? gathering->texts.Of(task.parked_id).text : "";
  // What runs, or waits in a system call of its thread, may be reading right now.
  if (waits_for.empty() || std::string_view(waits_for).starts_with("IO wait")) {
    work.waits_for_peer = true;
  } else if (work.waits_for.empty() || waits_for != "sleep") {
    work.waits_for = waits_for;
  }
}

}  // namespace

Evidence Gather(const core::CoreApi& core) {
  Evidence evidence(core);
  const core::RegistryApi& registry = *core.registry;
  evidence.now_ns = static_cast<std::int64_t>(registry.now_ns());
  evidence.connections = CollectConnections(registry);
  for (std::size_t i = 0; i < evidence.connections.size(); ++i) {
    evidence.connection_of.emplace(static_cast<std::uint32_t>(evidence.connections[i].id), i);
  }
  Gathering gathering{&evidence, PlaceTexts(registry)};
  registry.visit_tasks(
      [](void* to, const core::TaskView& task) { AddTask(static_cast<Gathering*>(to), task); },
      &gathering);
  core.visit_heap_sites(
      [](void* to, const core::HeapSite& site) {
        auto& found = *static_cast<Evidence*>(to);
        found.sites.emplace(site.id, site);
        found.live_bytes += static_cast<std::int64_t>(site.allocated_bytes - site.freed_bytes);
      },
      &evidence);
  registry.visit_live_samples(
      [](void* to, const core::LiveSampleView& sample) {
        static_cast<Evidence*>(to)->samples.push_back(sample);
      },
      &evidence);
  return evidence;
}

LeakClass ClassOf(leaks::GrowthClass verdict) {
  switch (verdict) {
    case leaks::GrowthClass::kLeak:
      return LeakClass::kLeak;
    case leaks::GrowthClass::kSuspect:
      return LeakClass::kSuspect;
    case leaks::GrowthClass::kGrowthWithLoad:
      return LeakClass::kGrowthWithLoad;
    case leaks::GrowthClass::kWarmUp:
      return LeakClass::kWarmUp;
    case leaks::GrowthClass::kSteady:
      break;
  }
  return LeakClass::kSteady;
}

std::vector<leaks::GrowthPoint> EmptyPoints(const leaks::SiteHistory& history) {
  std::vector<leaks::GrowthPoint> points;
  for (std::size_t i = 0; i < history.times_ns().size(); ++i) {
    points.push_back({history.times_ns()[i], 0, 0, history.loads()[i]});
  }
  return points;
}

void AddUp(std::vector<leaks::GrowthPoint>* points) {
  for (std::size_t i = 1; i < points->size(); ++i) {
    (*points)[i].live += (*points)[i - 1].live;
    (*points)[i].allocated += (*points)[i - 1].allocated;
  }
}

std::string BytesText(std::int64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; std::abs(value) >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  if (unit == 0) return absl::StrCat(bytes, "B");
  return absl::StrFormat("%.2f%s", value, kUnits[unit]);
}

std::string SpanText(std::int64_t seconds) {
  if (seconds < 120) return absl::StrCat(seconds, " s");
  if (seconds < 120 * 60) return absl::StrCat(seconds / 60, " min");
  if (seconds < 48 * 3600) return absl::StrCat(seconds / 3600, " h");
  return absl::StrCat(seconds / 86'400, " d");
}

}  // namespace heldby::collect
