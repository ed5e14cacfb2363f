#include "core/registry/registry.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/self_guard.h"

namespace heldby::core {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// Asked for at the end, and only if somebody will still want to know: a system call.
void AskPeer(ConnectionRecord* record) {
  const int fd = record->fd.load(kRelaxed);
  if (SocketCookie(fd) != record->cookie.load(kRelaxed)) return;
  const int kept = errno;
  PeerAddress peer{};
  socklen_t size = sizeof(peer.bytes);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(peer.bytes), &size) == 0) {
    peer.size_bytes = size < sizeof(peer.bytes) ? size : sizeof(peer.bytes);
  }
  errno = kept;
  std::uint64_t words[4];
  static_assert(sizeof(words) == sizeof(peer));
  memcpy(words, &peer, sizeof(words));
  for (int i = 0; i < 4; ++i) record->peer[i].store(words[i], kRelaxed);
}

StackId StackFrom(std::uintptr_t caller, StackTable* stacks) {
  Stack stack;
  CaptureStack(caller, &stack);
  return stacks->Intern(stack);
}

template <typename Table>
void HoldOne(Table* table, std::uint32_t* id, std::int64_t bytes) {
  if (*id == 0) return;
  if (table->Ref(*id)) {
    table->Get(*id).held_bytes.fetch_add(bytes, std::memory_order_relaxed);
  } else {
    *id = 0;
  }
}

template <typename Table>
void ReleaseOne(Table* table, std::uint32_t id, std::int64_t bytes) {
  if (id == 0) return;
  table->Get(id).held_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  table->Unref(id);
}

// What follows is out of the way of those whom nobody traces. Who calls it calls it last: a
// register that is kept across a call would be saved by everybody.
#define COLD __attribute__((cold, noinline))

COLD void TraceLife(EventKind kind, std::uint32_t id, const TaskRecord& record) {
  event_log.Record({.kind = kind,
                    .flags = record.is_scope.load(kRelaxed) ? Event::kScope : std::uint8_t{0},
                    .place = static_cast<std::uint16_t>(record.made.load(kRelaxed)),
                    .id = id,
                    .a = record.parent.load(kRelaxed),
                    .b = record.connection.load(kRelaxed),
                    .c = record.labels.load(kRelaxed)});
}

COLD void TraceTask(EventKind kind, std::uint32_t id, std::uint32_t place) {
  event_log.Record({.kind = kind, .place = static_cast<std::uint16_t>(place), .id = id});
}

COLD void TraceHolder(const Holder& holder, const Holder& before) {
  if (memcmp(&holder, &before, sizeof(holder)) == 0) return;
  event_log.Record({.kind = EventKind::kHolder,
                    .id = holder.task,
                    .b = holder.connection,
                    .c = holder.labels});
}

COLD void TraceConnection(EventKind kind, std::uint32_t id, const ConnectionRecord& record) {
  const unsigned flags =
      (record.direction.load(kRelaxed) == 1 ? unsigned{Event::kOutbound} : 0u) |
      (record.implicit.load(kRelaxed) ? unsigned{Event::kImplicit} : 0u);
  event_log.Record({.kind = kind,
                    .flags = static_cast<std::uint8_t>(flags),
                    .id = id,
                    .a = static_cast<std::uint32_t>(record.fd.load(kRelaxed)),
                    .b = record.task.load(kRelaxed),
                    .c = record.labels.load(kRelaxed)});
}

COLD void TraceConnectionState(std::uint32_t id, const char* state) {
  const auto address = reinterpret_cast<std::uintptr_t>(state);
  event_log.Record({.kind = EventKind::kConnectionState,
                    .id = id,
                    .a = static_cast<std::uint32_t>(address),
                    .b = static_cast<std::uint32_t>(address >> 32)});
}

// The first bytes of a sockaddr hold an IPv4 address; an IPv6 address takes a second event.
COLD void TracePeer(std::uint32_t id, const ConnectionRecord& record) {
  std::uint64_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = record.peer[i].load(kRelaxed);
  PeerAddress peer;
  memcpy(&peer, words, sizeof(peer));
  constexpr std::size_t kPart = 12;
  for (std::size_t at = 0; at < 2 * kPart && at < peer.size_bytes; at += kPart) {
    std::uint32_t part[3];
    static_assert(sizeof(part) == kPart);
    memcpy(part, peer.bytes + at, kPart);
    event_log.Record({.kind = EventKind::kConnectionPeer,
                      .flags = at == 0 ? std::uint8_t{0} : Event::kRest,
                      .place = static_cast<std::uint16_t>(peer.size_bytes),
                      .id = id,
                      .a = part[0],
                      .b = part[1],
                      .c = part[2]});
  }
}

COLD void TraceConnectionEnd(std::uint32_t id, const ConnectionRecord& record) {
  TracePeer(id, record);
  TraceConnection(EventKind::kConnectionEnd, id, record);
}

}  // namespace

COLD std::uint32_t Registry::TraceTaskBegin(std::uint32_t id) {
  if (id != 0) TraceLife(EventKind::kTaskBegin, id, tasks.Get(id));
  return id;
}

