// exporters/pprof/text.h - Go's texts of `?debug=1`, which pprof can read back.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    addresses are printed as return addresses, one above Location::address: pprof takes
//          one off every address it finds in these texts.
// Source   layout of Go's runtime/pprof, restated in docs/formats.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

/// `heap` and `allocs`. A reader of this text multiplies every record by f = 1/(1 - exp(-a/R)),
/// a its mean size, R = sample_bytes; our values are estimates already, so records are written
/// divided by it. `trailer` lines follow as comments.
/// kInvalidArgument  columns are not alloc_objects, alloc_space, inuse_objects, inuse_space.
[[nodiscard]] Result<std::string> HeapText(const Profile& profile, std::int64_t sample_bytes,
                                           const std::vector<std::string>& trailer = {});

/// `goroutine`, `threadcreate` and custom profiles: the first column counts. White space in
/// `name` becomes '_'.
/// kInvalidArgument  the profile has no column.
[[nodiscard]] Result<std::string> CountText(std::string_view name, const Profile& profile);

enum class ContentionKind { kBlock, kMutex };

/// `block` and `mutex`.
/// kInvalidArgument  columns are not contentions, delay.
[[nodiscard]] Result<std::string> ContentionText(ContentionKind kind, const Profile& profile);

/// Folded stacks, root first: "main;Serve;Read 17", the last column of each sample in periods.
/// REQUIRES: a valid profile.
[[nodiscard]] std::string FoldedText(const Profile& profile);

}  // namespace heldby
