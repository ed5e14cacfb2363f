// exporters/http/profile_table.h - every named profile, once: index, routes and tests read it.
//
// Threads  the table is constant; `take` and `count` of the real one: any thread.
// Signals  unsafe: everything allocates.
// Units    as each profile's sample types say.
// Source   names, types and order of Go's runtime/pprof: docs/endpoint.md.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "heldby/heap.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::http {

struct TakeOptions {
  bool all_frames = false;  // frames=all: keep the allocator's and the standard library's
  HolderLabels labels{};    // labels=connection,task,state,age
  bool each = false;        // debug=2 of a goroutine profile: one sample each
};

struct ProfileEntry {
  std::string_view name;         // the last part of the path; safe inside a quoted header
  std::string_view description;  // one sentence for the index page
  /// Scrapers mark a target as down on anything but 200, so `take` answers with an empty
  /// profile and a comment where it has nothing to say; an error is a bug or memory running
  /// out.
  Result<Profile> (*take)(const TakeOptions& options);
  /// Distinct entries right now, for the index page. Entries that share a function share the
  /// call.
  std::size_t (*count)();
  /// The debug=1 form.
  Result<std::string> (*text)(const Profile& profile);
  bool supports_delta = true;
  /// The debug=2 form, of a profile taken with TakeOptions::each; nullptr: as debug=1.
  Result<std::string> (*full_text)(const Profile& profile) = nullptr;
};

/// allocs, block, goroutine, heap, mutex, threadcreate: sorted by name.
[[nodiscard]] std::span<const ProfileEntry> BuiltinProfiles();

/// What /debug/pprof/profile answers: CPU sample types, no samples.
[[nodiscard]] Profile EmptyCpuProfile();

}  // namespace heldby::http
