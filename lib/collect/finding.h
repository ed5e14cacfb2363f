// collect/finding.h - a verdict whose stacks are still addresses.
//
// Threads  values.   Signals  unsafe: allocates.   Units  as heldby/leaks.h.
// Self     the caller holds an UnsampledScope.
// Source   docs/leaks.md.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "collect/past.h"
#include "core/core.h"
#include "heldby/connection.h"
#include "heldby/leaks.h"
#include "leaks/growth.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

struct PendingStack {
  std::string role;
  core::StackView stack{};             // depth 0: none
  std::vector<std::uint64_t> calls{};  // or call addresses
  std::vector<std::string> places{};   // or texts, where the program told them
};

/// LeakVerdict::stacks are made of `stacks`; the first one's first frame ends the summary.
struct Finding {
  LeakVerdict verdict{};
  std::vector<PendingStack> stacks{};
  std::vector<std::string> names{};  // routes and tasks, as the program calls them
};

/// What the tasks of one connection are doing.
struct AtWork {
  bool waits_for_peer = false;  // one runs, or waits for the socket
  std::string waits_for{};      // one of the others, in its own words
};

/// What all findings look at, taken once.
struct Evidence {
  explicit Evidence(const core::CoreApi& of) : core(of) {}

  const core::CoreApi& core;
  std::int64_t now_ns = 0;
  std::int64_t live_bytes = 0;
  std::vector<ConnectionInfo> connections{};
  FlatHashMap<std::uint32_t, std::size_t> connection_of{};  // id -> place in the above
  FlatHashMap<std::uint32_t, AtWork> work_of{};             // connection id ->
  FlatHashMap<std::uint32_t, std::string> ended_tasks{};    // id -> name
  FlatHashMap<std::uint32_t, std::string> tasks{};          // those that hold something
  FlatHashMap<std::uint32_t, core::HeapSite> sites{};
  std::vector<core::LiveSampleView> samples{};
};

[[nodiscard]] Evidence Gather(const core::CoreApi& core);

/// Stuck readers, unread responses, unclosed connections: what there is to be seen now.
void AddConnectionFindings(const Evidence& evidence, std::vector<Finding>* findings);
/// Waits that nobody can end.
void AddWaitFindings(const core::CoreApi& core, std::vector<Finding>* findings);
/// Tasks that pile up, connections that become more and more.
void AddCountFindings(const Evidence& evidence, const Past& past,
                      std::vector<Finding>* findings);
/// Allocation sites that have grown, and what outlived its holders: the heaviest. Returns how
/// many were left out.
[[nodiscard]] std::size_t AddSiteFindings(const Evidence& evidence, const Past& past,
                                          std::vector<Finding>* findings);

[[nodiscard]] LeakClass ClassOf(leaks::GrowthClass verdict);
/// A point for each snapshot, with its load and nothing else.
[[nodiscard]] std::vector<leaks::GrowthPoint> EmptyPoints(const leaks::SiteHistory& history);
/// What each point has come to by itself, added up to what there was by then.
void AddUp(std::vector<leaks::GrowthPoint>* points);

/// "858.33MB", as go tool pprof writes it.
[[nodiscard]] std::string BytesText(std::int64_t bytes);
/// "93 s", "12 min", "5 h", "3 d".
[[nodiscard]] std::string SpanText(std::int64_t seconds);

}  // namespace heldby::collect
