// heldby/connection.h - a connection that this program has: who opened it, and what it holds.
//
// Threads  a Connection: one thread at a time. SnapshotConnections(): any.
// Signals  unsafe.
// Self     allocations made inside these calls are never sampled.
// Allocates  a Connection never does.
// Units    *_bytes are bytes, *_ns nanoseconds; held_bytes is an estimate, as in a profile.
// Bounds   131,072 at once; beyond it a Connection is not recorded, and is counted
//          (HeapCounters::dropped_connections_total).
// Source   docs/holders.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "heldby/heap.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

enum class Direction { kInbound, kOutbound };

/// What the kernel's figures say is wrong: ConnectionInfo::verdict has it in words.
enum class ConnectionProblem {
  kNone,
  kPeerStoppedReading,
  kPeerDead,
  kWeStoppedReading,
  kClosedByPeer,  // and not by us
};

/// Names one connection, as long as it is there and for some thousands after; 0 names none.
enum class ConnectionId : std::uint32_t { kNone = 0 };

/// From now until its destruction the connection is in the registry, with the stack that made
/// this object. It does not own the descriptor. What is allocated for it is charged to it while
/// a Task with its id is current (heldby/task.h).
class Connection {
 public:
  /// `fd`: the socket, or -1 if it is not known, or not yet (SetDescriptor). Destroy the object
  /// before the descriptor is closed, or Forget() it: a descriptor that became another socket
  /// is noticed, and not asked.
  explicit Connection(int fd, Direction direction);
  Connection(Connection&& other) noexcept
      : id_(std::exchange(other.id_, ConnectionId::kNone)) {}
  Connection& operator=(Connection&& other) noexcept;
  ~Connection() { Forget(); }

  [[nodiscard]] ConnectionId id() const { return id_; }

  /// For one that is made known before its socket is there, so that the stack is the caller's.
  void SetDescriptor(int fd);
  /// What it is doing: "reading request". REQUIRES: a string literal, or one that outlives the
  /// process's use of it; it is read when somebody looks.
  void SetState(const char* state);
  /// What the application has queued for the peer and not yet given to the kernel.
  void SetQueuedBytes(std::uint64_t bytes);

  /// It has ended. What it still holds stays charged to it, as `holder=ended`. Idempotent.
  void Forget();

 private:
  ConnectionId id_;
};

/// One connection as it is now. Texts are plain; empty means not known.
struct ConnectionInfo {
  ConnectionId id{};
  Direction direction{};
  bool ended = false;     // gone, but sampled bytes are still charged to it
  bool implicit = false;  // seen by a wrapped call rather than told by the program
  int fd = -1;
  std::string peer{};   // "127.0.0.1:4002", "unix:/run/x.sock"
  std::string local{};  // likewise
  std::string state{};  // the program's word for it
  std::string task{};   // name of one that works for it, or else opened it
  std::vector<std::pair<std::string, std::string>> labels{};
  std::int64_t age_ns = 0;        // since it was opened
  std::int64_t state_age_ns = 0;  // since SetState() changed it
  std::int64_t held_bytes = 0;    // heap charged to it
  std::uint64_t queued_bytes = 0;
  bool kernel_known = false;       // the socket could be asked; if not, all below is 0
  std::uint64_t unsent_bytes = 0;  // in the kernel, not yet taken or acknowledged by the peer
  std::uint64_t unread_bytes = 0;  // arrived and not read by us
  std::int64_t stalled_ns = 0;     // for how long nothing has moved, where something should
  ConnectionProblem problem{};
  bool is_idle = false;      // nothing has moved for a second
  std::int64_t idle_ns = 0;  // then for how long
  std::string verdict{};     // "peer stopped reading for 93 s with 2621440 bytes unsent"
  std::vector<std::uint64_t> opened_by{};  // call addresses, innermost first: SymbolNames()
};

/// All connections, those that hold most first.
///
/// kUnavailable        the core of another version, or none
/// kResourceExhausted  no memory for the list
[[nodiscard]] Result<std::vector<ConnectionInfo>> SnapshotConnections();

/// The same as a profile, by the stack that opened them: connections/count, held_space/bytes
/// (heap charged to them), queued_space/bytes (the program's queue and the kernel's). One that
/// has ended and still holds memory counts 0.
///
/// Errors as SnapshotConnections().
[[nodiscard]] Result<Profile> SnapshotConnectionProfile(const HolderLabels& labels = {});

/// How many there are now, those that have ended and still hold memory not counted.
[[nodiscard]] std::size_t CountConnections();

}  // namespace heldby
