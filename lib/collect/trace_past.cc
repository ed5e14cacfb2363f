#include "collect/trace_past.h"

#include <cstring>

#include "profile/flat_hash.h"

namespace heldby::collect {

using core::Event;
using core::EventKind;

TracePast::TracePast(const TraceLog& log) : log_(log) {
  ReadTasks();
  ReadConnections();
  ReadThreads();
}

TracePast::Task TracePast::TaskOf(const Event& event) {
  return {.made = event.place,
          .parent = event.a,
          .connection = event.b,
          .labels = event.c,
          .is_scope = (event.flags & Event::kScope) != 0};
}

void TracePast::ReadTasks() {
  FlatHashSet<std::uint32_t> begun;
  FlatHashSet<std::uint32_t> ended;  // of those that were there before
  for (const Event& event : log_.events) {
    if (event.kind == EventKind::kTaskBegin) {
      begun.insert(event.id);
      continue;
    }
    // A holder may be a task that has ended, and so may one whose piece is left.
    if (event.kind != EventKind::kTaskEnd && event.kind != EventKind::kTaskPark &&
        event.kind != EventKind::kTaskEnter) {
      continue;
    }
    if (begun.contains(event.id)) continue;
    const auto [task, is_first] = tasks_.try_emplace(event.id);
    if (is_first && event.kind == EventKind::kTaskEnter) task->second.parked = event.place;
    if (event.kind == EventKind::kTaskEnd && ended.insert(event.id).second) {
      const std::uint32_t parked = task->second.parked;
      task->second = TaskOf(event);
      task->second.parked = parked;
    }
  }
  for (const core::TaskView& view : log_.tasks) {
    if (begun.contains(view.id)) continue;
    const auto [task, is_quiet] = tasks_.try_emplace(view.id);
    if (ended.contains(view.id)) continue;
    task->second = {.made = view.made_id,
                    .parked = is_quiet && !view.running ? view.parked_id : task->second.parked,
                    .parent = view.parent,
                    .connection = view.connection,
                    .labels = view.labels,
                    .is_scope = view.is_scope};
  }
}

void TracePast::ReadConnections() {
  FlatHashSet<std::uint32_t> begun;
  FlatHashSet<std::uint32_t> changed;
  for (const Event& event : log_.events) {
    if (event.kind == EventKind::kConnectionBegin) {
      begun.insert(event.id);
    } else if (event.kind == EventKind::kConnectionState) {
      changed.insert(event.id);
    } else if (event.kind == EventKind::kConnectionEnd && !begun.contains(event.id)) {
      connections_.try_emplace(
          event.id, Connection{.is_outbound = (event.flags & Event::kOutbound) != 0});
    }
  }
  for (const TracedConnection& open : log_.connections) {
    if (begun.contains(open.view.id)) continue;
    connections_.try_emplace(
        open.view.id,
        Connection{.is_outbound = open.view.outbound,
                   .state = changed.contains(open.view.id) ? nullptr : open.view.state});
  }
}

void TracePast::ReadThreads() {
  for (const auto& [tid, thread] : log_.threads) {
    if (thread.at_start) holders_[tid] = thread.holder;
  }
  for (const Event& event : log_.events) {
    const auto thread = log_.threads.find(event.tid);
    if (thread != log_.threads.end() && event.time_ns <= thread->second.seen_ns) {
      holders_.erase(event.tid);
    }
    if (event.kind == EventKind::kThreadBegin) thread_names_[event.tid].emplace_back();
    if (event.kind == EventKind::kThreadEnd && event.id != 0) {
      const std::uint32_t words[] = {event.id, event.a, event.b, event.c};
      char name[sizeof(words) + 1] = {};
      memcpy(name, words, sizeof(words));
      std::vector<std::string>& names = thread_names_[event.tid];
      if (names.empty()) names.emplace_back();
      names.back() = name;
    }
  }
}

const core::Holder& TracePast::HolderAtStart(std::int32_t tid) const {
  static constexpr core::Holder kNone{};
  const auto holder = holders_.find(tid);
  return holder == holders_.end() ? kNone : holder->second;
}

std::string TracePast::ThreadName(std::int32_t tid, int nth) const {
  const auto names = thread_names_.find(tid);
  if (names != thread_names_.end() && static_cast<std::size_t>(nth) < names->second.size() &&
      !names->second[static_cast<std::size_t>(nth)].empty()) {
    return names->second[static_cast<std::size_t>(nth)];
  }
  const auto thread = log_.threads.find(tid);
  return thread == log_.threads.end() ? std::string() : thread->second.name;
}

}  // namespace heldby::collect
