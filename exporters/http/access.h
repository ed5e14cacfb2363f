// exporters/http/access.h - who may ask: Host, Origin, Sec-Fetch-Site, bearer token.
//
// Threads  Refuse(): any, concurrently.
// Signals  unsafe: allocates.
// Source   a web page in the user's browser can send requests to loopback. It cannot choose the
//          Host header it sends, nor hide its Origin: checking both ends DNS rebinding and
//          cross-site requests; a GET without an Origin, such as an image's, tells its site in
//          Sec-Fetch-Site (W3C Fetch Metadata). A unix socket is out of a browser's reach.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/http.h"
#include "heldby/status.h"

namespace heldby::http {

/// What the socket knows of a connection.
struct Channel {
  bool is_unix = false;
  std::string local_address;  // numeric, the address the client connected to
};

/// A browser says that a page of another site's is behind it, be it by a link to here.
[[nodiscard]] bool IsFromAnotherSite(const Request& request);

class AccessPolicy {
 public:
  /// An empty token asks for none. `extra_hosts` as in DebugServerOptions.
  AccessPolicy(std::string token, std::string_view extra_hosts);

  /// The answer to a request that may not go on; nothing if it may.
  [[nodiscard]] std::optional<Response> Refuse(const Request& request, bool is_http_1_0,
                                               const Channel& channel) const;

 private:
  std::optional<Response> RefuseHost(const Request& request, bool is_http_1_0,
                                     const Channel& channel) const;
  std::optional<Response> RefuseToken(const Request& request) const;
  bool IsKnownHost(std::string_view authority, const Channel& channel) const;

  std::string token_;
  std::vector<std::string> extra_hosts_;  // lower case
};

/// The first line of the file. A file that others can read, or another user's, is refused: it
/// is no secret.
/// kInvalidArgument  the message names the file and what is accepted.
[[nodiscard]] Result<std::string> ReadTokenFile(std::string_view source,
                                                const std::string& path);

}  // namespace heldby::http
