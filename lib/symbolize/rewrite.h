// symbolize/rewrite.h - writes what was found into a profile, and folds what became equal.
//
// Threads  one at a time per profile.
// Signals  unsafe: allocates.
// Units    as in heldby/profile.h.
// Source   identities as in profile/interner.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heldby/profile.h"
#include "symbolize/modules.h"
#include "symbolize/resolve.h"

namespace heldby::symbolize {

/// The name of the mapping and the function of an address that belongs to no file.
inline constexpr const char* kUnknown = "[unknown]";

/// True iff Symbolize() has to find out about this location.
[[nodiscard]] inline bool IsBare(const Location& location) {
  return location.mapping == MappingId::kNone;
}

/// `places` answers the bare locations, in order. `main` may be null.
[[nodiscard]] Profile Rewrite(const Profile& profile, std::span<const Place> places,
                              const Segment* main);

}  // namespace heldby::symbolize
