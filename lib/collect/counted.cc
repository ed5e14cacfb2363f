#include "collect/counted.h"

#include <time.h>

#include <span>

#include "absl/strings/str_cat.h"
#include "collect/holder_index.h"
#include "collect/holders.h"
#include "collect/proc_task.h"
#include "collect/stack_locations.h"
#include "collect/threads.h"
#include "profile/builder.h"
#include "profile/flat_hash.h"

namespace heldby::collect {
namespace {

void FillHeader(const char* type, Profile* header) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  header->time_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec;
  header->period_type = {type, "count"};
  header->period = 1;
}

struct Opened {
  std::uint32_t stack;
  std::uint32_t labels;
};

}  // namespace

Profile CollectConnectionProfile(const core::CoreApi& core, const HolderLabels& wanted) {
  ProfileBuilder builder(
      {{"connections", "count"}, {"held_space", "bytes"}, {"queued_space", "bytes"}});
  FillHeader("connections", &builder.header());
  builder.header().default_sample_type = "connections";
  StackLocations locations(core, &builder);
  FlatHashMap<std::uint32_t, Opened> opened;
  core.registry->visit_connections(
      [](void* context, const core::ConnectionView& view) {
        static_cast<FlatHashMap<std::uint32_t, Opened>*>(context)->emplace(
            view.id, Opened{view.stack, view.labels});
      },
      &opened);
  HolderIndex index(*core.registry, wanted);
  for (const ConnectionInfo& info : index.NameConnections()) {
    const auto id = static_cast<std::uint32_t>(info.id);
    const auto found = opened.find(id);
    if (found == opened.end()) continue;  // opened meanwhile
    std::vector<Label> labels = UserLabels(*core.registry, found->second.labels);
    const std::span<const Label> more = index.LabelsOfConnection(id);
    labels.insert(labels.end(), more.begin(), more.end());
    if (wanted.task && !info.task.empty()) {
      labels.push_back({.key = "task", .text = info.task});
    }
    // One that has ended is none any more, and still holds what it holds.
    builder.AddSample(locations.Of(core.registry->stack(found->second.stack)),
                      {info.ended ? 0 : 1, info.held_bytes,
                       static_cast<std::int64_t>(info.queued_bytes + info.unsent_bytes)},
                      std::move(labels));
  }
  if (const auto dropped = core.read_counters().dropped_connections_total; dropped != 0) {
    builder.header().comments.push_back(
        absl::StrCat("heldby: ", dropped, " connections not recorded: table full"));
  }
  return std::move(builder).Build();
}

Profile CollectCounted(const core::CoreApi& core, const std::string& name,
                       const std::vector<std::pair<std::uint32_t, std::int64_t>>& stacks) {
  ProfileBuilder builder(std::vector<ValueType>{{name, "count"}});
  FillHeader(name.c_str(), &builder.header());
  StackLocations locations(core, &builder);
  for (const auto& [stack, count] : stacks) {
    builder.AddSample(locations.Of(core.registry->stack(stack)), {count});
  }
  return std::move(builder).Build();
}

Profile CollectThreadCreation(const core::CoreApi& core, bool each) {
  ProfileBuilder builder(std::vector<ValueType>{{"threadcreate", "count"}});
  FillHeader("threadcreate", &builder.header());
  StackLocations locations(core, &builder);
  for (const std::int32_t tid : ThreadIds()) {
    core::ThreadView view{};
    if (IsOwnThread(core, tid, &view)) continue;
    std::vector<LocationId> stack = {locations.Of(StackLocations::Synthetic::kNoStack)};
    if (view.created_by != 0) stack = locations.Of(core.registry->stack(view.created_by));
    std::vector<Label> labels;
    if (each) labels.push_back({.key = "goroutine", .number = tid, .number_unit = "id"});
    builder.AddSample(std::move(stack), {1}, std::move(labels));
  }
  return std::move(builder).Build();
}

}  // namespace heldby::collect
