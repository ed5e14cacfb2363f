// heldby/asio/socket_link.h - the registry's side of a socket, and of its pending operations.
//
// Threads  a SocketLink: as its socket. Operations may end on any.
// Signals  unsafe.
// Self     its memory is not sampled.
// Units    none.
// Source   heldby/asio/socket.h.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "heldby/asio/wait.h"
#include "heldby/connection.h"
#include "heldby/propagate.h"
#include "heldby/self.h"

namespace heldby::asio::detail {

enum SocketWait : std::uint8_t { kReads = 1, kWrites = 2, kConnects = 4 };

inline bool IsConnected(int fd) {
  sockaddr_storage peer;
  socklen_t size = sizeof(peer);
  return fd >= 0 && getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

/// What a pending operation keeps of its socket, which may have been destroyed meanwhile.
class OpenSocket {
 public:
  explicit OpenSocket(Connection connection) : connection_(std::move(connection)) {}

  Connection& connection() { return connection_; }
  void Starts(SocketWait wait) { Say(waits_.fetch_or(wait, std::memory_order_relaxed) | wait); }
  void Done(SocketWait wait) {
    Say(waits_.fetch_and(static_cast<std::uint8_t>(~wait), std::memory_order_relaxed) & ~wait);
  }

 private:
  void Say(int waits) {
    connection_.SetState((waits & kConnects) != 0          ? "IO wait: connect"
                         : (waits & kReads & kWrites) != 0 ? "IO wait: read, write"
                         : (waits & kReads) != 0           ? "IO wait: read"
                         : (waits & kWrites) != 0          ? "IO wait: write"
                                                           : "");
  }

  Connection connection_;
  std::atomic<std::uint8_t> waits_{0};
};

/// One operation, from its start to its handler.
class PendingWait {
 public:
  PendingWait(std::shared_ptr<OpenSocket> socket, SocketWait wait)
      : socket_(std::move(socket)), wait_(wait) {
    if (socket_) socket_->Starts(wait_);
  }
  void Done() {
    if (socket_) socket_->Done(wait_);
    socket_.reset();
  }

 private:
  std::shared_ptr<OpenSocket> socket_;
  SocketWait wait_;
};

class SocketLink {
 public:
  SocketLink() = default;
  SocketLink(SocketLink&&) noexcept = default;
  SocketLink& operator=(SocketLink&& other) noexcept {
    Forget();
    socket_ = std::move(other.socket_);
    return *this;
  }
  ~SocketLink() { Forget(); }

  explicit operator bool() const { return socket_ != nullptr; }
  ConnectionId id() const { return socket_ ? socket_->connection().id() : ConnectionId::kNone; }

  /// No-op for one that is open. Inlined, as who calls this: the stack that has opened the
  /// connection begins with the program's own function.
  [[gnu::always_inline]] void Open(int fd, Direction direction) {
    if (!socket_) Keep(Connection(fd, direction));
  }
  void SetDescriptor(int fd) {
    if (socket_) socket_->connection().SetDescriptor(fd);
  }
  PendingWait Starts(SocketWait wait) { return {socket_, wait}; }
  /// A coroutine that waits for it works for it, unless for another one.
  void Adopt() {
    if (running_coroutine == TaskId::kNone) return;
    const Holder holder;
    if (holder.task() == running_coroutine && holder.connection() == ConnectionId::kNone) {
      SetConnection(holder.task(), id());
    }
  }

  static PlaceId PlaceOf(SocketWait wait) {
    static const PlaceId kRead = InternWait("IO wait: read");
    static const PlaceId kWrite = InternWait("IO wait: write");
    static const PlaceId kConnect = InternWait("IO wait: connect");
    return wait == kReads ? kRead : wait == kWrites ? kWrite : kConnect;
  }

 private:
  void Keep(Connection connection) {
    const UnsampledScope unsampled;
    socket_ = std::make_shared<OpenSocket>(std::move(connection));
  }
  void Forget() {
    if (!socket_) return;
    const Holder holder;
    if (holder.task() == running_coroutine && holder.connection() == id()) {
      SetConnection(holder.task(), ConnectionId::kNone);
    }
    socket_->connection().Forget();
    socket_.reset();
  }

  std::shared_ptr<OpenSocket> socket_;
};

template <typename Handler>
struct SocketHandler {
  PendingWait pending;
  Handler handler;

  template <typename... Arguments>
  void operator()(Arguments&&... arguments) {
    pending.Done();
    std::move(handler)(std::forward<Arguments>(arguments)...);
  }
};

/// Of connecting: `socket` lives until then, as Asio requires.
template <typename Socket, typename Handler>
struct ConnectHandler {
  Socket* socket;
  PendingWait pending;
  Handler handler;

  template <typename... Arguments>
  void operator()(Arguments&&... arguments) {
    pending.Done();
    socket->Settle();
    std::move(handler)(std::forward<Arguments>(arguments)...);
  }
};

}  // namespace heldby::asio::detail

template <template <typename, typename> class Associator, typename Handler, typename Default>
struct boost::asio::associator<Associator, heldby::asio::detail::SocketHandler<Handler>,
                               Default>
    : heldby::asio::detail::AssociatedAsInner<
          Associator, heldby::asio::detail::SocketHandler<Handler>, Default> {};

template <template <typename, typename> class Associator, typename Socket, typename Handler,
          typename Default>
struct boost::asio::associator<Associator,
                               heldby::asio::detail::ConnectHandler<Socket, Handler>, Default>
    : heldby::asio::detail::AssociatedAsInner<
          Associator, heldby::asio::detail::ConnectHandler<Socket, Handler>, Default> {};
