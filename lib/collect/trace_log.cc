#include "collect/trace_log.h"

#include <algorithm>
#include <chrono>
#include <tuple>

#include "collect/proc_task.h"
#include "collect/socket_state.h"
#include "collect/threads.h"
#include "collect/visit.h"
#include "core/base/clock.h"
#include "profile/flat_hash.h"

namespace heldby::collect {
namespace {

bool NamesATask(core::EventKind kind) {
  using core::EventKind;
  return kind >= EventKind::kTaskBegin && kind <= EventKind::kHolder;
}

}  // namespace

core::EventLog::Started TraceRecorder::Start() {
  const auto started = core_.trace->start();
  if (started != core::EventLog::Started::kYes) return started;
  state_ = State::kRecording;
  start_coarse_ns_ = core_.registry->now_ns();
  log_.wall_ns =
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  Look();
  for (auto& [tid, thread] : log_.threads) thread.at_start = true;
  return started;
}

void TraceRecorder::Look() {
  const std::uint64_t now_ns = core::NowNs();
  FlatHashSet<std::int32_t> there;
  for (const std::int32_t tid : ThreadIds()) {
    there.insert(tid);
    if (const auto known = log_.threads.find(tid);
        known != log_.threads.end() && known->second.gone_ns == 0) {
      continue;
    }
    core::ThreadView view{};
    if (IsOwnThread(core_, tid, &view)) continue;
    log_.threads[tid] = {
        .name = ProcTask(tid).Name(), .seen_ns = core::NowNs(), .holder = view.holder};
  }
  for (auto& [tid, thread] : log_.threads) {
    if (thread.gone_ns == 0 && !there.contains(tid)) thread.gone_ns = now_ns;
  }
}

TraceRecorder::~TraceRecorder() {
  if (state_ == State::kRecording) core_.trace->stop();
  if (state_ == State::kRecording || state_ == State::kStopped) core_.trace->release();
}

void TraceRecorder::TakeEvents() {
  log_.totals = core_.trace->stop();
  state_ = State::kStopped;
  log_.events.reserve(log_.totals.recorded);
  log_.unfinished = core_.trace->visit(
      [](void* events, const core::Event& event) {
        static_cast<std::vector<core::Event>*>(events)->push_back(event);
      },
      &log_.events);
  core_.trace->release();
  state_ = State::kReleased;
}

TraceLog TraceRecorder::Finish() && {
  TakeEvents();
  Look();
  // A thread has its name only after a while.
  for (auto& [tid, thread] : log_.threads) {
    if (thread.gone_ns != 0) continue;
    if (std::string name = ProcTask(tid).Name(); !name.empty()) thread.name = std::move(name);
  }
  AddThreadEvents();
  std::ranges::stable_sort(log_.events, {}, &core::Event::time_ns);
  ReadConnections();
  ReadTasks();
  return std::move(log_);
}

// What was seen of threads whose own events are not in the log.
void TraceRecorder::AddThreadEvents() {
  FlatHashSet<std::int32_t> begun;
  FlatHashSet<std::int32_t> ended;
  for (const core::Event& event : log_.events) {
    if (event.kind == core::EventKind::kThreadBegin) begun.insert(event.tid);
    if (event.kind == core::EventKind::kThreadEnd) ended.insert(event.tid);
  }
  const auto add = [this](core::EventKind kind, std::int32_t tid, std::uint64_t time_ns) {
    // What happened after the last event that is in the log is not told.
    if (time_ns > log_.totals.end_ns) return;
    log_.events.push_back(
        {.kind = kind, .flags = core::Event::kNoticed, .tid = tid, .time_ns = time_ns});
  };
  for (auto& [tid, thread] : log_.threads) {
    if (begun.contains(tid)) {
      thread.at_start = false;
    } else if (!thread.at_start) {
      add(core::EventKind::kThreadBegin, tid, thread.seen_ns);
    }
    if (thread.gone_ns != 0 && !ended.contains(tid)) {
      add(core::EventKind::kThreadEnd, tid, thread.gone_ns);
    }
  }
}

void TraceRecorder::ReadConnections() {
  FlatHashSet<std::uint32_t> in_log;
  for (const core::Event& event : log_.events) {
    if (event.kind == core::EventKind::kConnectionBegin) in_log.insert(event.id);
  }
  Visit<core::ConnectionView>(
      core_.registry->visit_connections, [&](const core::ConnectionView& view) {
        if (view.ended) return;
        if (view.born_ns > start_coarse_ns_ && !in_log.contains(view.id)) return;
        const SocketState socket = ReadSocket(view.fd, view.cookie);
        log_.connections.push_back({view, socket.peer, socket.local});
      });
}

// Those that something happened to, and of the others the oldest.
void TraceRecorder::ReadTasks() {
  FlatHashSet<std::uint32_t> in_log;
  for (const core::Event& event : log_.events) {
    if (NamesATask(event.kind)) in_log.insert(event.id);
  }
  for (const auto& [tid, thread] : log_.threads) in_log.insert(thread.holder.task);
  std::vector<core::TaskView> quiet;
  const auto comes_first = [](const core::TaskView& a, const core::TaskView& b) {
    return std::make_tuple(a.born_ns, a.id) < std::make_tuple(b.born_ns, b.id);
  };
  Visit<core::TaskView>(core_.registry->visit_tasks, [&](const core::TaskView& view) {
    if (view.ended) return;
    if (in_log.contains(view.id)) {
      log_.tasks.push_back(view);
    } else if (view.born_ns <= start_coarse_ns_) {
      quiet.push_back(view);
      std::ranges::push_heap(quiet, comes_first);
      if (quiet.size() <= TraceLog::kMaxQuietTasks) return;
      std::ranges::pop_heap(quiet, comes_first);
      quiet.pop_back();
      ++log_.quiet_tasks_left_out;
    }
  });
  log_.tasks.insert(log_.tasks.end(), quiet.begin(), quiet.end());
}

}  // namespace heldby::collect
