// heldby/connection.h, task.h and labels.h: thin, since the registry is the core's.
#include <exception>
#include <new>

#include "collect/holders.h"
#include "heldby/connection.h"
#include "heldby/labels.h"
#include "heldby/self.h"
#include "heldby/task.h"
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

Task::Task(const char* name, const TaskOptions& options, const SourcePlace& place)
    : id_(TaskId::kNone), before_{} {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return;
  const core::Holder outer = registry->holder();
  core::Holder inner = outer;
  if (options.connection != ConnectionId::kNone) {
    inner.connection = static_cast<std::uint32_t>(options.connection);
  }
  inner.task = registry->begin_task({.name = name,
                                     .file = place.file,
                                     .function = place.function,
                                     .line = place.line,
                                     .parent = outer.task,
                                     .connection = inner.connection,
                                     .labels = outer.labels});
  id_ = TaskId{inner.task};
  registry->set_holder(inner);
  before_[0] = outer.connection;
  before_[1] = outer.task;
  before_[2] = outer.labels;
}

Task::~Task() {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return;
  registry->set_holder({before_[0], before_[1], before_[2]});
  registry->end_task(static_cast<std::uint32_t>(id_));
}

void Task::SetState(const char* state) {
  if (const core::RegistryApi* registry = Registry()) {
    registry->set_task_state(static_cast<std::uint32_t>(id_), state);
  }
}

std::function<void()> Propagate(std::function<void()> function) {
  const core::RegistryApi* registry = Registry();
  if (registry == nullptr) return function;
  return [registry, holder = registry->holder(), function = std::move(function)] {
    struct Restore {
      const core::RegistryApi* registry;
      core::Holder before;
      ~Restore() { registry->set_holder(before); }
    } restore{registry, registry->set_holder(holder)};
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

Result<std::vector<TaskInfo>> SnapshotTasks() {
  return Snapshot<std::vector<TaskInfo>>(&collect::CollectTasks);
}

}  // namespace heldby
