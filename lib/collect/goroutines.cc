#include "collect/goroutines.h"

#include <time.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "collect/await_chains.h"
#include "collect/holder_index.h"
#include "collect/holders.h"
#include "collect/parked_tasks.h"
#include "collect/stack_locations.h"
#include "collect/threads.h"
#include "core/base/clock.h"
#include "profile/builder.h"
#include "profile/flat_hash.h"

namespace heldby::collect {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

Label Text(const char* key, std::string text) { return {.key = key, .text = std::move(text)}; }
Label Number(const char* key, std::int64_t number, const char* unit) {
  return {.key = key, .number = number, .number_unit = unit};
}

class GoroutineCollector {
 public:
  GoroutineCollector(const core::CoreApi& core, const GoroutineOptions& options)
      : core_(core),
        options_(options),
        texts_(*core.registry),
        connections_(*core.registry, {.connection = options.labels.connection}),
        builder_(std::vector<ValueType>{{"goroutine", "count"}}) {}

  Profile Collect() && {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    Profile& header = builder_.header();
    header.time_ns = now.tv_sec * kSecondNs + now.tv_nsec;
    header.period_type = {"goroutine", "count"};
    header.period = 1;
    now_ns_ = core_.registry->now_ns();
    if (options_.labels.connection) connections_.NameConnections();
    threads_ = CollectThreads(core_, {.may_signal = options_.may_signal});
    for (const ThreadState& thread : threads_) task_names_.try_emplace(thread.holder.task);
    core_.registry->visit_tasks(
        [](void* self, const core::TaskView& view) {
          static_cast<GoroutineCollector*>(self)->OnTask(view);
        },
        this);
    AddThreads();
    Flush();
    AddGroups();
    if (options_.each) AddEach();
    AddComments();
    return std::move(builder_).Build();
  }

 private:
  bool IsSplit() const { return options_.each || options_.labels.any(); }

  void AddThreads() {
    for (const ThreadState& thread : threads_) {
      std::vector<LocationId> stack = locations_.Of(thread.frames.data(), thread.modules.data(),
                                                    thread.frames.size(), thread.truncated);
      if (thread.frames.empty()) {
        stack = {locations_.Of(StackLocations::Synthetic::kNoStack)};
        ++without_stack_;
      }
      std::vector<Label> labels = UserLabels(*core_.registry, thread.holder.labels);
      if (IsSplit()) AddLabels(thread, &labels);
      builder_.AddSample(std::move(stack), {1}, std::move(labels));
    }
  }

  void AddLabels(const ThreadState& thread, std::vector<Label>* labels) {
    std::string state = thread.state;
    if (options_.each) {
      if (!thread.waits_on.empty()) absl::StrAppend(&state, ", ", thread.waits_on);
      labels->push_back(Number("goroutine", thread.tid, "id"));
      labels->push_back(Text("thread", thread.name.empty() ? "unnamed" : thread.name));
      if (thread.holder.task != 0) {
        labels->push_back(Number("task_id", thread.holder.task, "id"));
      }
      if (!thread.problem.empty()) labels->push_back(Text("problem", thread.problem));
    } else if (options_.labels.task && !thread.name.empty()) {
      labels->push_back(Text("thread", thread.name));
    }
    if (options_.each || options_.labels.task) {
      const auto name = task_names_.find(thread.holder.task);
      if (!name->second.empty()) labels->push_back(Text("task", name->second));
    }
    if (options_.each || options_.labels.state) labels->push_back(Text("state", state));
    AddAge(thread.age_ns, labels);
    AddConnection(thread.holder.connection, labels);
  }

  void AddAge(std::int64_t age_ns, std::vector<Label>* labels) const {
    if (options_.each || options_.labels.age) {
      labels->push_back(Number("age", age_ns / kSecondNs, "seconds"));
    }
  }

  void AddConnection(std::uint32_t id, std::vector<Label>* labels) const {
    if (options_.each && !options_.labels.connection && id != 0) {
      labels->push_back(Number("connection", id, "id"));
    }
    const std::span<const Label> known = connections_.LabelsOfConnection(id);
    labels->insert(labels->end(), known.begin(), known.end());
  }

  std::int64_t Since(std::uint64_t then_ns) const { return core::BetweenNs(then_ns, now_ns_); }

  void OnTask(const core::TaskView& view) {
    if (const auto known = task_names_.find(view.id); known != task_names_.end()) {
      known->second = texts_.Of(view.made_id).text;
    }
    if (!IsParked(view)) return;
    ++tasks_;
    if (options_.each) {
      // The longest waiting ones, in a heap whose top is the one that waits least.
      const auto later = [](const core::TaskView& a, const core::TaskView& b) {
        return a.parked_since_ns < b.parked_since_ns;
      };
      shown_.push_back(view);
      std::ranges::push_heap(shown_, later);
      if (shown_.size() <= options_.most) return;
      std::ranges::pop_heap(shown_, later);
      shown_.pop_back();
      return;
    }
    batch_.emplace_back().view = view;
    if (batch_.size() == kChainBatch) Flush();
  }

