// exporters/http/handlers.h - one function per page.
//
// Threads  any, concurrently.
// Signals  unsafe: allocates, may wait for seconds.
// Units    seconds; bytes.
// Source   docs/endpoint.md.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/http/delta_series.h"
#include "exporters/http/profile_table.h"
#include "exporters/http/target.h"
#include "heldby/http.h"

namespace heldby::http {

[[nodiscard]] Response IndexPage(std::span<const ProfileEntry> profiles);

/// debug, gc and seconds, in the order in which Go checks them.
[[nodiscard]] Response NamedProfile(const ProfileEntry& entry, const Query& query,
                                    const std::function<bool()>& cancelled);

inline constexpr std::string_view kDeltaPrefix = "delta_";

/// delta_NAME of `entry`: what came since it was last asked for. Text, and the answer to a
/// HEAD, leave the next answer whole.
[[nodiscard]] Response DeltaProfile(const ProfileEntry& entry, DeltaSeries* series,
                                    const Request& request, const Query& query);

/// POST: what a profile is sampled with from now on. Answers with the value before and the one
/// now, a line each.
[[nodiscard]] Response SetRate(const ProfileEntry& entry, const Query& query);

/// What is measured while the client waits for it. One table: the router finds them by their
/// path, the index lists them.
struct TimedPage {
  std::string_view path;
  std::string_view name;
  std::string_view description;
  Response (*answer)(const Query& query, const std::function<bool()>& cancelled);
};

/// fgprof:  seconds (30), format: pprof or folded.
/// profile: seconds (30), hz (100), labels. One at a time in a process; a client that leaves
///          ends it.
/// trace:   seconds (1), which may have a fraction. One at a time.
[[nodiscard]] std::span<const TimedPage> TimedPages();

[[nodiscard]] Response CommandLine();

}  // namespace heldby::http
