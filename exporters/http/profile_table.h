// exporters/http/profile_table.h - every named profile, once: index, routes and tests read it.
//
// Threads  the built-in table is constant; `take` and `count` of the real one: any thread.
// Signals  unsafe: everything allocates.
// Units    as each profile's sample types say.
// Source   names, types and order of Go's runtime/pprof: docs/endpoint.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/heap.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::http {

struct TakeOptions {
  bool all_frames = false;  // frames=all: keep the allocator's and the standard library's
  HolderLabels labels{};    // labels=connection,task,state,age
  bool each = false;        // debug=2 of a goroutine profile: one sample each
};

/// How much a profile is sampled: POST NAME?parameter=N.
struct ProfileRate {
  std::string parameter;
  std::int64_t most;
  std::string meaning;  // of the number: what 0 is, what 1 is
  /// Returns the value before.
  std::function<std::int64_t(std::int64_t value)> set;
};

struct ProfileEntry {
  std::string name;         // the last part of the path; safe inside a quoted header
  std::string description;  // one sentence for the index page
  /// Scrapers mark a target as down on anything but 200, so `take` answers with an empty
  /// profile and a comment where it has nothing to say; an error is a bug or memory running
  /// out.
  std::function<Result<Profile>(const TakeOptions& options)> take;
  /// Distinct entries right now, for the index page.
  std::function<std::size_t()> count;
  /// The debug=1 form.
  std::function<Result<std::string>(const Profile& profile)> text;
  bool supports_delta = true;
  /// The debug=2 form, of a profile taken with TakeOptions::each; none: as debug=1.
  std::function<Result<std::string>(const Profile& profile)> full_text{};
  /// What a POST may set; none: there is nothing to set.
  std::optional<ProfileRate> rate{};
};

/// allocs, block, connections, goroutine, heap, mutex, threadcreate: sorted by name.
[[nodiscard]] std::span<const ProfileEntry> BuiltinProfiles();

/// Those that the program made itself (heldby/custom_profile.h), sorted by name.
[[nodiscard]] std::vector<ProfileEntry> CustomProfiles();

/// What /debug/pprof/profile answers where it cannot sample: CPU sample types, no samples.
[[nodiscard]] Profile EmptyCpuProfile(std::string_view why);

}  // namespace heldby::http
