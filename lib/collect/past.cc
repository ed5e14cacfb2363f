#include "collect/past.h"

#include <algorithm>

namespace heldby::collect {
namespace {

// Sites are many; of the kinds of tasks and connections a service has some dozens.
constexpr std::size_t kHeapShare = 4;

}  // namespace

void CountHistory::Add(std::int64_t now_ns, const FlatHashMap<Key, std::int64_t>& counts,
                       const leaks::Load& load) {
  // What may fail for want of memory comes first: the three go together.
  const std::size_t most = std::min(keys_.size() + counts.size(), kMostKeys);
  keys_.reserve(most);
  totals_.reserve(most);
  for (const auto& [key, count] : counts) {
    if (sites_.contains(key)) continue;
    if (keys_.size() == kMostKeys) {
      ++dropped_total_;
      continue;
    }
    sites_.emplace(key, static_cast<std::uint32_t>(keys_.size()));
    totals_.push_back({.site = static_cast<std::uint32_t>(keys_.size())});
    keys_.push_back(key);
  }
  for (leaks::SiteTotals& totals : totals_) {
    const auto found = counts.find(keys_[totals.site]);
    const std::int64_t now = found == counts.end() ? 0 : found->second;
    const std::int64_t came = now - totals.live_bytes();
    (came > 0 ? totals.allocated_bytes : totals.freed_bytes) +=
        static_cast<std::uint64_t>(came > 0 ? came : -came);
  }
  history_.Add(now_ns, totals_, load);
}

Past::Past(const core::CoreApi& core, std::int64_t window_ns, std::size_t budget_bytes)
    : core_(core),
      window_ns_(window_ns),
      heap_(leaks::BandsFor(window_ns), budget_bytes / 6 * kHeapShare),
      connections_(leaks::BandsFor(window_ns), budget_bytes / 6),
      tasks_(leaks::BandsFor(window_ns), budget_bytes / 6) {}

void Past::Remember() {
  struct Counting {
    FlatHashMap<CountHistory::Key, std::int64_t> connections;
    FlatHashMap<CountHistory::Key, std::int64_t> tasks;
    leaks::Load load;
  } counting;
  const core::RegistryApi& registry = *core_.registry;
  registry.visit_connections(
      [](void* to, const core::ConnectionView& connection) {
        if (connection.ended) return;
        auto& counted = *static_cast<Counting*>(to);
        ++counted.connections[KeyOf(connection)];
        if (!connection.outbound) ++counted.load.connections;
      },
      &counting);
  registry.visit_tasks(
      [](void* to, const core::TaskView& task) {
        if (task.ended) return;
        auto& counted = *static_cast<Counting*>(to);
        ++counted.load.tasks;
        if (IsParked(task)) ++counted.tasks[KeyOf(task)];
      },
      &counting);
  const auto now_ns = static_cast<std::int64_t>(registry.now_ns());
  if (began_ns_ == 0) began_ns_ = now_ns;
  if (!heap_.times_ns().empty() && now_ns <= heap_.times_ns().back()) return;
  heap_.Add(now_ns, ReadSites(core_), counting.load);
  connections_.Add(now_ns, counting.connections, {});
  // Tasks may come with the connections, never the other way round: each would excuse the
  // other.
  tasks_.Add(now_ns, counting.tasks, {.connections = counting.load.connections, .tasks = 0});
}

std::size_t Past::used_bytes() const {
  return heap_.used_bytes() + connections_.used_bytes() + tasks_.used_bytes();
}

std::uint64_t Past::thinned_total() const {
  return heap_.thinned_total() + connections_.history().thinned_total() +
         tasks_.history().thinned_total();
}

std::vector<leaks::SiteTotals> ReadSites(const core::CoreApi& core) {
  std::vector<leaks::SiteTotals> sites;
  core.visit_heap_sites(
      [](void* to, const core::HeapSite& site) {
        static_cast<std::vector<leaks::SiteTotals>*>(to)->push_back(
            {.site = site.id,
             .allocated_bytes = site.allocated_bytes,
             .freed_bytes = site.freed_bytes,
             .allocated_objects = site.allocated_objects,
             .freed_objects = site.freed_objects});
      },
      &sites);
  std::ranges::sort(sites, {}, &leaks::SiteTotals::site);
  return sites;
}

}  // namespace heldby::collect
