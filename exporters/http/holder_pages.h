// exporters/http/holder_pages.h - /debug/connections and /debug/tasks: one row for each, those
// that hold most first.
//
// Threads  any, concurrently.
// Signals  unsafe: allocates; a few system calls a connection.
// Units    as the columns say.
// Bounds   `limit` rows, 200 unless told, 100,000 at most; the rest is counted in a line below.
// Source   docs/endpoint.md; HTML for browsers, aligned text for the rest, JSON by format=json.
#pragma once

#include "exporters/http/target.h"
#include "heldby/http.h"

namespace heldby::http {

[[nodiscard]] Response ConnectionsPage(const Request& request, const Query& query);
[[nodiscard]] Response TasksPage(const Request& request, const Query& query);

}  // namespace heldby::http
