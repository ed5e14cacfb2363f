// heldby/connection.h, task.h and labels.h: thin, since the registry is the core's.
#include <cstddef>
#include <exception>
#include <new>

#include "collect/counted.h"
#include "collect/holders.h"
#include "heldby/connection.h"
#include "heldby/labels.h"
#include "heldby/propagate.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "heldby/task.h"
#include "profile/trim.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

const core::RegistryApi* Registry() {
  const core::CoreApi* core = runtime::Core();
  return core != nullptr ? core->registry : nullptr;
}

template <typename Infos, typename Collect>
Result<Infos> Snapshot(const Collect& collect) {
  UnsampledScope unsampled;
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    return collect(*registry);
  } catch (const std::exception& error) {
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot list what there is: ") + error.what());
  }
}

}  // namespace

Connection::Connection(int fd, Direction direction) : id_(ConnectionId::kNone) {
  if (const core::RegistryApi* registry = Registry()) {
    id_ = ConnectionId{registry->open_connection(
        fd, direction == Direction::kOutbound,
        reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)))};
  }
}

Connection& Connection::operator=(Connection&& other) noexcept {
  if (this != &other) {
    Forget();
    id_ = std::exchange(other.id_, ConnectionId::kNone);
  }
  return *this;
}

void Connection::SetDescriptor(int fd) {
  if (const core::RegistryApi* registry = Registry()) {
    registry->set_connection_descriptor(static_cast<std::uint32_t>(id_), fd);
  }
}

void Connection::SetState(const char* state) {
  if (const core::RegistryApi* registry = Registry()) {
    registry->set_connection_state(static_cast<std::uint32_t>(id_), state);
  }
}

void Connection::SetQueuedBytes(std::uint64_t bytes) {
  if (const core::RegistryApi* registry = Registry()) {
    registry->set_connection_queued_bytes(static_cast<std::uint32_t>(id_), bytes);
  }
}

void Connection::Forget() {
  const ConnectionId id = std::exchange(id_, ConnectionId::kNone);
  if (id == ConnectionId::kNone) return;
  if (const core::RegistryApi* registry = Registry()) {
    registry->end_connection(static_cast<std::uint32_t>(id));
  }
}

static_assert(sizeof(AwaitFrame) == sizeof(core::AwaitFrame) &&
              offsetof(AwaitFrame, code) == offsetof(core::AwaitFrame, code) &&
              offsetof(AwaitFrame, place) == offsetof(core::AwaitFrame, place));

PlaceId InternPlace(const char* text, const SourcePlace& place) {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return PlaceId::kNone;
  return PlaceId{registry->intern_place({text, place.file, place.function, place.line})};
}

TaskId CurrentTask() {
  const core::RegistryApi* registry = Registry();
  return TaskId{registry != nullptr ? registry->holder().task : 0};
}

void Park(TaskId task, PlaceId place, const AwaitFrame* chain) {
  if (const core::RegistryApi* registry = Registry()) {
    registry->park_task(static_cast<std::uint32_t>(task), static_cast<std::uint32_t>(place),
                        reinterpret_cast<const core::AwaitFrame*>(chain));
  }
}

void SetConnection(TaskId task, ConnectionId connection) {
  if (const core::RegistryApi* registry = Registry()) {
    registry->set_task_connection(static_cast<std::uint32_t>(task),
                                  static_cast<std::uint32_t>(connection));
  }
}

namespace {

core::Registry::TaskStart StartOf(const char* name, const TaskOptions& options,
                                  const SourcePlace& place, bool is_scope, void* caller) {
  return {.made = {name, place.file, place.function, place.line},
          .connection = static_cast<std::uint32_t>(options.connection),
          .is_scope = is_scope,
          .caller = reinterpret_cast<std::uintptr_t>(caller)};
}

void Keep(const core::Holder& holder, std::uint32_t (&kept)[3]) {
  kept[0] = holder.connection;
  kept[1] = holder.task;
  kept[2] = holder.labels;
}

}  // namespace

Task::Task(const char* name, const TaskOptions& options, const SourcePlace& place)
    : id_(TaskId::kNone), before_{} {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return;
  core::Holder before;
  id_ = TaskId{registry->begin_scope(
      StartOf(name, options, place, /*is_scope=*/true, __builtin_return_address(0)), &before)};
  Keep(before, before_);
}

Task::~Task() {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return;
  registry->end_scope(static_cast<std::uint32_t>(id_), {before_[0], before_[1], before_[2]});
}

