// exporters/pprof/read.h - any profile in, as a value.
//
// Threads  any.
// Signals  unsafe: allocates.
// Bounds   kMaxProfileBytes, as it stands in the file and unpacked.
// Source   legacy.h for what is accepted; docs/formats.md.
#pragma once

#include <cstddef>
#include <string_view>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// The largest profile worth reading.
inline constexpr std::size_t kMaxProfileBytes = std::size_t{256} << 20;

/// `input`: any format of ParseLegacy() or ParseDump(), or profile.proto; plain or in gzip.
/// `is_legacy`, if given, tells which of the two it was. kDataLoss           not a profile, or
/// damaged kResourceExhausted  more than kMaxProfileBytes, or the profile takes more memory
///                     than DecodePprof() and ParseLegacy() allow
[[nodiscard]] Result<Profile> ReadProfile(std::string_view input, bool* is_legacy = nullptr);

}  // namespace heldby
