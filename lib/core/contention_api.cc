// The contention profiles' part of the one door (core.h).
#include "core/base/clock.h"
#include "core/core.h"
#include "core/hooks/lock_calls.h"
#include "core/sampler/contention.h"
#include "core/sampler/heap_sampler.h"

namespace heldby::core {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

std::uint64_t BlockRateNs() { return contention.block_rate_ns(); }
std::uint64_t MutexFraction() { return contention.mutex_fraction(); }

ContentionSite ViewOf(SiteId id, const SiteTable::Key& key, const SiteTotals& totals) {
  ContentionSite site{};
  site.id = static_cast<std::uint32_t>(id);
  site.labels = key.labels;
  site.stack = registry_api.stack(static_cast<std::uint32_t>(key.stack));
  site.contentions = totals.allocated_objects;
  site.delay_ns = totals.allocated_bytes;
  return site;
}

struct SiteVisit {
  void (*visit)(void* context, const ContentionSite& site);
  void* context;
};

void VisitSites(ContentionTable table, void (*visit)(void*, const ContentionSite&),
                void* context) {
  SiteVisit call{visit, context};
  const SiteTable& sites =
      table == ContentionTable::kBlock ? contention.block() : contention.mutex();
  sites.Visit(
      [](void* argument, SiteId id, const SiteTable::Key& key, const SiteTotals& totals) {
        const auto& mine = *static_cast<SiteVisit*>(argument);
        mine.visit(mine.context, ViewOf(id, key, totals));
      },
      &call);
}

ContentionSite ReadBlockSite(std::uint32_t id) {
  SiteTotals totals;
  const SiteTable::Key key = contention.block().Read(SiteId{id}, &totals);
  return ViewOf(SiteId{id}, key, totals);
}

void VisitWaits(void (*visit)(void*, const WaitView&), void* context) {
  contention.ForEachWait([&](std::uint32_t id, const WaitRecord& record) {
    WaitView view{};
    view.id = id;
    view.site = record.site.load(kRelaxed);
    view.kind = record.kind.load(kRelaxed);
    view.phase = record.phase.load(std::memory_order_acquire);
    view.tid = record.tid.load(kRelaxed);
    view.start_ns = record.start_ns.load(kRelaxed);
    view.rate_ns = record.block_rate_ns.load(kRelaxed);
    view.object = record.object.load(kRelaxed);
    view.connection = record.connection.load(kRelaxed);
    view.task = record.task.load(kRelaxed);
    if (contention.StillIs(id)) visit(context, view);
  });
}

WaitPhase PhaseOf(std::uint32_t id) { return contention.PhaseOf(id); }

void RecordUnlock(std::uint64_t delay_ns, std::uintptr_t caller) {
  const int kept = errno;
  contention.RecordUnlock(delay_ns, caller, &heap_sampler.stacks());
  errno = kept;
}

ContentionCounters ReadCounters() {
  return {.waits_total = contention.waits(),
          .dropped_waits_total = contention.dropped_waits(),
          .dropped_locks_total = contention.dropped_locks(),
          .dropped_sites_total = contention.dropped_sites(),
          .table_bytes = contention.table_bytes()};
}

}  // namespace

extern const ContentionApi contention_api = {
    .block_rate_ns = &BlockRateNs,
    .mutex_fraction = &MutexFraction,
    .set_block_rate_ns = &SetBlockRateNs,
    .set_mutex_fraction = &SetMutexFraction,
    .visit_sites = &VisitSites,
    .read_block_site = &ReadBlockSite,
    .visit_waits = &VisitWaits,
    .wait_phase = &PhaseOf,
    .record_unlock = &RecordUnlock,
    .read_counters = &ReadCounters,
    .now_ns = &NowNs,
};

}  // namespace heldby::core
