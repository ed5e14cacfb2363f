// exporters/http/leaks_page.h - /debug/leaks: what leaks, since when, who holds it, and what
// would make that wrong.
//
// Threads  any, concurrently.   Signals  unsafe: allocates.   Units  as the names say.
// Source   docs/leaks.md; HTML for browsers, text for the rest, JSON by format=json, whose
//          names are a promise.
#pragma once

#include <string>

#include "exporters/http/target.h"
#include "heldby/http.h"
#include "heldby/leaks.h"

namespace heldby::http {

[[nodiscard]] Response LeaksPage(const Request& request, const Query& query);

/// The first line is for programs, too: "heldby: 1 leak, 2 suspects, ...".
[[nodiscard]] std::string LeaksText(const LeakReport& report, const std::string& host);
[[nodiscard]] std::string LeaksJson(const LeakReport& report, const std::string& host);
[[nodiscard]] std::string LeaksHtml(const LeakReport& report, const std::string& host);

}  // namespace heldby::http