COLD void Registry::EndTaskTraced(std::uint32_t id) {
  if (const TaskRecord* record = tasks.Open(id)) TraceLife(EventKind::kTaskEnd, id, *record);
  tasks.End(id);
}

#undef COLD

constinit Registry registry;

std::uint64_t SocketCookie(int fd) {
  const int kept = errno;
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) cookie = 0;
  errno = kept;
  return cookie;
}

std::uint32_t Registry::OpenConnection(int fd, bool outbound, bool implicit,
                                       std::uintptr_t caller, StackTable* stacks) {
  SelfGuard self;
  const StackId opened = StackFrom(caller, stacks);
  const std::uint64_t now_ns = CoarseNowNs();
  const std::uint64_t cookie = SocketCookie(fd);
  const Holder holder = thread_slot.holder;
  const std::uint32_t id = connections.Make([&](ConnectionRecord& record) {
    record.fd.store(fd, kRelaxed);
    record.direction.store(outbound ? 1 : 0, kRelaxed);
    record.implicit.store(implicit, kRelaxed);
    record.stack.store(static_cast<std::uint32_t>(opened), kRelaxed);
    record.task.store(holder.task, kRelaxed);
    record.labels.store(holder.labels, kRelaxed);
    record.state.store(nullptr, kRelaxed);
    record.state_since_ns.store(now_ns, kRelaxed);
    record.born_ns.store(now_ns, kRelaxed);
    record.cookie.store(cookie, kRelaxed);
    record.queued_bytes.store(0, kRelaxed);
    record.held_bytes.store(0, kRelaxed);
    for (auto& word : record.peer) word.store(0, kRelaxed);
    record.descriptors.store(0, kRelaxed);
    record.checked_ns.store(now_ns, kRelaxed);
    record.receives.store(0, kRelaxed);
  });
  if (id != 0) opened_[outbound].fetch_add(1, kRelaxed);
  if (event_log.is_on() && id != 0) [[unlikely]] {
    TraceConnection(EventKind::kConnectionBegin, id, connections.Get(id));
  }
  return id;
}

void Registry::EndConnection(std::uint32_t id) {
  ConnectionRecord* record = connections.Open(id);
  if (record == nullptr) return;
  const bool is_traced = event_log.is_on();
  if (is_traced || record->head.references.load(kRelaxed) > 1) AskPeer(record);
  if (is_traced) [[unlikely]] {
    TraceConnectionEnd(id, *record);
  }
  // Read before the end: afterwards the record may be another's.
  const bool outbound = record->direction.load(kRelaxed) == 1;
  if (connections.End(id)) closed_[outbound].fetch_add(1, kRelaxed);
}

void Registry::SetConnectionState(std::uint32_t id, const char* state) {
  ConnectionRecord* record = connections.Open(id);
  if (record == nullptr || record->state.load(kRelaxed) == state) return;
  record->state_since_ns.store(CoarseNowNs(), kRelaxed);
  record->state.store(state, kRelaxed);
  if (event_log.is_on()) [[unlikely]] {
    TraceConnectionState(id, state);
  }
}

void Registry::SetDescriptor(std::uint32_t id, int fd) {
  ConnectionRecord* record = connections.Open(id);
  if (record == nullptr) return;
  record->cookie.store(SocketCookie(fd), kRelaxed);
  record->fd.store(fd, kRelaxed);
}

void Registry::RememberPeer(std::uint32_t id) {
  ConnectionRecord* record = connections.Open(id);
  if (record != nullptr) AskPeer(record);
}

bool Registry::TakeOverConnection(std::uint32_t id, bool outbound, std::uintptr_t caller,
                                  StackTable* stacks) {
  SelfGuard self;
  ConnectionRecord* record = connections.Open(id);
  bool implicit = true;
  if (record == nullptr || !record->implicit.compare_exchange_strong(implicit, false)) {
    return false;
  }
  const StackId opened = StackFrom(caller, stacks);
  const bool was_outbound = record->direction.exchange(outbound ? 1 : 0, kRelaxed) == 1;
  if (was_outbound != outbound) {  // it ends as what it is now
    closed_[was_outbound].fetch_add(1, kRelaxed);
    opened_[outbound].fetch_add(1, kRelaxed);
  }
  record->stack.store(static_cast<std::uint32_t>(opened), kRelaxed);
  record->task.store(thread_slot.holder.task, kRelaxed);
  record->labels.store(thread_slot.holder.labels, kRelaxed);
  record->state.store(nullptr, kRelaxed);
  return true;
}

