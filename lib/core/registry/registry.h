// core/registry/registry.h - connections and tasks: what may hold memory, and what it holds.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// Units    *_ns are CLOCK_MONOTONIC_COARSE, *_bytes estimate the heap as samples do.
// Bounds   131,072 connections and 1,048,576 tasks alive; beyond it dropped() grows and the id
//          is 0.
// Fork     BeginAnewInChild(): the child has neither.
//
// Held bytes. A sample that is taken while a holder is current adds its weight to the holder's
// record and keeps the record; its free takes both back. So a row of the connections page costs
// no walk of the heap, and a holder that has ended is forgotten when its last sampled byte
// goes.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/thread_slot.h"
#include "core/registry/event_log.h"
#include "core/registry/label_table.h"
#include "core/registry/place_table.h"
#include "core/registry/record_table.h"
#include "core/registry/thread_table.h"
#include "core/stack/stack_table.h"

namespace heldby::core {

/// A sockaddr as read before the descriptor went; size 0: not known.
struct PeerAddress {
  std::uint32_t size_bytes;
  unsigned char bytes[28];
};

struct ConnectionRecord {
  RecordHead head;
  std::atomic<std::int32_t> fd;
  std::atomic<std::uint8_t> direction;  // 0 inbound, 1 outbound
  std::atomic<bool> implicit;           // seen by a wrapped call, not told by the program
  std::atomic<std::uint32_t> stack;     // a StackId: who opened it
  std::atomic<std::uint32_t> task;
  std::atomic<std::uint32_t> labels;
  std::atomic<const char*> state;  // of the program's, perhaps of a library that is gone
  std::atomic<std::uint64_t> state_since_ns;
  std::atomic<std::uint64_t> born_ns;
  std::atomic<std::uint64_t> cookie;  // SO_COOKIE: whether fd still is this socket
  std::atomic<std::uint64_t> queued_bytes;
  std::atomic<std::int64_t> held_bytes;
  std::atomic<std::uint64_t> peer[4];  // a PeerAddress, in words
  // How many descriptors are this socket, as Descriptors sees it; its id is in the upper half,
  // so that a late close cannot count on another connection's record.
  std::atomic<std::uint64_t> descriptors;
  std::atomic<std::uint64_t> checked_ns;  // when fd was last seen to be this socket
  std::atomic<std::uint32_t> receives;
};

/// One coroutine of a chain, in its own frame: read while it waits (AwaitFrame of
/// heldby/task.h, the layout that user code is compiled against).
struct AwaitFrame {
  const AwaitFrame* awaiter;  // who waits for this one; nullptr: nobody
  const void* code;           // any address of the function, such as the one it is resumed at
  std::uint32_t place;        // where it waits; 0: not known
};

struct TaskRecord {
  RecordHead head;
  std::atomic<std::uint64_t> parked_since_ns;
  std::atomic<std::uint64_t> born_ns;
  std::atomic<std::int64_t> held_bytes;
  std::atomic<const AwaitFrame*> chain;  // innermost; of one that is parked
  std::atomic<std::uint32_t> made;       // a place; its text is the name
  std::atomic<std::uint32_t> parked;     // a place; its text is the state, or what it waits for
  std::atomic<std::uint32_t> stack;      // a StackId: who made it, where it was looked at
  std::atomic<std::uint32_t> parent;
  std::atomic<std::uint32_t> connection;
  std::atomic<std::uint32_t> labels;
  std::atomic<std::uint32_t> runs;  // see RunsOf
  std::atomic<bool> is_scope;       // on one thread from its beginning to its end
};
static_assert(sizeof(TaskRecord) <= 96);

/// TaskRecord::runs. A coroutine may come to its next thread before the one that started its
/// operation has left it, so what is counted is threads; the rest of the word only grows, and
/// tells a reader of the chain that the task ran meanwhile.
struct RunsOf {
  static constexpr std::uint32_t kComes = (1u << 12) + 1;
  static constexpr std::uint32_t kLeaves = 1;
  static constexpr bool IsRunning(std::uint32_t runs) { return runs % (1u << 12) != 0; }
};

/// SO_COOKIE: what tells a socket from every other. 0: not a socket. errno kept.
std::uint64_t SocketCookie(int fd);

class Registry {
 public:
  constexpr Registry() = default;

