#include "collect/leftovers.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "collect/holders.h"
#include "collect/parked_tasks.h"
#include "collect/stack_locations.h"
#include "collect/visit.h"
#include "profile/builder.h"

namespace heldby::collect {
namespace {

constexpr std::uint64_t kObjectUnit = 4096;

SampleKind KindOf(const core::LiveSampleView& sample) {
  return {.site = sample.site,
          .connection = sample.guessed ? 0 : sample.connection,
          .task = sample.task,
          .bytes = sample.bytes,
          .birth_ns = sample.birth_ns};
}

// Which samples are somebody's, and new: Newcomers::bytes.
class ByteFinder {
 public:
  ByteFinder(const core::CoreApi& core, const Baseline& before)
      : core_(core), before_(before), youngest_(before.youngest) {}

  void Knows(const core::ConnectionView& view) {
    if (!before_.connections.contains({view.id, view.born_ns})) connections_.insert(view.id);
  }
  void Knows(const core::TaskView& view) {
    if (!before_.tasks.contains({view.id, view.born_ns})) tasks_.insert(view.id);
  }

  std::vector<NewBytes> Find() && {
    core_.visit_heap_sites(
        [](void* self, const core::HeapSite& site) {
          if (site.labels != 0) static_cast<ByteFinder*>(self)->labelled_.insert(site.id);
        },
        this);
    Visit<core::LiveSampleView>(core_.registry->visit_live_samples,
                                [this](const core::LiveSampleView& sample) { Add(sample); });
    return std::move(found_);
  }

 private:
  void Add(const core::LiveSampleView& sample) {
    if (sample.birth_ns < before_.taken_ns) return;
    const SampleKind kind = KindOf(sample);
    const auto young = youngest_.find(kind);
    if (young != youngest_.end() && young->second > 0) {
      --young->second;
      return;
    }
    // The task says more than the connection, and labels say least.
    const bool is_wanted = kind.task != 0         ? tasks_.contains(kind.task)
                           : kind.connection != 0 ? connections_.contains(kind.connection)
                                                  : labelled_.contains(kind.site);
    if (!is_wanted) return;
    const auto [place, is_new] = place_of_.try_emplace(
        {.site = kind.site, .connection = kind.connection, .task = kind.task}, found_.size());
    if (is_new) {
      found_.push_back({.site = kind.site, .connection = kind.connection, .task = kind.task});
    }
    found_[place->second].bytes += sample.bytes;
    found_[place->second].objects += sample.objects;
  }

  const core::CoreApi& core_;
  const Baseline& before_;
  FlatHashMap<SampleKind, std::int64_t> youngest_;
  FlatHashSet<std::uint32_t> connections_;  // new ones, ended or not
  FlatHashSet<std::uint32_t> tasks_;
  FlatHashSet<std::uint32_t> labelled_;  // sites
  FlatHashMap<SampleKind, std::size_t> place_of_;
  std::vector<NewBytes> found_;
};

std::string NameOf(const ConnectionInfo& info) {
  const char* direction = info.direction == Direction::kInbound ? "inbound" : "outbound";
  return info.peer.empty() ? direction : absl::StrCat(direction, " ", info.peer);
}

std::string NameOf(const TaskInfo& info) { return info.name.empty() ? "unnamed" : info.name; }

class Describer {
 public:
  explicit Describer(const core::CoreApi& core)
      : core_(core), registry_(*core.registry), now_ns_(registry_.now_ns()) {}

  Descriptions Describe(const Newcomers& newcomers) && {
    for (const core::ConnectionView& view : newcomers.connections) Add(view);
    for (const core::TaskView& view : newcomers.tasks) Add(view);
    if (!newcomers.bytes.empty()) AddBytes(newcomers.bytes);
    result_.stacks = std::move(builder_).Build();
    return std::move(result_);
  }

 private:
  // Trimming adds up samples that are equal; this label keeps them apart and in order.
  std::size_t AddStack(std::vector<LocationId> stack) {
    builder_.AddSample(
        std::move(stack), {1},
        {{.key = "item", .number = static_cast<std::int64_t>(++stacks_), .number_unit = "id"}});
    return stacks_ - 1;
  }

  void Add(const core::ConnectionView& view) {
    ConnectionInfo info = InfoOf(registry_, view, now_ns_);
    result_.items.push_back({.leftover = {.kind = LeftoverKind::kConnection,
                                          .count = 1,
                                          .name = NameOf(info),
                                          .state = std::move(info.state),
                                          .labels = std::move(info.labels),
                                          .bytes = info.held_bytes},
                             .stack = AddStack(locations_.Of(registry_.stack(view.stack)))});
  }

