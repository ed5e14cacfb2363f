// exporters/pprof/convert.h - any profile in, what `go tool pprof` and scrapers read out.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    bytes.
// Source   legacy.h for what is accepted; docs/formats.md.
#pragma once

#include <string>
#include <string_view>

#include "exporters/pprof/read.h"  // kMaxProfileBytes
#include "heldby/status.h"

namespace heldby {

/// `input` as ReadProfile() takes it, and its errors. Returns gzip-compressed profile.proto; an
/// existing one comes out in our order, with dense ids.
[[nodiscard]] Result<std::string> ConvertToPprof(std::string_view input);

}  // namespace heldby
