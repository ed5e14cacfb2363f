// exporters/report/shorten.h - function names as pprof shows them.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   pprof shortens a function whose name is its system name, and trusts any other.
#pragma once

#include <string>
#include <string_view>

#include "heldby/profile.h"

namespace heldby::report {

/// Every function whose name is missing, or the same as its system name, gets the short form:
/// demangled, without arguments and template parameters.
void ShortenNames(Profile* profile);

/// What drop_frames and keep_frames are matched against: the name up to its argument list.
[[nodiscard]] std::string_view NameForPattern(std::string_view name);

}  // namespace heldby::report
