#include "collect/parked_tasks.h"

#include <string>
#include <utility>

namespace heldby::collect {
namespace {

class Counter {
 public:
  explicit Counter(const core::RegistryApi& registry) : registry_(registry) {}

  void Add(const core::TaskView& view) {
    if (!IsParked(view)) return;
    batch_.emplace_back().view = view;
    if (batch_.size() == kChainBatch) Flush();
  }

  ParkedGroups Finish() && {
    Flush();
    return std::move(groups_);
  }

 private:
  void Flush() {
    ReadChains(registry_, batch_);
    for (ParkedTask& task : batch_) {
      const std::uint32_t labels = task.view.labels;
      ++groups_[{StackOf(std::move(task)), labels}];
    }
    batch_.clear();
  }

  const core::RegistryApi& registry_;
  std::vector<ParkedTask> batch_;
  ParkedGroups groups_;
};

}  // namespace

AwaitChain StackOf(ParkedTask task) {
  if (!task.chain.empty()) return std::move(task.chain);
  const std::uint32_t place =
      task.view.parked_id != 0 ? task.view.parked_id : task.view.made_id;
  return {{.code = 0, .place = place}};
}

std::vector<LocationId> LocationsOf(const AwaitChain& points, PlaceTexts* texts,
                                    StackLocations* locations) {
  std::vector<LocationId> stack;
  for (const AwaitPoint& point : points) {
    const PlaceTexts::Texts& place = texts->Of(point.place);
    if (!place.function.empty()) {
      stack.push_back(locations->OfPlace(point.place, place.function, place.file, place.line));
    } else if (point.code != 0) {
      stack.push_back(locations->OfCode(point.code));
    }
  }
  if (stack.empty()) stack.push_back(locations->Of(StackLocations::Synthetic::kNoStack));
  return stack;
}

bool IsParked(const core::TaskView& view) {
  return !view.ended && !view.is_scope && !view.running;
}

ParkedGroups CountParkedTasks(const core::RegistryApi& registry) {
  Counter counter(registry);
  registry.visit_tasks(
      [](void* context, const core::TaskView& view) {
        static_cast<Counter*>(context)->Add(view);
      },
      &counter);
  return std::move(counter).Finish();
}

}  // namespace heldby::collect
