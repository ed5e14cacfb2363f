// tools/source.h - TARGET and PROFILE of the command line, as an address and a path.
//
// Threads  one.
// Source   docs/tools.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby::tools {

/// Where a request goes.
struct Source {
  std::string socket{};  // path of a unix socket; empty: TCP
  std::string host{};    // a name, or an address without brackets
  std::string port{};
  std::string target = "/";  // path and query
};

/// "host:port" as in a Host header.
[[nodiscard]] std::string Authority(const Source& source);

/// For messages.
[[nodiscard]] std::string UrlOf(const Source& source);

/// `target`: host:port, http://host:port with any path, a process id, or unix:/path. `profile`:
/// a name below /debug/pprof/, with or without a query; empty: "heap". A target that ends in
/// such a name already takes none.
/// kInvalidArgument  the message says what is accepted
/// kNotFound         no such process, or it serves nothing
[[nodiscard]] Result<Source> ParseSource(std::string_view target, std::string_view profile);

/// Where a redirect leads: the same server only, since it may have got a token.
[[nodiscard]] Result<Source> Follow(const Source& from, std::string_view location);

/// The value of `seconds` in the query; 0: none, or no number.
[[nodiscard]] std::int64_t SecondsIn(const Source& source);

/// Adds or replaces it.
void SetSeconds(std::int64_t seconds, Source* source);

/// "heap" of "/debug/pprof/heap?seconds=5"; "profile" if there is no name to be had.
[[nodiscard]] std::string ProfileNameOf(const Source& source);

}  // namespace heldby::tools