AsyncTask::AsyncTask(const char* name, const TaskOptions& options, const SourcePlace& place)
    : id_(TaskId::kNone) {
  if (const core::RegistryApi* registry = Registry()) {
    id_ = TaskId{registry->begin_task(
        StartOf(name, options, place, /*is_scope=*/false, __builtin_return_address(0)))};
  }
}

AsyncTask& AsyncTask::operator=(AsyncTask&& other) noexcept {
  if (this != &other) {
    End();
    id_ = std::exchange(other.id_, TaskId::kNone);
  }
  return *this;
}

void AsyncTask::End() {
  const TaskId id = std::exchange(id_, TaskId::kNone);
  if (id == TaskId::kNone) return;
  if (const core::RegistryApi* registry = Registry()) {
    registry->end_task(static_cast<std::uint32_t>(id));
  }
}

AsyncTask::Piece::Piece(TaskId task) : id_(task), before_{} {
  if (const core::RegistryApi* registry = Registry()) {
    Keep(registry->enter_task(static_cast<std::uint32_t>(task)), before_);
  }
}

AsyncTask::Piece::~Piece() {
  if (const core::RegistryApi* registry = Registry()) {
    registry->leave_task(static_cast<std::uint32_t>(id_), {before_[0], before_[1], before_[2]});
  }
}

Holder::Holder() : ids_{} {
  if (const core::RegistryApi* registry = Registry()) Keep(registry->holder(), ids_);
}

Holder::Scope::Scope(const Holder& holder) : before_{} {
  if (const core::RegistryApi* registry = Registry()) {
    Keep(registry->set_holder({holder.ids_[0], holder.ids_[1], holder.ids_[2]}), before_);
  }
}

Holder::Scope::~Scope() {
  if (const core::RegistryApi* registry = Registry()) {
    registry->set_holder({before_[0], before_[1], before_[2]});
  }
}

std::function<void()> Propagate(std::function<void()> function) {
  if (Registry() == nullptr) return function;
  return [holder = Holder(), function = std::move(function)] {
    const Holder::Scope scope(holder);
    function();
  };
}

ScopedLabels::ScopedLabels(
    std::initializer_list<std::pair<std::string_view, std::string_view>> labels)
    : before_(0) {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return;
  // A view need not end with a 0; the table cuts at the same length.
  char texts[core::kMaxLabels][2][core::kMaxLabelBytes + 1];
  core::Label given[core::kMaxLabels];
  int count = 0;
  for (const auto& [key, value] : labels) {
    if (key.empty() || count == core::kMaxLabels) continue;
    texts[count][0][key.copy(texts[count][0], core::kMaxLabelBytes)] = '\0';
    texts[count][1][value.copy(texts[count][1], core::kMaxLabelBytes)] = '\0';
    given[count] = {texts[count][0], texts[count][1]};
    ++count;
  }
  core::Holder holder = registry->holder();
  before_ = holder.labels;
  holder.labels = registry->merge_labels(holder.labels, given, count);
  registry->set_holder(holder);
}

ScopedLabels::~ScopedLabels() {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return;
  core::Holder holder = registry->holder();
  holder.labels = before_;
  registry->set_holder(holder);
}

Result<std::vector<ConnectionInfo>> SnapshotConnections() {
  return Snapshot<std::vector<ConnectionInfo>>(&collect::CollectConnections);
}

Result<Profile> SnapshotConnectionProfile(const HolderLabels& labels) {
  return Snapshot<Profile>([&labels](const core::RegistryApi&) {
    Profile profile = collect::CollectConnectionProfile(*runtime::Core(), labels);
    SymbolizeProfile(&profile);
    TrimAllocationFrames(&profile);
    return profile;
  });
}

std::size_t CountConnections() {
  std::size_t count = 0;
  if (const core::RegistryApi* registry = Registry()) {
    registry->visit_connections(
        [](void* context, const core::ConnectionView& view) {
          if (!view.ended) ++*static_cast<std::size_t*>(context);
        },
        &count);
  }
  return count;
}

Result<std::vector<TaskInfo>> SnapshotTasks(std::size_t most) {
  return Snapshot<std::vector<TaskInfo>>([most](const core::RegistryApi& registry) {
    return collect::CollectTasks(registry, most);
  });
}

std::size_t CountTasks() {
  std::size_t count = 0;
  if (const core::RegistryApi* registry = Registry()) {
    registry->visit_tasks(
        [](void* context, const core::TaskView&) { ++*static_cast<std::size_t*>(context); },
        &count);
  }
  return count;
}

}  // namespace heldby
