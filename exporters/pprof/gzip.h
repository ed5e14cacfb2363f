// exporters/pprof/gzip.h - gzip in memory.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    bytes.
// Bounds   Gunzip() stops at max_bytes of output, whatever the input promises.
// Source   zlib. Level 1 as in Go: profiles are taken often and read rarely.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby {

[[nodiscard]] bool IsGzip(std::string_view bytes);

/// kResourceExhausted  zlib has no memory.
[[nodiscard]] Result<std::string> Gzip(std::string_view bytes);

/// All members of a gzip file, one after the other, as gunzip does.
/// kDataLoss           not gzip, or cut off; the message names the offset.
/// kResourceExhausted  more than max_bytes come out.
[[nodiscard]] Result<std::string> Gunzip(std::string_view bytes, std::size_t max_bytes);

}  // namespace heldby
