#include "collect/census.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "collect/socket_state.h"
#include "core/base/clock.h"
#include "profile/utf8.h"

namespace heldby::collect {
namespace {

// Each some tens of microseconds, so that the clock is looked at often enough.
constexpr std::uint32_t kTasksAStep = 2048;
constexpr std::uint32_t kConnectionsAStep = 32;

constexpr std::size_t kMostNameBytes = 120;

// A label's value as it will be shown, before names are told apart by it: no two series may
// have the same labels. And text, whoever writes it: a scraper refuses the whole page for one
// bad byte, and prometheus-cpp's writer lets it pass.
std::string LabelText(std::string_view name) {
  std::string text;
  while (!name.empty()) {
    const std::string_view character = TakeUtf8Character(&name);
    if (text.size() + character.size() > kMostNameBytes) break;
    text += character;
  }
  return text;
}

ConnectionState StateOf(const SocketState& socket) {
  if (!socket.known) return ConnectionState::kUnknown;
  const SocketVerdict verdict = Judge(socket);
  switch (verdict.problem) {
    case ConnectionProblem::kPeerStoppedReading:
      return ConnectionState::kPeerStoppedReading;
    case ConnectionProblem::kPeerDead:
      return ConnectionState::kPeerDead;
    case ConnectionProblem::kWeStoppedReading:
      return ConnectionState::kWeStoppedReading;
    case ConnectionProblem::kClosedByPeer:
      return ConnectionState::kClosedByPeer;
    case ConnectionProblem::kNone:
      break;
  }
  return verdict.is_idle ? ConnectionState::kIdle : ConnectionState::kActive;
}

}  // namespace

const char* StateName(ConnectionState state) {
  switch (state) {
    case ConnectionState::kActive:
      return "active";
    case ConnectionState::kIdle:
      return "idle";
    case ConnectionState::kPeerStoppedReading:
      return "peer_stopped_reading";
    case ConnectionState::kPeerDead:
      return "peer_dead";
    case ConnectionState::kWeStoppedReading:
      return "we_stopped_reading";
    case ConnectionState::kClosedByPeer:
      return "closed_by_peer";
    case ConnectionState::kUnknown:
      break;
  }
  return "unknown";
}

void Census::Advance(std::uint64_t allowance_ns) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(allowance_ns);
  const bool is_first = result_.taken_ns == 0;
  while (!Step() && (is_first || std::chrono::steady_clock::now() < end)) {
  }
}

bool Census::Step() {
  if (stage_ == Stage::kTasks) {
    if (next_ == 0) now_ns_ = registry_.now_ns();
    next_ = registry_.visit_tasks_part(
        next_, kTasksAStep,
        [](void* census, const core::TaskView& task) {
          static_cast<Census*>(census)->Add(task);
        },
        this);
    if (next_ == 0) stage_ = Stage::kConnections;
    return false;
  }
  next_ = registry_.visit_connections_part(
      next_, kConnectionsAStep,
      [](void* census, const core::ConnectionView& connection) {
        static_cast<Census*>(census)->Add(connection);
      },
      this);
  if (next_ != 0) return false;
  Finish();
  return true;
}

void Census::Add(const core::TaskView& task) {
  const std::int64_t held_bytes = std::max<std::int64_t>(task.held_bytes, 0);
  if (task.ended) {
    ++walk_.ended_tasks;
    walk_.ended_task_held_bytes += held_bytes;
    return;
  }
  walk_.task_held_bytes += held_bytes;
  const bool running = task.is_scope || task.running;
  TaskCount& count = tasks_[{task.made_id, running ? 0 : task.parked_id, running}];
  ++count.tasks;
  count.oldest_age_ns = std::max(count.oldest_age_ns, core::BetweenNs(task.born_ns, now_ns_));
}

void Census::Add(const core::ConnectionView& connection) {
  ConnectionCensus& census = connection.outbound ? walk_.outbound : walk_.inbound;
  const std::int64_t held_bytes = std::max<std::int64_t>(connection.held_bytes, 0);
  if (connection.ended) {
    ++census.ended.connections;
    census.ended.held_bytes += held_bytes;
    return;
  }
  const SocketState socket = ReadSocketQueues(connection.fd, connection.cookie);
  ConnectionCount& count = census.by_state[static_cast<std::size_t>(StateOf(socket))];
  ++count.connections;
  count.held_bytes += held_bytes;
  census.queued_bytes += static_cast<std::int64_t>(connection.queued_bytes);
  census.unsent_bytes += static_cast<std::int64_t>(socket.unsent_bytes);
  census.unread_bytes += static_cast<std::int64_t>(socket.unread_bytes);
  census.oldest_age_ns =
      std::max(census.oldest_age_ns, core::BetweenNs(connection.born_ns, now_ns_));
}

void Census::Finish() {
  for (const auto& [places, count] : tasks_) {
    const std::string name = LabelText(texts_.Of(places.made).text);
    const std::string parked =
        places.running ? "running" : LabelText(texts_.Of(places.parked).text);
    TaskCount& sum = walk_.tasks[{name, parked.empty() ? "ready" : parked}];
    sum.tasks += count.tasks;
    sum.oldest_age_ns = std::max(sum.oldest_age_ns, count.oldest_age_ns);
  }
  // Its beginning: what is asked is how old the oldest of these figures may be.
  walk_.taken_ns = std::max<std::uint64_t>(now_ns_, 1);
  result_ = std::exchange(walk_, {});
  tasks_.clear();
  stage_ = Stage::kTasks;
  next_ = 0;
}

}  // namespace heldby::collect
