// Real sockets on the loopback, and the rows that a preloaded program has for them.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "heldby/connection.h"

namespace heldby::watched {

inline std::vector<ConnectionInfo> Rows() {
  const auto all = SnapshotConnections();
  if (!all) std::abort();
  std::vector<ConnectionInfo> open;
  for (const ConnectionInfo& info : *all) {
    if (!info.ended) open.push_back(info);
  }
  return open;
}

inline std::size_t Connections() { return Rows().size(); }

inline ConnectionInfo InfoOf(int fd) {
  for (const ConnectionInfo& info : Rows()) {
    if (info.fd == fd) return info;
  }
  return {};
}

/// -1: there is no such connection.
inline int FdOf(ConnectionId id) {
  for (const ConnectionInfo& info : Rows()) {
    if (info.id == id) return info.fd;
  }
  return -1;
}

inline int ConnectTo(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) std::abort();
  return fd;
}

class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address_);
    socklen_t size = sizeof(address_);
    if (bind(fd_, generic, size) != 0 || listen(fd_, 64) != 0 ||
        getsockname(fd_, generic, &size) != 0) {
      std::abort();
    }
  }
  ~Listener() { close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int fd() const { return fd_; }
  const sockaddr_in& address() const { return address_; }
  int Connect() const { return ConnectTo(ntohs(address_.sin_port)); }
  int ConnectWith(int fd) const {
    return connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof(address_));
  }

 private:
  int fd_;
  sockaddr_in address_{};
};

/// Both ends of a connection: `ours` was accepted.
struct Tcp {
  Tcp() : theirs(listener.Connect()), ours(accept4(listener.fd(), nullptr, nullptr, 0)) {}
  ~Tcp() {
    for (const int fd : {ours, theirs, another}) {
      if (fd >= 0) close(fd);
    }
  }
  Tcp(const Tcp&) = delete;
  Tcp& operator=(const Tcp&) = delete;

  /// A second one; its client gets a high number, so that the lowest free one is the server's.
  int AcceptAnother() {
    const int low = listener.Connect();
    another = dup2(low, 500);
    close(low);
    return accept(listener.fd(), nullptr, nullptr);
  }

  Listener listener;
  int theirs;
  int ours;
  int another = -1;
};

}  // namespace heldby::watched