std::uint32_t Registry::BeginTask(const TaskStart& start, StackTable* stacks) {
  // A stack costs twice what all the rest does: the first on a thread and one in so many.
  constexpr std::uint32_t kTasksPerStack = 64;
  threads.ListSelf();
  StackId stack = StackId::kNoStack;
  const bool is_its_turn = thread_slot.tasks_begun++ % kTasksPerStack == 0;
  if ((is_its_turn || task_stack_askers.load(kRelaxed) != 0) && start.caller != 0) {
    SelfGuard self;
    stack = StackFrom(start.caller, stacks);
  }
  const std::uint64_t now_ns = CoarseNowNs();
  const Holder outer = thread_slot.holder;
  const std::uint32_t place = places.Intern(start.made);
  const std::uint32_t id = tasks.Make([&](TaskRecord& record) {
    record.parked_since_ns.store(now_ns, kRelaxed);
    record.born_ns.store(now_ns, kRelaxed);
    record.held_bytes.store(0, kRelaxed);
    record.chain.store(nullptr, kRelaxed);
    record.made.store(place, kRelaxed);
    record.parked.store(0, kRelaxed);
    record.stack.store(static_cast<std::uint32_t>(stack), kRelaxed);
    record.parent.store(outer.task, kRelaxed);
    record.connection.store(start.connection != 0 ? start.connection : outer.connection,
                            kRelaxed);
    record.labels.store(outer.labels, kRelaxed);
    record.runs.store(0, kRelaxed);
    record.is_scope.store(start.is_scope, kRelaxed);
  });
  if (event_log.is_on()) [[unlikely]] {
    return TraceTaskBegin(id);
  }
  return id;
}

std::uint32_t Registry::BeginScope(const TaskStart& start, Holder* before, StackTable* stacks) {
  Holder holder = thread_slot.holder;
  *before = holder;
  holder.task = BeginTask(start, stacks);
  if (start.connection != 0) holder.connection = start.connection;
  thread_slot.holder = holder;
  return holder.task;
}

void Registry::EndScope(std::uint32_t id, const Holder& before) {
  thread_slot.holder = before;
  EndTask(id);
}

Holder Registry::SetHolder(const Holder& holder) {
  threads.ListSelf();
  const Holder before = thread_slot.holder;
  thread_slot.holder = holder;
  if (event_log.is_on()) [[unlikely]] {
    TraceHolder(holder, before);
  }
  return before;
}

void Registry::SetTaskConnection(std::uint32_t id, std::uint32_t connection) {
  WithOpenTask(id, [id, connection](TaskRecord& record) {
    record.connection.store(connection, kRelaxed);
    if (thread_slot.holder.task == id) thread_slot.holder.connection = connection;
  });
}

Holder Registry::EnterTask(std::uint32_t id) {
  threads.ListSelf();
  const Holder before = thread_slot.holder;
  WithOpenTask(id, [id](TaskRecord& record) {
    record.runs.fetch_add(RunsOf::kComes, std::memory_order_acq_rel);
    thread_slot.holder = {record.connection.load(kRelaxed), id, record.labels.load(kRelaxed)};
    if (event_log.is_on()) [[unlikely]] {
      TraceTask(EventKind::kTaskEnter, id, record.parked.load(kRelaxed));
    }
  });
  return before;
}

void Registry::LeaveTask(std::uint32_t id, const Holder& before) {
  thread_slot.holder = before;
  if (event_log.is_on()) [[unlikely]] {
    TraceTask(EventKind::kTaskLeave, id, 0);
  }
  WithOpenTask(id, [](TaskRecord& record) {
    record.runs.fetch_sub(RunsOf::kLeaves, std::memory_order_acq_rel);
  });
}

void Registry::ParkTask(std::uint32_t id, std::uint32_t place, const AwaitFrame* chain) {
  WithOpenTask(id, [id, place, chain](TaskRecord& record) {
    record.chain.store(chain, std::memory_order_release);
    if (record.parked.load(kRelaxed) == place) return;
    record.parked_since_ns.store(CoarseNowNs(), kRelaxed);
    record.parked.store(place, kRelaxed);
    if (event_log.is_on()) [[unlikely]] {
      TraceTask(EventKind::kTaskPark, id, place);
    }
  });
}

Holder Registry::HolderOf(const ThreadSlot& slot, bool* guessed) {
  Holder holder = slot.holder;
  const Guess guess = slot.guess;
  *guessed = false;
  // Who says what it works for needs no guess, even if that is no connection at all.
  if (guess.connection == 0 || holder.connection != 0 || holder.task != 0) return holder;
  const ConnectionRecord* record = connections.Open(guess.connection);
  if (record == nullptr || record->cookie.load(kRelaxed) != guess.cookie) return holder;
  holder.connection = guess.connection;
  *guessed = true;
  return holder;
}

void Registry::Hold(Holder* holder, std::uint64_t bytes) {
  HoldOne(&connections, &holder->connection, static_cast<std::int64_t>(bytes));
  HoldOne(&tasks, &holder->task, static_cast<std::int64_t>(bytes));
}

void Registry::Release(const Holder& holder, std::uint64_t bytes) {
  ReleaseOne(&connections, holder.connection, static_cast<std::int64_t>(bytes));
  ReleaseOne(&tasks, holder.task, static_cast<std::int64_t>(bytes));
}

void Registry::BeginAnewInChild() {
  connections.EndAll();
  tasks.EndAll();
  for (int outbound = 0; outbound < 2; ++outbound) {
    opened_[outbound].store(0, kRelaxed);
    closed_[outbound].store(0, kRelaxed);
  }
  threads.BeginAnewInChild();
  event_log.BeginAnewInChild();
  thread_slot.holder = {};
  thread_slot.guess = {};
}

}  // namespace heldby::core
