#include "collect/holders.h"

#include <sys/socket.h>

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "collect/safe_text.h"
#include "collect/socket_state.h"
#include "collect/visit.h"
#include "core/base/clock.h"
#include "profile/flat_hash.h"
#include "profile/label_name.h"

namespace heldby::collect {

ConnectionInfo InfoOf(const core::RegistryApi& registry, const core::ConnectionView& view,
                      std::uint64_t now_ns) {
  ConnectionInfo info;
  info.id = ConnectionId{view.id};
  info.direction = view.outbound ? Direction::kOutbound : Direction::kInbound;
  info.ended = view.ended;
  info.implicit = view.implicit;
  info.fd = view.fd;
  info.state = SafeText(view.state);
  info.labels = LabelsOf(registry, view.labels);
  info.age_ns = core::BetweenNs(view.born_ns, now_ns);
  info.state_age_ns = core::BetweenNs(view.state_since_ns, now_ns);
  info.held_bytes = std::max<std::int64_t>(view.held_bytes, 0);
  info.queued_bytes = view.queued_bytes;
  const core::StackView opened = registry.stack(view.stack);
  info.opened_by.reserve(opened.depth);
  for (std::size_t i = 0; i < opened.depth; ++i) {
    info.opened_by.push_back(opened.frames[i] - 1);
  }
  if (view.ended) {
    info.peer =
        AddressText(reinterpret_cast<const sockaddr*>(view.peer.bytes), view.peer.size_bytes);
    return info;
  }
  const SocketState socket = ReadSocket(view.fd, view.cookie);
  SocketVerdict verdict = Judge(socket);
  info.kernel_known = socket.known;
  info.peer = socket.peer;
  info.local = socket.local;
  info.unsent_bytes = socket.unsent_bytes;
  info.unread_bytes = socket.unread_bytes;
  info.stalled_ns = verdict.stalled_ms * 1'000'000;
  info.problem = verdict.problem;
  info.is_idle = verdict.is_idle;
  info.idle_ns = verdict.idle_ms * 1'000'000;
  info.verdict = std::move(verdict.text);
  if (!socket.known && view.fd >= 0) {
    info.verdict = view.cookie != 0 ? "descriptor closed, or another socket by now"
                                    : "descriptor was not a socket";
  }
  return info;
}

Labels LabelsOf(const core::RegistryApi& registry, std::uint32_t id) {
  Labels labels;
  registry.visit_labels(
      id,
      [](void* context, const char* key, const char* value) {
        static_cast<Labels*>(context)->emplace_back(key, value);
      },
      &labels);
  return labels;
}

namespace {

// By their places: a record is a dozen strings, and a sort moves each some fourteen times.
std::vector<ConnectionInfo> SortedByWeight(std::vector<ConnectionInfo> connections) {
  std::vector<std::size_t> order(connections.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t left, std::size_t right) {
    const ConnectionInfo& a = connections[left];
    const ConnectionInfo& b = connections[right];
    return std::make_tuple(a.held_bytes, a.queued_bytes + a.unsent_bytes, a.age_ns) >
           std::make_tuple(b.held_bytes, b.queued_bytes + b.unsent_bytes, b.age_ns);
  });
  std::vector<ConnectionInfo> sorted;
  sorted.reserve(connections.size());
  for (const std::size_t i : order) sorted.push_back(std::move(connections[i]));
  return sorted;
}

}  // namespace

