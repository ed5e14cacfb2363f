// profile/merge.h - arithmetic on profiles: add, scale, subtract.
//
// Threads  any; values in, values out.
// Signals  unsafe: allocates.
// Units    those of the operands, which must agree.
// Source   identities as in google/pprof, so that our delta and `pprof -base` say the same:
//            mapping   build id (else file) + size rounded up to 4 KiB + file offset
//            location  address - mapping start, and its lines
//            sample    stack and labels
//          so two runs of one binary merge although it was loaded elsewhere.
#pragma once

#include "absl/types/span.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// The sum. Takes the earliest time, the sum of the durations, the longest period; what else a
/// profile says of itself comes from the first. Samples that are zero in every column vanish,
/// and with them what only they used.
/// kInvalidArgument  no profile, ids out of range, or sample or period types differ.
[[nodiscard]] Result<Profile> Merge(absl::Span<const Profile* const> profiles);

/// `after - before`: time of `after`, duration from the one to the other. Negative samples
/// stay: they are what was freed between. kInvalidArgument  as Merge().
[[nodiscard]] Result<Profile> Diff(const Profile& after, const Profile& before);

/// Multiplies every value, rounding to nearest; samples that become zero vanish.
void Scale(Profile* profile, double ratio);

}  // namespace heldby