  /// `caller`: the return address into the code that opened it. 0: the table is full.
  std::uint32_t OpenConnection(int fd, bool outbound, bool implicit, std::uintptr_t caller,
                               StackTable* stacks);
  void EndConnection(std::uint32_t id);
  /// One that was opened before its descriptor was known.
  void SetDescriptor(std::uint32_t id, int fd);
  /// The same state again keeps its age.
  void SetConnectionState(std::uint32_t id, const char* state);
  /// An implicit connection becomes the program's own, opened by `caller`. False: it is not
  /// open, or was taken over already.
  bool TakeOverConnection(std::uint32_t id, bool outbound, std::uintptr_t caller,
                          StackTable* stacks);
  /// Before its last descriptor is closed, if somebody will still want to know: system calls.
  void RememberPeer(std::uint32_t id);

  struct TaskStart {
    Place made{};
    std::uint32_t connection = 0;  // 0: the one around it
    bool is_scope = false;
    std::uintptr_t caller = 0;  // the return address into the code that makes it
  };
  /// Its parent, its labels and, if it names none, its connection are those of the task that is
  /// current here. 0: the table is full.
  std::uint32_t BeginTask(const TaskStart& start, StackTable* stacks);
  void EndTask(std::uint32_t id) {
    if (event_log.is_on()) [[unlikely]] {
      return EndTaskTraced(id);
    }
    tasks.End(id);
  }
  /// A task of a scope: current on this thread until EndScope, which has the holder that was
  /// current `before` back.
  std::uint32_t BeginScope(const TaskStart& start, Holder* before, StackTable* stacks);
  void EndScope(std::uint32_t id, const Holder& before);
  /// Whom it works for from now on; on this thread at once, where it is the current task.
  void SetTaskConnection(std::uint32_t id, std::uint32_t connection);

  /// The task is on this thread until LeaveTask, which has the holder that is returned here
  /// back.
  Holder EnterTask(std::uint32_t id);
  void LeaveTask(std::uint32_t id, const Holder& before);
  /// From now on it is here, or waits for this; `chain` as in TaskRecord. The time it has been
  /// so starts anew only if it is another place.
  void ParkTask(std::uint32_t id, std::uint32_t place, const AwaitFrame* chain);

  /// Of the calling thread; returns the one before.
  Holder SetHolder(const Holder& holder);
  /// Of a thread: what it was told, or else the connection it last received from, which is then
  /// `guessed`.
  Holder HolderOf(const ThreadSlot& slot, bool* guessed);
  Holder HolderNow(bool* guessed) { return HolderOf(thread_slot, guessed); }
  /// A sample of `bytes` was taken under `holder`, whose ids become those that took it: 0 where
  /// the record is gone.
  void Hold(Holder* holder, std::uint64_t bytes);
  void Release(const Holder& holder, std::uint64_t bytes);

  void BeginAnewInChild();

  /// Of connections, by direction: inbound, outbound. Opened, then closed.
  std::uint64_t opened_total(bool outbound) const { return opened_[outbound].load(); }
  std::uint64_t closed_total(bool outbound) const { return closed_[outbound].load(); }

  /// While it is not 0, each task that begins keeps the stack that made it, not one in some.
  std::atomic<std::uint32_t> task_stack_askers{0};
  RecordTable<ConnectionRecord, 17> connections;
  RecordTable<TaskRecord, 20> tasks;
  LabelTable labels;
  PlaceTable places;
  ThreadTable threads;

 private:
  // One more addition beside a stack, two clocks and a system call for each connection.
  std::atomic<std::uint64_t> opened_[2] = {};
  std::atomic<std::uint64_t> closed_[2] = {};

  std::uint32_t TraceTaskBegin(std::uint32_t id);
  void EndTaskTraced(std::uint32_t id);

  /// A reference keeps the record meanwhile: the thread that ends the task may be another, and
  /// the next task would find what was meant for this one.
  template <typename Change>
  void WithOpenTask(std::uint32_t id, const Change& change) {
    if (id == 0 || !tasks.Ref(id)) return;
    if (TaskRecord* record = tasks.Open(id)) change(*record);
    tasks.Unref(id);
  }
};

/// The one of this process. Constant-initialised.
extern Registry registry __attribute__((visibility("hidden")));

}  // namespace heldby::core
