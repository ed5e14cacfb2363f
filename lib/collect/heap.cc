#include "collect/heap.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "collect/holder_index.h"
#include "collect/holders.h"
#include "collect/stack_locations.h"
#include "profile/builder.h"
#include "profile/drop_frames.h"

namespace heldby::collect {
namespace {

constexpr std::uint64_t kObjectUnit = 4096;

class HeapCollector {
 public:
  HeapCollector(const core::CoreApi& core, const HolderLabels& wanted,
                std::vector<leaks::SiteTotals> before)
      : core_(core),
        before_(std::move(before)),
        holders_(*core.registry, wanted),
        builder_({{"alloc_objects", "count"},
                  {"alloc_space", "bytes"},
                  {"inuse_objects", "count"},
                  {"inuse_space", "bytes"}}) {}

  Profile Collect() && {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    Profile& header = builder_.header();
    header.time_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec;
    header.period_type = {"space", "bytes"};
    header.period = static_cast<std::int64_t>(core_.sample_bytes());
    // profile/trim.h does the rest, where names are known.
    header.drop_frames = AllocationEntriesPattern();
    holders_.Collect();
    core_.visit_heap_sites(&OnSite, this);
    AddDropComments();
    return std::move(builder_).Build();
  }

 private:
  static void OnSite(void* self, const core::HeapSite& site) {
    static_cast<HeapCollector*>(self)->Add(site);
  }

  void Add(const core::HeapSite& site) {
    std::vector<LocationId> stack =
        locations_.Of(site.frames, site.modules, site.depth, site.truncated);
    if (site.depth == 0) {
      stack.push_back(locations_.Of(StackLocations::Synthetic::kStackTableFull));
    }
    AddValues(site, std::move(stack));
  }

  // What a holder holds of the site in rows of its own, and the rest in one.
  void AddValues(const core::HeapSite& site, std::vector<LocationId> stack) {
    std::vector<Label> labels = UserLabels(*core_.registry, site.labels);
    labels.push_back({.key = "bytes",
                      .number = static_cast<std::int64_t>(site.size_class_bytes),
                      .number_unit = "bytes"});
    core::HeapSite rest = site;
    for (const HeldPart& part : holders_.PartsOf(site.id)) {
      // Samples come and go while this is read: never more than is in use.
      const std::uint64_t bytes = std::min(part.bytes, rest.allocated_bytes - rest.freed_bytes);
      const std::uint64_t objects =
          std::min(part.objects, rest.allocated_objects - rest.freed_objects);
      if (bytes == 0) continue;
      const Values before = ValuesOf(rest);
      rest.allocated_bytes -= bytes;
      rest.allocated_objects -= objects;
      // The difference of two rounded values, so that the rows add up to the site's own.
      Values mine = ValuesOf(rest);
      std::ranges::transform(before, mine, mine.begin(), std::minus<>());
      std::vector<Label> with_holder = labels;
      with_holder.insert(with_holder.end(), part.labels.begin(), part.labels.end());
      builder_.AddSample(stack, mine, std::move(with_holder));
    }
    Values values = ValuesOf(rest);
    if (!before_.empty()) {
      const Values were = ValuesBefore(site);
      std::ranges::transform(values, were, values.begin(), std::minus<>());
      if (values == Values{}) return;
    }
    if (holders_.wanted()) {
      if (values == Values{}) return;
      labels.push_back({.key = "holder", .text = "unattributed"});
    }
    builder_.AddSample(std::move(stack), values, std::move(labels));
  }

  using Values = std::array<std::int64_t, 4>;
  static Values ValuesOf(const core::HeapSite& site) {
    const auto objects = [](std::uint64_t units) {
      return static_cast<std::int64_t>((units + kObjectUnit / 2) / kObjectUnit);
    };
    return {objects(site.allocated_objects), static_cast<std::int64_t>(site.allocated_bytes),
            objects(site.allocated_objects - site.freed_objects),
            static_cast<std::int64_t>(site.allocated_bytes - site.freed_bytes)};
  }

  Values ValuesBefore(core::HeapSite site) const {
    const auto found = std::ranges::lower_bound(before_, site.id, {}, &leaks::SiteTotals::site);
    if (found == before_.end() || found->site != site.id) return {};
    site.allocated_bytes = found->allocated_bytes;
    site.allocated_objects = found->allocated_objects;
    site.freed_bytes = found->freed_bytes;
    site.freed_objects = found->freed_objects;
    return ValuesOf(site);
  }

  // What is missing from a profile belongs into it: the header of every report shows comments.
  void AddDropComments() {
    const core::Counters counters = core_.read_counters();
    const std::pair<std::uint64_t, const char*> drops[] = {
        {counters.dropped_samples_total, "samples dropped: table of live samples full"},
        {counters.dropped_stacks_total, "samples without a stack: stack table full"},
        {counters.dropped_sites_total, "samples without a site: site table full"},
        {counters.untracked_samples_total, "samples not tracked: block could not be placed"},
        {counters.stale_samples_total, "samples freed past the hooks, found out later"},
        {counters.dropped_connections_total, "connections not recorded: table full"},
        {counters.dropped_tasks_total, "tasks not recorded: table full"},
        {counters.dropped_label_sets_total, "label sets not kept: table full"},
        {counters.dropped_descriptors_total, "sockets not recorded: descriptor above 1048575"},
        {counters.dropped_inheritances_total, "threads without their creator's holder"},
    };
    for (const auto& [count, what] : drops) {
      if (count != 0) {
        builder_.header().comments.push_back(absl::StrCat("heldby: ", count, " ", what));
      }
    }
  }

  const core::CoreApi& core_;
  const std::vector<leaks::SiteTotals> before_;
  HolderIndex holders_;
  ProfileBuilder builder_;
  StackLocations locations_{core_, &builder_};
};

}  // namespace

Profile CollectHeap(const core::CoreApi& core, const HolderLabels& labels) {
  return HeapCollector(core, labels, {}).Collect();
}

Profile CollectHeapSince(const core::CoreApi& core, std::vector<leaks::SiteTotals> before) {
  return HeapCollector(core, {}, std::move(before)).Collect();
}

}  // namespace heldby::collect