  void Flush() {
    ReadChains(*core_.registry, batch_);
    for (ParkedTask& task : batch_) Add(std::move(task));
    batch_.clear();
  }

  void Add(ParkedTask task) {
    if (!IsSplit()) {
      const std::uint32_t labels = task.view.labels;
      ++groups_[{StackOf(std::move(task)), labels}];
      return;
    }
    const core::TaskView view = task.view;
    std::vector<Label> labels = UserLabels(*core_.registry, view.labels);
    AddLabels(view, &labels);
    builder_.AddSample(LocationsOf(StackOf(std::move(task)), &texts_, &locations_), {1},
                       std::move(labels));
  }

  void AddLabels(const core::TaskView& view, std::vector<Label>* labels) {
    const PlaceTexts::Texts made = texts_.Of(view.made_id);
    const PlaceTexts::Texts parked = texts_.Of(view.parked_id);
    if (options_.each) {
      labels->push_back(Number("goroutine", view.id, "id"));
      labels->push_back(Number("task_id", view.id, "id"));
      labels->push_back(Number("parked", Since(view.parked_since_ns) / kSecondNs, "seconds"));
      if (!made.function.empty()) {
        labels->push_back(
            Text("created_by", absl::StrCat(made.function, "\n", made.file, ":", made.line)));
      }
    }
    if (options_.each || options_.labels.task) {
      labels->push_back(Text("task", made.text.empty() ? "unnamed" : made.text));
    }
    if (options_.each || options_.labels.state) {
      labels->push_back(Text("state", parked.text.empty() ? "parked" : parked.text));
    }
    AddAge(Since(view.born_ns), labels);
    AddConnection(view.connection, labels);
  }

  void AddGroups() {
    std::vector<std::pair<std::int64_t, const ParkedGroup*>> sorted;
    for (const auto& [group, count] : groups_) sorted.emplace_back(count, &group);
    std::ranges::sort(sorted, [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [count, group] : sorted) {
      builder_.AddSample(LocationsOf(group->stack, &texts_, &locations_), {count},
                         UserLabels(*core_.registry, group->labels));
    }
  }

  void AddEach() {
    std::ranges::sort(shown_, {}, &core::TaskView::parked_since_ns);
    for (std::size_t from = 0; from < shown_.size(); from += kChainBatch) {
      const std::size_t until = std::min(from + kChainBatch, shown_.size());
      for (std::size_t i = from; i < until; ++i) batch_.emplace_back().view = shown_[i];
      Flush();
    }
  }

  void AddComments() {
    std::vector<std::string>& comments = builder_.header().comments;
    if (without_stack_ != 0) {
      comments.push_back(
          absl::StrCat("heldby: ", without_stack_,
                       " threads without a stack: they were not asked or did not answer"));
    }
    if (options_.each && tasks_ > shown_.size()) {
      comments.push_back(absl::StrCat("heldby: ", tasks_ - shown_.size(),
                                      " more parked tasks, which wait for less long"));
    }
    if (const auto dropped = core_.read_counters().dropped_tasks_total; dropped != 0) {
      comments.push_back(absl::StrCat("heldby: ", dropped, " tasks not recorded: table full"));
    }
  }

  const core::CoreApi& core_;
  const GoroutineOptions options_;
  PlaceTexts texts_;
  HolderIndex connections_;
  ProfileBuilder builder_;
  StackLocations locations_{core_, &builder_};
  std::uint64_t now_ns_ = 0;
  std::size_t without_stack_ = 0;
  std::size_t tasks_ = 0;
  std::vector<ThreadState> threads_;
  FlatHashMap<std::uint32_t, std::string> task_names_;  // of those that are on threads
  std::vector<ParkedTask> batch_;
  std::vector<core::TaskView> shown_;
  ParkedGroups groups_;
};

}  // namespace

Profile CollectGoroutines(const core::CoreApi& core, const GoroutineOptions& options) {
  return GoroutineCollector(core, options).Collect();
}

std::size_t CountGoroutines(const core::CoreApi& core) {
  std::size_t count = CountThreads(core);
  core.registry->visit_tasks(
      [](void* context, const core::TaskView& view) {
        if (IsParked(view)) {
          ++*static_cast<std::size_t*>(context);
        }
      },
      &count);
  return count;
}

}  // namespace heldby::collect
