// tools/http_client.h - one GET, bounded in time and size.
//
// Threads  one.
// Bounds   1 GiB of body, 64 KiB of header; 10 s to connect, the caller's time for the header,
//          60 s without a byte of body.
// Source   RFC 9112, by Boost.Beast.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "heldby/status.h"
#include "tools/source.h"

namespace heldby::tools {

struct GetOptions {
  std::string token{};  // sent as a bearer token; empty: none
  std::chrono::seconds header_timeout{65};
  /// Called once a second while the answer is awaited.
  std::function<void(std::int64_t seconds)> on_wait{};
};

struct Reply {
  unsigned status = 0;
  std::string reason{};
  std::string content_type{};
  std::string content_encoding{};
  std::string location{};
  bool is_from_pprof = false;  // X-Go-Pprof: the body of an error is worth showing
  std::string body{};
};

/// A whole answer, whatever its status.
/// kUnavailable        no connection, or it broke, or took too long
/// kDataLoss           the body ended early
/// kResourceExhausted  more than the bounds
[[nodiscard]] Result<Reply> Get(const Source& source, const GetOptions& options);

}  // namespace heldby::tools