std::vector<ConnectionInfo> CollectConnections(const core::RegistryApi& registry) {
  const std::uint64_t now_ns = registry.now_ns();
  std::vector<ConnectionInfo> connections;
  std::vector<std::uint32_t> task_of;
  Visit<core::ConnectionView>(registry.visit_connections,
                              [&](const core::ConnectionView& view) {
                                connections.push_back(InfoOf(registry, view, now_ns));
                                task_of.push_back(view.task);
                              });
  // The task that works for it; if there is none, the one that opened it.
  FlatHashMap<std::uint32_t, std::string> names;
  FlatHashMap<std::uint32_t, std::string> workers;
  PlaceTexts texts(registry);
  Visit<core::TaskView>(registry.visit_tasks, [&](const core::TaskView& view) {
    const std::string& name = texts.Of(view.made_id).text;
    names.emplace(view.id, name);
    if (!view.ended && view.connection != 0) workers.emplace(view.connection, name);
  });
  for (std::size_t i = 0; i < connections.size(); ++i) {
    const auto worker = workers.find(static_cast<std::uint32_t>(connections[i].id));
    const auto opener = names.find(task_of[i]);
    if (worker != workers.end()) {
      connections[i].task = worker->second;
    } else if (opener != names.end()) {
      connections[i].task = opener->second;
    }
  }
  return SortedByWeight(std::move(connections));
}

TaskInfo InfoOf(const core::RegistryApi& registry, const core::TaskView& view,
                std::uint64_t now_ns, PlaceTexts* texts) {
  const PlaceTexts::Texts made = texts->Of(view.made_id);
  const PlaceTexts::Texts parked = texts->Of(view.parked_id);
  return {.id = TaskId{view.id},
          .parent = TaskId{view.parent},
          .connection = ConnectionId{view.connection},
          .ended = view.ended,
          .running = !view.ended && (view.is_scope || view.running),
          .name = made.text,
          .function = made.function,
          .file = made.file,
          .line = made.line,
          .state = parked.text,
          .state_at =
              parked.file.empty() ? std::string() : absl::StrCat(parked.file, ":", parked.line),
          .labels = LabelsOf(registry, view.labels),
          .age_ns = core::BetweenNs(view.born_ns, now_ns),
          .state_age_ns = core::BetweenNs(view.parked_since_ns, now_ns),
          .held_bytes = std::max<std::int64_t>(view.held_bytes, 0)};
}

std::vector<Label> UserLabels(const core::RegistryApi& registry, std::uint32_t id) {
  std::vector<Label> labels;
  for (auto& [key, value] : LabelsOf(registry, id)) {
    std::string name = ProfileLabelName(std::move(key));
    const bool is_first = std::ranges::find(labels, name, &Label::key) == labels.end();
    // A label without a text would be a number.
    if (is_first && !value.empty()) {
      labels.push_back({.key = std::move(name), .text = std::move(value)});
    }
  }
  return labels;
}

const PlaceTexts::Texts& PlaceTexts::Of(std::uint32_t id) {
  const auto [known, is_new] = known_.try_emplace(id);
  if (is_new) {
    const core::Place place = registry_.place(id);
    known->second = {SafeText(place.text), SafeText(place.file), SafeText(place.function),
                     place.line};
  }
  return known->second;
}

std::vector<TaskInfo> CollectTasks(const core::RegistryApi& registry, std::size_t most) {
  const std::uint64_t now_ns = registry.now_ns();
  // Of a million, the first few are wanted: a heap of views, whose top is the next to go.
  std::vector<core::TaskView> views;
  const auto comes_first = [](const core::TaskView& a, const core::TaskView& b) {
    return std::make_tuple(-a.held_bytes, a.born_ns, a.id) <
           std::make_tuple(-b.held_bytes, b.born_ns, b.id);
  };
  Visit<core::TaskView>(registry.visit_tasks, [&](const core::TaskView& view) {
    views.push_back(view);
    std::ranges::push_heap(views, comes_first);
    if (views.size() <= most) return;
    std::ranges::pop_heap(views, comes_first);
    views.pop_back();
  });
  std::ranges::sort_heap(views, comes_first);
  PlaceTexts texts(registry);
  std::vector<TaskInfo> tasks;
  tasks.reserve(views.size());
  for (const core::TaskView& view : views) {
    tasks.push_back(InfoOf(registry, view, now_ns, &texts));
  }
  return tasks;
}

}  // namespace heldby::collect
