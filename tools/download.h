// tools/download.h - a profile from a server, whole or not at all.
//
// Threads  one.
// Units    seconds.
// Bounds   http_client.h's; the header must come within timeout + 5 s, as `go tool pprof` has
// it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "heldby/status.h"
#include "tools/flags.h"
#include "tools/source.h"

namespace heldby::tools {

struct DownloadOptions {
  std::size_t seconds = 0;   // 0: the query has none
  std::size_t timeout = 0;   // 0: one and a half times `seconds`, or 60
  std::string token_file{};  // empty: HELDBY_TOKEN_FILE, or no token
  bool progress = false;     // even if standard error is no terminal
};

/// -seconds, -timeout, -token-file, -progress.
void AddDownloadFlags(DownloadOptions* options, Flags* flags);

struct Download {
  Source source{};
  std::string content_type{};
  std::string body{};
};

/// `command` stands before what is told on standard error.
/// kUnavailable  also when the server refuses: the message has what it said
[[nodiscard]] Result<Download> Fetch(std::string_view target, std::string_view profile,
                                     const DownloadOptions& options, std::string_view command);

/// The same, of what is not a profile.
[[nodiscard]] Result<Download> FetchFrom(const Source& from, const DownloadOptions& options,
                                         std::string_view command);

}  // namespace heldby::tools
