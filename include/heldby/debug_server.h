// heldby/debug_server.h - the debug endpoint on a socket of its own.
//
// Threads  Start(), Stop(), destruction: one thread at a time per object; the rest: any.
// Signals  unsafe. Its threads block every signal.
// Self     its threads are absent from every profile.
// Units    seconds, bytes.
// Bounds   16 connections, 8 requests at work, 8 KiB of header, 1 MiB of body (symbol only).
// Source   defaults of docs/endpoint.md: loopback, no CORS, Host checked, token elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "heldby/leaks.h"
#include "heldby/status.h"

namespace heldby {

struct DebugServerOptions {
  /// "127.0.0.1:6060", "[::1]:6060", "localhost:6060", port 0 for any free one, or
  /// "unix:/path/app.sock" (created with mode 0600; "%p" becomes the process id).
  /// Any address that is neither loopback nor a unix socket needs a token.
  std::string listen = "127.0.0.1:6060";

  /// A file whose first line is the bearer token, at least 16 characters. Read once, at
  /// Start(). Empty: the environment variable HELDBY_TOKEN_FILE, if set.
  std::string token_file{};

  /// What is remembered and judged while it serves. None: as HELDBY_LEAKS_WINDOW ("10m"; "0" is
  /// not at all), HELDBY_LEAKS_EXPECTED and HELDBY_HISTORY_BYTES say, or else as they default.
  std::optional<LeakWatchOptions> watch{};

  /// Further names accepted in the Host header, besides loopback names and the bound address.
  std::string extra_hosts{};  // comma-separated, without ports
};

/// Serves /debug/pprof/ and /healthz until destroyed.
class DebugServer {
 public:
  /// kInvalidArgument   an option is wrong; the message names option, value and what goes
  ///
  /// kPermissionDenied  the address needs a token and none was given
  ///
  /// kUnavailable       the address cannot be bound (in use, no right)
  [[nodiscard]] static Result<DebugServer> Start(const DebugServerOptions& options = {});

  DebugServer(DebugServer&&) noexcept;
  DebugServer& operator=(DebugServer&&) noexcept;
  ~DebugServer();  // Stop()

  /// Closes the listener and every connection, ends timed profiles, joins the threads.
  /// Idempotent.
  void Stop();

  /// The bound TCP port; 0 for a unix socket.
  [[nodiscard]] std::uint16_t port() const;

  /// "http://127.0.0.1:6060" or "unix:/path/app.sock".
  [[nodiscard]] const std::string& address() const;

 private:
  class Impl;
  explicit DebugServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heldby
