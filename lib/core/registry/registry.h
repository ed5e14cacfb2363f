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
#include "core/registry/label_table.h"
#include "core/registry/record_table.h"
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

struct TaskRecord {
  RecordHead head;
  std::atomic<const char*> name;
  std::atomic<const char*> file;
  std::atomic<const char*> function;
  std::atomic<const char*> state;
  std::atomic<std::uint64_t> state_since_ns;
  std::atomic<std::uint64_t> born_ns;
  std::atomic<std::int64_t> held_bytes;
  std::atomic<std::uint32_t> line;
  std::atomic<std::uint32_t> parent;
  std::atomic<std::uint32_t> connection;
  std::atomic<std::uint32_t> labels;
  std::atomic<std::int32_t> tid;
};
static_assert(sizeof(TaskRecord) <= 96);

/// SO_COOKIE: what tells a socket from every other. 0: not a socket. errno kept.
std::uint64_t SocketCookie(int fd);

class Registry {
 public:
  constexpr Registry() = default;

  /// `caller`: the return address into the code that opened it. 0: the table is full.
  std::uint32_t OpenConnection(int fd, bool outbound, bool implicit, std::uintptr_t caller,
                               StackTable* stacks);
  void EndConnection(std::uint32_t id);
  /// An implicit connection becomes the program's own, opened by `caller`. False: it is not
  /// open, or was taken over already.
  bool TakeOverConnection(std::uint32_t id, bool outbound, std::uintptr_t caller,
                          StackTable* stacks);
  /// Before its last descriptor is closed, if somebody will still want to know: system calls.
  void RememberPeer(std::uint32_t id);

  struct TaskStart {
    const char* name = nullptr;
    const char* file = nullptr;
    const char* function = nullptr;
    std::uint32_t line = 0;
    std::uint32_t parent = 0;
    std::uint32_t connection = 0;
    std::uint32_t labels = 0;
  };
  std::uint32_t BeginTask(const TaskStart& start);
  void EndTask(std::uint32_t id) { tasks.End(id); }

  /// Of the calling thread: what it was told, or else the connection it last received from,
  /// which is then `guessed`.
  Holder HolderNow(bool* guessed);
  /// A sample of `bytes` was taken under `holder`, whose ids become those that took it: 0 where
  /// the record is gone.
  void Hold(Holder* holder, std::uint64_t bytes);
  void Release(const Holder& holder, std::uint64_t bytes);

  void BeginAnewInChild();

  RecordTable<ConnectionRecord, 17> connections;
  RecordTable<TaskRecord, 20> tasks;
  LabelTable labels;
};

/// The one of this process. Constant-initialised.
extern Registry registry __attribute__((visibility("hidden")));

}  // namespace heldby::core
