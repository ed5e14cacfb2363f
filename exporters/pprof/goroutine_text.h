// exporters/pprof/goroutine_text.h - what goroutine?debug=2 answers: one block each, as Go
// prints them when a program crashes.
//
// Threads  any.   Signals  unsafe: allocates.
// Bounds   64 MiB of text, as Go's; the last line says how many blocks are left out.
// Source   docs/formats.md; the header line and the two lines a frame are Go's, what stands in
//          braces is its form for labels.
#pragma once

#include <string>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// Of a profile with one sample each (GoroutineOptions::each), whose labels become the header.
/// kInvalidArgument  the profile breaks a rule of the format.
[[nodiscard]] Result<std::string> GoroutineText(const Profile& profile);

}  // namespace heldby
