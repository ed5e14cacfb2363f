// profile/validate.h - does a profile obey the rules? If not: which one, and where.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    places are counted from 0, as the tables are.
// Source   docs/formats.md has every rule with the reader that breaks without it.
#pragma once

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// The rules of the format: what every pprof reader needs. Profiles of others obey them, or
/// cannot be read; EncodePprof() refuses what does not.
/// kInvalidArgument  one sentence: "sample 12: 3 values for 4 sample types".
[[nodiscard]] Status ValidateFormat(const Profile& profile);

/// ValidateFormat(), and what continuous profilers ask of a producer: four sample types at
/// most, locations with a mapping and an address of their own, plain label names, a time.
/// Everything this library makes itself passes.
/// kInvalidArgument  as above.
[[nodiscard]] Status ValidateProfile(const Profile& profile);

}  // namespace heldby
