// exporters/http/listen_address.h - "127.0.0.1:6060", "[::1]:0", "unix:/run/app/%p.sock".
//
// Threads  pure functions: any.
// Signals  unsafe: allocates.
// Units    none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby::http {

struct ListenAddress {
  bool is_unix = false;
  std::string path;  // unix: absolute, with %p already replaced
  std::string host;  // tcp: a numeric address without brackets
  std::uint16_t port = 0;

  /// Reachable from this machine alone: a unix socket, 127.0.0.0/8 or ::1.
  [[nodiscard]] bool IsLocal() const;
};

/// Names other than localhost are refused rather than resolved: a resolver in a foreign process
/// reads files, talks to the network and may answer with a public address.
/// kInvalidArgument  the message names the option, the value and the accepted forms.
[[nodiscard]] Result<ListenAddress> ParseListenAddress(std::string_view listen);

/// Whether a numeric address, IPv4 or IPv6, is of the loopback kind.
[[nodiscard]] bool IsLoopbackAddress(const std::string& host);

}  // namespace heldby::http
