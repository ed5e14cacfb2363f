// exporters/pprof/convert.h - any profile in, what `go tool pprof` and scrapers read out.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    bytes.
// Source   legacy.h for what is accepted; docs/formats.md.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby {

/// The largest profile worth reading, as it stands in the file and unpacked.
inline constexpr std::size_t kMaxProfileBytes = std::size_t{256} << 20;

/// `input`: any format of ParseLegacy(), or profile.proto; plain or in gzip. Returns
/// gzip-compressed profile.proto; an existing one comes out in our order, with dense ids.
/// kDataLoss           not a profile, or damaged
/// kResourceExhausted  more than kMaxProfileBytes, or the profile takes more memory
///                     than DecodePprof() and ParseLegacy() allow
[[nodiscard]] Result<std::string> ConvertToPprof(std::string_view input);

}  // namespace heldby
