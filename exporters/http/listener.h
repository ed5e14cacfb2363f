// exporters/http/listener.h - a bound, listening socket, and its file if it has one.
//
// Threads  one at a time per object.
// Signals  unsafe: allocates.
// Bounds   waits at most one second, for another process that is binding in the same directory.
// Source   fchmod before bind gives the file its mode from its first moment (Linux takes the
//          mode from the socket's inode); a umask would be the whole process's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "exporters/http/listen_address.h"
#include "heldby/status.h"

namespace heldby::http {

class Listener {
 public:
  /// A stale socket file, one that nobody listens on, is replaced; a live one and any other
  /// kind of file are not. kUnavailable  the address cannot be bound; the message has the
  /// address and errno's text.
  [[nodiscard]] static Result<Listener> Open(const ListenAddress& address);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();  // Close()

  /// Closes the socket, and removes the file if it is still the one that Open() made. In a
  /// forked child the file is the parent's and stays.
  void Close();

  int fd() const { return fd_; }
  bool is_unix() const { return !path_.empty(); }
  std::uint16_t port() const { return port_; }
  const std::string& address() const { return address_; }

 private:
  Listener() = default;
  static Result<Listener> OpenTcp(const ListenAddress& address);
  static Result<Listener> OpenUnix(const ListenAddress& address);

  int fd_ = -1;
  std::uint16_t port_ = 0;
  std::string address_;  // as DebugServer::address() promises
  std::string path_;
  pid_t owner_pid_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace heldby::http