  void Add(const core::TaskView& view) {
    TaskInfo info = InfoOf(registry_, view, now_ns_, &texts_);
    Described item{
        .leftover = {.kind = LeftoverKind::kTask,
                     .count = 1,
                     .name = NameOf(info),
                     .state = info.running ? "running" : info.state,
                     .labels = std::move(info.labels),
                     .bytes = info.held_bytes},
    };
    if (!info.running && !info.state_at.empty()) {
      absl::StrAppend(&item.leftover.state, " (", info.state_at, ")");
    }
    const core::StackView made = registry_.stack(view.stack);
    // It was made before it was asked for its stack: then what the program told must do.
    item.stack =
        AddStack(made.depth != 0 ? locations_.Of(made)
                                 : LocationsOf(AwaitChain{AwaitPoint{.place = view.made_id}},
                                               &texts_, &locations_));
    if (IsParked(view)) {
      ParkedTask parked;
      parked.view = view;
      ReadChains(registry_, {&parked, 1});
      if (!parked.chain.empty()) {
        item.waits_in = AddStack(LocationsOf(parked.chain, &texts_, &locations_));
      }
    }
    result_.items.push_back(std::move(item));
  }

  void AddBytes(const std::vector<NewBytes>& found) {
    FlatHashMap<std::uint32_t, std::string> tasks;
    FlatHashMap<std::uint32_t, std::string> connections;
    for (const NewBytes& bytes : found) {
      tasks.try_emplace(bytes.task);
      connections.try_emplace(bytes.connection);
    }
    Visit<core::TaskView>(registry_.visit_tasks, [&](const core::TaskView& view) {
      const auto wanted = tasks.find(view.id);
      if (wanted != tasks.end()) {
        wanted->second = NameOf(InfoOf(registry_, view, now_ns_, &texts_));
      }
    });
    Visit<core::ConnectionView>(registry_.visit_connections,
                                [&](const core::ConnectionView& view) {
                                  const auto wanted = connections.find(view.id);
                                  if (wanted != connections.end()) {
                                    wanted->second = NameOf(InfoOf(registry_, view, now_ns_));
                                  }
                                });
    FlatHashMap<std::uint32_t, std::vector<const NewBytes*>> of_site;
    for (const NewBytes& bytes : found) of_site[bytes.site].push_back(&bytes);
    const auto add = [&](const core::HeapSite& site) {
      const auto parts = of_site.find(site.id);
      if (parts == of_site.end()) return;
      for (const NewBytes* part : parts->second) {
        Add(site, *part, part->task != 0 ? tasks[part->task] : connections[part->connection]);
      }
    };
    Visit<core::HeapSite>(core_.visit_heap_sites, add);
  }

  void Add(const core::HeapSite& site, const NewBytes& part, const std::string& holder) {
    const std::uint64_t blocks = (part.objects + kObjectUnit / 2) / kObjectUnit;
    result_.items.push_back(
        {.leftover = {.kind = LeftoverKind::kBytes,
                      .count = static_cast<std::int64_t>(std::max<std::uint64_t>(blocks, 1)),
                      .name = holder,
                      .labels = LabelsOf(registry_, site.labels),
                      .bytes = static_cast<std::int64_t>(part.bytes)},
         .stack = AddStack(locations_.Of({.frames = site.frames,
                                          .modules = site.modules,
                                          .depth = site.depth,
                                          .truncated = site.truncated}))});
  }

  const core::CoreApi& core_;
  const core::RegistryApi& registry_;
  const std::uint64_t now_ns_;
  PlaceTexts texts_{registry_};
  ProfileBuilder builder_{{{"leftovers", "count"}}};
  StackLocations locations_{core_, &builder_};
  std::size_t stacks_ = 0;
  Descriptions result_;
};

}  // namespace

Baseline TakeBaseline(const core::RegistryApi& registry) {
  Baseline baseline;
  baseline.taken_ns = registry.now_ns();
  Visit<core::ConnectionView>(registry.visit_connections,
                              [&](const core::ConnectionView& view) {
                                baseline.connections.emplace(view.id, view.born_ns);
                              });
  Visit<core::TaskView>(registry.visit_tasks, [&](const core::TaskView& view) {
    baseline.tasks.emplace(view.id, view.born_ns);
  });
  Visit<core::LiveSampleView>(registry.visit_live_samples,
                              [&](const core::LiveSampleView& sample) {
                                if (sample.birth_ns < baseline.taken_ns) return;
                                ++baseline.youngest[KindOf(sample)];
                              });
  return baseline;
}

Newcomers FindNewcomers(const core::CoreApi& core, const Baseline& before,
                        const LeftoverOptions& options) {
  Newcomers found;
  ByteFinder bytes(core, before);
  Visit<core::ConnectionView>(
      core.registry->visit_connections, [&](const core::ConnectionView& view) {
        bytes.Knows(view);
        const bool is_new = !before.connections.contains({view.id, view.born_ns});
        if (options.connections && is_new && !view.ended) found.connections.push_back(view);
      });
  Visit<core::TaskView>(core.registry->visit_tasks, [&](const core::TaskView& view) {
    bytes.Knows(view);
    const bool is_new = !before.tasks.contains({view.id, view.born_ns});
    if (options.tasks && is_new && !view.ended) found.tasks.push_back(view);
  });
  if (options.labelled_bytes) found.bytes = std::move(bytes).Find();
  return found;
}

Descriptions Describe(const core::CoreApi& core, const Newcomers& newcomers) {
  return Describer(core).Describe(newcomers);
}

}  // namespace heldby::collect
