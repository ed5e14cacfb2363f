// exporters/http/reply.h - the few shapes that every answer of the endpoint has.
//
// Threads  pure functions: any.
// Signals  unsafe: allocates.
// Units    bytes.
// Source   docs/endpoint.md: nosniff and no-store on everything; X-Go-Pprof on errors, without
//          which `go tool pprof` shows the status line but not the text.
#pragma once

#include <string>
#include <string_view>

#include "heldby/http.h"

namespace heldby::http {

[[nodiscard]] Response TextReply(std::string body);
[[nodiscard]] Response HtmlReply(std::string body);
[[nodiscard]] Response JsonReply(std::string body);

/// Bytes a client saves to a file. REQUIRES: `filename` has no quote, CR or LF.
[[nodiscard]] Response DownloadReply(std::string_view filename, std::string body);

/// One line of text; `line` comes without its newline.
[[nodiscard]] Response ErrorReply(int status, std::string_view line);

/// Header names compare without case; the first one wins. nullptr if absent.
[[nodiscard]] const std::string* FindHeader(const Request& request, std::string_view name);
[[nodiscard]] const std::string* FindHeader(const Response& response, std::string_view name);

}  // namespace heldby::http
