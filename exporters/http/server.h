// exporters/http/server.h - the endpoint on a listening socket: one IO thread, few workers.
//
// Threads  Start, Stop, destruction: one thread at a time. Inside: everything but the handlers
//          happens on the IO thread, so sessions need no locks.
// Signals  unsafe. Its threads block every signal; writes use MSG_NOSIGNAL, so no SIGPIPE.
// Self     its threads are unsampled for their whole life.
// Bounds   struct Limits. At the connection limit the one that has longest not asked for
//          anything makes room, then the one whose request is longest incomplete, then the one
//          that has longest been written to; if all are at work the new one is answered 503 and
//          closed.
// Fork     the child's copies of the sockets are closed at once (fork_fds.h); its copy of the
//          object is abandoned, since its locks may be held by threads that do not exist there.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>

#include "exporters/http/access.h"
#include "exporters/http/listener.h"
#include "exporters/http/router.h"
#include "heldby/status.h"

namespace heldby::http {

struct Limits {
  std::size_t connections = 16;
  int requests_at_work = 8;
  int waits_at_work = 6;  // of them, with a time to wait for: others are answered meanwhile
  std::size_t header_bytes = 8 * 1024;
  std::chrono::seconds header_timeout{5};  // from the first byte, or from accept
  std::chrono::seconds body_timeout{10};
  std::chrono::seconds idle_timeout{60};   // between requests of one connection
  std::chrono::seconds write_timeout{10};  // plus one second per write_bytes_per_second
  std::size_t write_bytes_per_second = 64 * 1024;
  std::chrono::seconds write_grace{2};  // until a client that reads slowly may have to give way
  std::chrono::seconds stop_timeout{2};
};

class Server {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Server>> Start(Listener listener,
                                                             AccessPolicy access, Router router,
                                                             const Limits& limits = {});
  ~Server();  // Stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void Stop();

 private:
  class Core;
  Server() = default;

  std::shared_ptr<Core> core_;
  pthread_t io_thread_{};
  pid_t owner_pid_ = 0;
};

}  // namespace heldby::http
