// heldby/http.h - the debug endpoint without a socket: a request in, a response out.
//
// Threads  Handle(): any thread, concurrently.
// Signals  unsafe.
// Self     allocations made inside Handle() are never sampled.
// Units    seconds in query parameters, bytes in bodies.
// Source   Go's net/http/pprof, restated in docs/endpoint.md.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heldby {

struct Request {
  std::string method = "GET";
  std::string target{};  // path and query as on the request line: "/debug/pprof/heap?debug=1"
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
  /// Asked while a timed profile runs; true ends it early (the client has left). May be empty.
  std::function<bool()> cancelled{};
};

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers{};  // Content-Type among them
  std::string body{};
};

/// Serves everything that DebugServer serves, for a host that has its own HTTP server. Blocks
/// for the duration of a timed profile (`seconds=N`). Authentication, the Host check and limits
/// on the size of a request are the mounting server's business; methods, paths and parameters
/// are checked here. Never throws.
[[nodiscard]] Response Handle(const Request& request);

}  // namespace heldby
